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

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact"
)

// inspected is an inspection that is shown.
type inspected struct{ *admin.Inspection }

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
func (r inspected) writeText(w io.Writer, in *inspection) error {
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
	line("seal", sealText(&r.Seal))
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
	return writeArchive(w, r.Archive, in)
}

func sealText(s *admin.Seal) string {
	switch s.State {
	case admin.SealGood:
		return "good, by the key " + s.KeyID
	case admin.SealUnchecked:
		return "not checked: " + s.Reason
	}
	return strings.ToUpper(s.State) + ": " + s.Reason
}

// doubt is what a headline says of facts that only a good seal vouches for.
func (r inspected) doubt() string {
	if r.Seal.State == admin.SealGood && r.Damage == "" {
		return ""
	}
	return " (as the file says; not vouched for)"
}

func (r inspected) writeRecord(line func(name, value string)) {
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

func writeArchive(w io.Writer, a *admin.Archive, in *inspection) error {
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
		fmt.Fprintf(table, "  %s\t%d\t  %s\n", modeText(m), m.Size, memberName(m))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if a.InAll > len(a.Members) {
		fmt.Fprintf(w, "  %d of %d members; --members shows more\n", len(a.Members), a.InAll)
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
func modeText(m *admin.Member) string {
	mode, _ := strconv.ParseUint(m.Mode, 8, 32) // it was printed as such
	kind := map[string]string{artifact.Dir.String(): "d", artifact.Symlink.String(): "l"}[m.Type]
	if kind == "" {
		kind = "-"
	}
	return kind + iofs.FileMode(mode).String()[1:]
}

func memberName(m *admin.Member) string {
	name := harmless(m.Path, "")
	if m.Target != "" {
		name += " -> " + harmless(m.Target, "")
	}
	return name
}

// harmless escapes what could move a terminal's cursor, change its colours or the order of a line, but for what is in keep.
func harmless(s, keep string) string { return admin.Harmless(s, keep) }
