package main

import (
	"cmp"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

func newDivergencesWriter(w io.Writer, asJSON bool) *listWriter[admin.Divergence] {
	return newListWriter(w, asJSON, "ID\tFOUND\tLEVEL\tWORKSPACE\tHASH\tMEMBERS\tSCOPE\tMADE BY", func(d *admin.Divergence) []string {
		members := "?"
		if d.Comparison.State == divergence.Compared {
			members = fmt.Sprint(d.Comparison.Differing)
		}
		return []string{fmt.Sprint(d.ID), timeOr(d.Found, ""), string(d.Level), string(d.Workspace), string(d.Hash), members, d.Scope, admin.MadeBy(&d.Other.Producer)}
	})
}

// showDivergence prints one for people.
func showDivergence(w io.Writer, d *admin.Divergence) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "Divergence %d\n", d.ID)
	fmt.Fprintf(table, "  workspace\t%s\n  hash\t%s\n  found\t%s\n  level\t%s\n", d.Workspace, d.Hash, timeOr(d.Found, ""), describeLevel(d))
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nWho made them")
	fmt.Fprintf(table, "  \ttrusted\t%s\n", harmless(d.Scope, ""))
	for _, line := range besides(d) {
		if line.trusted == "" && line.other == "" {
			continue
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\n", line.name, cmp.Or(harmless(line.trusted, ""), "-"), cmp.Or(harmless(line.other, ""), "-"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := showComparison(w, d); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\nWhat to do\n%s", nextSteps(d))
	return err
}

func describeLevel(d *admin.Divergence) string {
	switch {
	case d.Level == divergence.Pending:
		return "pending: a running server compares the archives"
	case d.Times == 0:
		return string(d.Level) + ": which members differ is not known"
	case d.Level == divergence.Recurring:
		return fmt.Sprintf("recurring (%d times, since %s): most likely a task that is not deterministic", d.Times, timeOr(d.Since, ""))
	case d.Times > 1:
		return fmt.Sprintf("first: the same members differed before (%d times, since %s), but not often enough in what others made", d.Times, timeOr(d.Since, ""))
	}
	return "first: nothing of the kind was seen before"
}

// sides is a fact about both entries.
type sides struct{ name, trusted, other string }

// besides has the records side by side.
func besides(d *admin.Divergence) []sides {
	lines := []sides{
		{"created", timeOr(d.Trusted.Created, ""), timeOr(d.Other.Created, "")},
		{"size", fmt.Sprint(d.Trusted.Size, " bytes"), fmt.Sprint(d.Other.Size, " bytes")},
		{"sha256", d.Trusted.SHA256.String(), d.Other.SHA256.String()},
		{"content", content(&d.Trusted), content(&d.Other)},
	}
	trusted, other := reflect.ValueOf(d.Trusted.Producer), reflect.ValueOf(d.Other.Producer)
	for i := range trusted.NumField() {
		name, _, _ := strings.Cut(trusted.Type().Field(i).Tag.Get("json"), ",")
		lines = append(lines, sides{name, trusted.Field(i).String(), other.Field(i).String()})
	}
	return lines
}

func content(r *cache.Record) string {
	if r.Opaque {
		return "opaque"
	}
	return r.Content.String()
}

func showComparison(w io.Writer, d *admin.Divergence) error {
	c := &d.Comparison
	fmt.Fprintln(w, "\nWhat differs")
	if c.State != divergence.Compared {
		_, err := fmt.Fprintf(w, "  not known: %s\n", cmp.Or(harmless(c.Note, ""), "the archives are not compared yet"))
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  \ttrusted\t%s\n", harmless(d.Scope, ""))
	for i := range c.Members {
		m := &c.Members[i]
		fmt.Fprintf(table, "  %s\t%s\t%s\n", harmless(m.Path, ""), describeSide(m.Trusted), describeSide(m.Other))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "  %d of %d members that differ are shown; %d are in the trusted one alone, %d in the other one alone\n", len(c.Members), c.Differing, c.TrustedOnly, c.OtherOnly)
	return err
}

func describeSide(s *divergence.Side) string {
	switch {
	case s == nil:
		return "-"
	case s.Target != "":
		return s.Type + " to " + harmless(s.Target, "")
	case s.SHA256 != nil:
		return fmt.Sprintf("%s %s, %d bytes, %.12s", s.Mode, s.Type, s.Size, s.SHA256)
	}
	return s.Mode + " " + s.Type
}

// quoted makes a word for a shell of a text of somebody else's.
func quoted(text string) string {
	return "'" + strings.ReplaceAll(harmless(text, ""), "'", `'\''`) + "'"
}

// nextSteps names the commands that help, with what they need.
func nextSteps(d *admin.Divergence) string {
	var b strings.Builder
	step := func(what, command string, args ...any) {
		fmt.Fprintf(&b, "  %s:\n    bezoar %s\n", what, fmt.Sprintf(command, args...))
	}
	step("See what is in both", "inspect %s trusted %s", d.Workspace, d.Hash)
	fmt.Fprintf(&b, "    bezoar inspect %s %s %s\n", d.Workspace, quoted(d.Scope), d.Hash)
	switch p := &d.Other.Producer; {
	case p.RunID != "":
		step("See what else that run made", "ledger entries --workspace %s --run %s", d.Workspace, quoted(p.RunID))
		step("If it was an attempt, refuse the run, and look for others of its actor", "revoke run %s --workspace %s --reason %s", quoted(p.RunID), d.Workspace, quoted(fmt.Sprint("divergence ", d.ID)))
		if p.ActorID != "" {
			fmt.Fprintf(&b, "    bezoar ledger entries --workspace %s --actor %s\n", d.Workspace, quoted(p.ActorID))
		}
		step("Remove what it made", "purge --run %s", quoted(p.RunID))
	case p.TokenID != "":
		step("See what else that token made", "ledger entries --workspace %s --token %s", d.Workspace, quoted(p.TokenID))
		step("If it was an attempt, revoke the token", "token revoke %s", quoted(p.TokenID))
		step("Remove what it made", "purge --token %s", quoted(p.TokenID))
	}
	b.WriteString("  What trusted builds got is the trusted entry. If that is the one that is wrong, its own run is the one to look at.\n")
	return b.String()
}
