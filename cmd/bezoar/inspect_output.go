package main

import (
	"bytes"
	"fmt"
	"io"
	iofs "io/fs"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// inspected is what --json prints of an entry. Scripts depend on it: fields are added, never changed.
type inspected struct {
	Workspace cache.Workspace   `json:"workspace"`
	Scope     string            `json:"scope"`
	Hash      cache.Hash        `json:"hash"`
	Path      string            `json:"path"`
	Damage    string            `json:"damage"`
	Seal      inspectedSeal     `json:"seal"`
	Record    cache.Record      `json:"record"`
	Archive   *inspectedArchive `json:"archive,omitempty"`
}

type inspectedSeal struct {
	State  string `json:"state"`
	KeyID  string `json:"key_id,omitempty"`
	Reason string `json:"reason,omitempty"`
}

type inspectedArchive struct {
	Fault      string            `json:"fault"`
	ExitCode   *uint32           `json:"exit_code"`
	Members    []inspectedMember `json:"members"`
	Shown      int               `json:"members_shown"`
	Output     *string           `json:"output,omitempty"`
	OutputSize int64             `json:"output_size"`
	inAll      int               // members, 0 if that is not known
}

type inspectedMember struct {
	Path   string           `json:"path"`
	Type   string           `json:"type"`
	Mode   string           `json:"mode"`
	Size   int64            `json:"size"`
	SHA256 *artifact.Digest `json:"sha256,omitempty"`
	Target string           `json:"target,omitempty"`
}

func newInspectedArchive(inside *artifact.Inside, fault error, output bool) *inspectedArchive {
	a := &inspectedArchive{Members: []inspectedMember{}, Shown: len(inside.First), OutputSize: inside.OutputSize, inAll: inside.Members}
	if fault != nil {
		a.Fault = fault.Error()
	}
	if inside.HasCode {
		a.ExitCode = &inside.Code
	}
	if output {
		text := string(inside.Output)
		a.Output = &text
	}
	for i := range inside.First {
		m := &inside.First[i]
		member := inspectedMember{Path: m.Path, Type: m.Type.String(), Mode: fmt.Sprintf("%04o", m.Mode.Perm()), Size: m.Size, Target: m.Target}
		if m.Type == artifact.File {
			member.SHA256 = &m.SHA256
		}
		a.Members = append(a.Members, member)
	}
	return a
}

// writeHarmlessJSON escapes also what JSON need not: terminals heed some characters beyond ASCII.
func writeHarmlessJSON(w io.Writer, v any) error {
	var plain bytes.Buffer
	if err := writeJSON(&plain, v); err != nil {
		return err
	}
	var b strings.Builder
	for _, c := range plain.String() {
		switch {
		case c == '\n' || unicode.IsPrint(c):
			b.WriteRune(c)
		default:
			for _, unit := range utf16.Encode([]rune{c}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeText prints the entry for people.
func (r *inspected) writeText(w io.Writer, in *inspection) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) { fmt.Fprintf(table, "  %s\t%s\n", name, harmless(value, "")) }
	fmt.Fprintln(table, "Entry")
	line("workspace", string(r.Workspace))
	line("scope", r.Scope)
	line("hash", string(r.Hash))
	line("file", r.Path)
	if r.Damage != "" {
		line("DAMAGED", r.Damage+"; the server would set it aside")
	}
	line("seal", r.Seal.text())
	fmt.Fprintln(table, "\nRecord"+r.doubt())
	r.writeRecord(line)
	fmt.Fprintln(table, "\nProducer"+r.doubt())
	eachText(reflect.ValueOf(r.Record.Producer), line)
	if err := table.Flush(); err != nil {
		return err
	}
	if r.Archive == nil {
		_, err := fmt.Fprintln(w, "\nWhat is inside is not known: the body is no archive of the known format, or cannot be found.")
		return err
	}
	return r.Archive.writeText(w, in)
}

func (s *inspectedSeal) text() string {
	switch s.State {
	case sealGood:
		return "good, by the key " + s.KeyID
	case sealUnchecked:
		return "not checked: " + s.Reason
	}
	return strings.ToUpper(s.State) + ": " + s.Reason
}

// doubt is what a headline says of facts that only a good seal vouches for.
func (r *inspected) doubt() string {
	if r.Seal.State == sealGood && r.Damage == "" {
		return ""
	}
	return " (as the file says; not vouched for)"
}

func (r *inspected) writeRecord(line func(name, value string)) {
	line("size", fmt.Sprintf("%d bytes", r.Record.Size))
	line("sha256", r.Record.SHA256.String())
	if r.Record.Opaque {
		line("opaque", "it is no archive of the known format and was stored unchecked")
	} else {
		line("content", r.Record.Content.String())
		line("inflated", fmt.Sprintf("%d bytes", r.Record.Inflated))
		line("members", strconv.Itoa(r.Record.Members))
	}
	line("created", r.Record.Created.UTC().Format(time.RFC3339Nano))
}

// eachText gives the fields of a struct of texts, under their names in JSON, but for those that are empty.
func eachText(v reflect.Value, line func(name, value string)) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if value := v.Field(i).String(); value != "" {
			line(name, value)
		}
	}
}

func (a *inspectedArchive) writeText(w io.Writer, in *inspection) error {
	fmt.Fprintln(w, "\nArchive")
	if a.Fault != "" {
		fmt.Fprintf(w, "  FAULT: %s; below is what comes before it\n", harmless(a.Fault, ""))
	}
	if a.ExitCode != nil {
		fmt.Fprintf(w, "  exit status of the task: %d\n", *a.ExitCode)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i := range a.Members {
		m := &a.Members[i]
		fmt.Fprintf(table, "  %s\t%d\t  %s\n", m.modeText(), m.Size, m.name())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if a.inAll > len(a.Members) {
		fmt.Fprintf(w, "  %d of %d members; --members shows more\n", len(a.Members), a.inAll)
	}
	if a.Output == nil {
		return nil
	}
	fmt.Fprintf(w, "\nTerminal output (%d bytes)\n", a.OutputSize)
	return writeOutput(w, *a.Output, a.OutputSize, in.raw)
}

func writeOutput(w io.Writer, text string, size int64, raw bool) error {
	if !raw {
		text = harmless(strings.ReplaceAll(text, "\r\n", "\n"), "\n\t")
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if size > maxInspectOutput {
		text += fmt.Sprintf("(the first %d bytes)\n", maxInspectOutput)
	}
	_, err := io.WriteString(w, text)
	return err
}

// modeText is as in a long listing of files.
func (m *inspectedMember) modeText() string {
	mode, _ := strconv.ParseUint(m.Mode, 8, 32) // it was printed as such
	kind := map[string]string{artifact.Dir.String(): "d", artifact.Symlink.String(): "l"}[m.Type]
	if kind == "" {
		kind = "-"
	}
	return kind + iofs.FileMode(mode).String()[1:]
}

func (m *inspectedMember) name() string {
	name := harmless(m.Path, "")
	if m.Target != "" {
		name += " -> " + harmless(m.Target, "")
	}
	return name
}

// harmless escapes what could move a terminal's cursor, change its colours or the order of a line, but for what is in keep.
func harmless(s, keep string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r), strings.ContainsRune(keep, r):
			b.WriteRune(r)
		default:
			escaped := strconv.QuoteRune(r)
			b.WriteString(escaped[1 : len(escaped)-1])
		}
		i += size
	}
	return b.String()
}
