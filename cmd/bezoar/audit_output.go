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
	"text/tabwriter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
)

// eventJSON is what --json prints of an event. Scripts depend on it: fields are added, never changed.
type eventJSON struct {
	Seq       int64           `json:"seq"`
	Time      time.Time       `json:"time"`
	Action    audit.Action    `json:"action"`
	Actor     json.RawMessage `json:"actor"`
	Subject   string          `json:"subject"`
	Workspace string          `json:"workspace"`
	Scope     string          `json:"scope"`
	Details   json.RawMessage `json:"details"`
	Replica   string          `json:"replica"`
	Hash      string          `json:"hash"`
}

// eventsWriter prints events as they come: as a table, or as one array.
type eventsWriter struct {
	w       io.Writer
	asJSON  bool
	table   *tabwriter.Writer
	written int
}

func newEventsWriter(w io.Writer, asJSON bool) *eventsWriter {
	return &eventsWriter{w: w, asJSON: asJSON, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// write prints a page. A table's columns fit what is on the page.
func (e *eventsWriter) write(rows []audit.Row) error {
	for i := range rows {
		if e.asJSON {
			if err := e.writeJSON(&rows[i]); err != nil {
				return err
			}
		} else {
			e.writeRow(&rows[i])
		}
		e.written++
	}
	return e.table.Flush()
}

func (e *eventsWriter) writeJSON(r *audit.Row) error {
	between := "[\n"
	if e.written > 0 {
		between = ",\n"
	}
	if _, err := io.WriteString(e.w, between); err != nil {
		return err
	}
	return writeHarmlessJSON(e.w, eventJSON{
		Seq: r.Seq, Time: r.Time, Action: r.Action, Actor: jsonOrText(r.Actor), Subject: r.Subject, Workspace: r.Workspace, Scope: r.Scope,
		Details: jsonOrText(r.Details), Replica: r.Replica, Hash: r.Hash.String(),
	})
}

// jsonOrText shows also what somebody changed so that it is no JSON any more.
func jsonOrText(s string) json.RawMessage {
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

func (e *eventsWriter) writeRow(r *audit.Row) {
	if e.written == 0 {
		fmt.Fprintln(e.table, "TIME\tACTION\tBY\tSUBJECT\tWORKSPACE\tSCOPE\tDETAILS")
	}
	cells := []string{timeOr(r.Time, ""), string(r.Action), actedBy(r), r.Subject, r.Workspace, r.Scope, detailsText(r.Details)}
	for i := range cells {
		cells[i] = harmless(cells[i], "")
	}
	fmt.Fprintln(e.table, strings.Join(cells, "\t"))
}

// close ends the array.
func (e *eventsWriter) close() error {
	if !e.asJSON {
		return nil
	}
	end := "]\n"
	if e.written == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(e.w, end)
	return err
}

// actedBy names an actor in a few words.
func actedBy(r *audit.Row) string {
	a, err := r.ReadActor()
	switch {
	case err != nil:
		return r.Actor
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
func detailsText(text string) string {
	var details map[string]any
	if err := json.Unmarshal([]byte(text), &details); err != nil {
		return text
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(details)) {
		value, ok := details[name].(string)
		if !ok {
			b, err := json.Marshal(details[name])
			if err != nil {
				return text
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

func showHead(w io.Writer, s audit.Seal, keys []audit.Key, asJSON bool) error {
	if !asJSON {
		_, err := fmt.Fprintln(w, s.Hash)
		return err
	}
	public := ""
	for _, k := range keys {
		if k.ID == s.Key {
			public = k.Public()
		}
	}
	return writeJSON(w, struct {
		Row       int64  `json:"row"`
		Head      string `json:"head"`
		Key       string `json:"key"`
		PublicKey string `json:"public_key"`
	}{s.Seq, s.Hash.String(), s.Key, public})
}
