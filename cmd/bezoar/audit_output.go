package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/audit"
)

func newEventsWriter(w io.Writer, asJSON bool) *listWriter[admin.Event] {
	return newListWriter(w, asJSON, "TIME\tACTION\tBY\tSUBJECT\tWORKSPACE\tSCOPE\tDETAILS", func(e *admin.Event) []string {
		return []string{timeOr(e.Time, ""), string(e.Action), actedBy(e.Actor), e.Subject, e.Workspace, e.Scope, detailsText(e.Details)}
	})
}

// plainText is the text that JSON is, or the JSON.
func plainText(b json.RawMessage) string {
	var text string
	if json.Unmarshal(b, &text) == nil {
		return text
	}
	return string(b)
}

// actedBy names an actor in a few words.
func actedBy(b json.RawMessage) string {
	var a audit.Actor
	switch err := json.Unmarshal(b, &a); {
	case err != nil:
		return plainText(b)
	case a.RunID != "":
		text := "run " + a.RunID
		if a.Repository != "" || a.RepositoryID != "" {
			text += " of " + cmp.Or(a.Repository, a.RepositoryID)
		}
		return text
	case a.TokenID != "":
		return "token " + strings.TrimSpace(a.TokenName+" ("+a.TokenID+")")
	case a.User != "":
		return a.User + " on " + a.Host
	case a.Host != "":
		return a.Kind + " " + a.Host
	case a.Subject != "":
		return a.Subject
	}
	return a.Kind
}

// detailsText is what there is to say in one line.
func detailsText(b json.RawMessage) string {
	var details map[string]any
	if err := json.Unmarshal(b, &details); err != nil {
		return plainText(b)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(details)) {
		value, ok := details[name].(string)
		if !ok {
			b, err := json.Marshal(details[name])
			if err != nil {
				return plainText(b)
			}
			value = string(b)
		}
		parts = append(parts, name+"="+value)
	}
	return strings.Join(parts, " ")
}

// verifiedJSON is what --json prints of a verification. Scripts depend on it: fields are added, never changed.
type verifiedJSON struct {
	Whole     bool            `json:"whole"`
	Rows      int64           `json:"rows"`
	First     int64           `json:"first"`
	Last      int64           `json:"last"`
	Head      string          `json:"head"`
	Seals     int64           `json:"seals"`
	Unchecked int64           `json:"unchecked"`
	Sealed    int64           `json:"sealed"`
	Kind      audit.BreakKind `json:"kind,omitempty"`
	Row       int64           `json:"row,omitempty"`
	Text      string          `json:"text,omitempty"`
}

// showVerified says what a verifier found. Its error carries the exit status alone.
func showVerified(w io.Writer, v *audit.Verifier, asJSON bool) error {
	report, err := v.End()
	broken, isBroken := errors.AsType[*audit.Break](err)
	if err != nil && !isBroken {
		return err
	}
	if asJSON {
		out := verifiedJSON{
			Whole: !isBroken, Rows: report.Rows, First: report.First, Last: report.Head.Seq, Head: report.Head.Hash.String(),
			Seals: report.Seals, Unchecked: report.Unchecked, Sealed: report.LastSeal.Seq,
		}
		if isBroken {
			out.Kind, out.Row, out.Text = broken.Kind, broken.Seq, broken.Text
		}
		if err := writeJSON(w, out); err != nil {
			return err
		}
	} else {
		showReport(w, report, broken)
	}
	if isBroken {
		return &statusError{status: exitFailure}
	}
	return nil
}

func showReport(w io.Writer, report audit.Report, broken *audit.Break) {
	if broken != nil {
		fmt.Fprintf(w, "BROKEN at row %d: %s\n  %s\n", broken.Seq, broken.Kind, harmless(broken.Text, ""))
		fmt.Fprintf(w, "Up to row %d it is whole.\n", report.Head.Seq)
		return
	}
	if report.Rows == 0 {
		fmt.Fprintln(w, "The audit log is empty.")
		return
	}
	fmt.Fprintf(w, "The audit log is whole: %d rows, from %d to %d.\nhead    %s\n", report.Rows, report.First, report.Head.Seq, report.Head.Hash)
	switch s := report.LastSeal; {
	case report.Seals > 0:
		fmt.Fprintf(w, "sealed  up to row %d, on %s (good seals: %d)\n", s.Seq, s.Time.UTC().Format(time.RFC3339), report.Seals)
	default:
		fmt.Fprintln(w, "sealed  by nobody yet")
	}
	if report.Unchecked > 0 {
		fmt.Fprintf(w, "Seals that could not be checked, since their keys are not known here: %d\n", report.Unchecked)
	}
}

// headJSON is what --json prints of the head. Scripts depend on it: fields are added, never changed.
type headJSON struct {
	Row       int64  `json:"row"`
	Head      string `json:"head"`
	Key       string `json:"key"`
	PublicKey string `json:"public_key"`
}

func showHead(w io.Writer, h admin.AuditHead, asJSON bool) error {
	if asJSON {
		return writeJSON(w, headJSON{h.Row, h.Head, h.Key, h.PublicKey})
	}
	_, err := fmt.Fprintln(w, h.Head)
	return err
}
