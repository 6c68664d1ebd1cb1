package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// maxShares bounds the scopes and the producers of a plan that are shown to people.
const maxShares = 20

// outputForm is the form in which a command prints.
type outputForm struct {
	name   string
	asJSON bool
}

func (f *outputForm) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.name, "output", "text", "the form of what is printed: text or json")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, as with --output json")
}

func (f *outputForm) check() error {
	switch f.name {
	case "json":
		f.asJSON = true
	case "text":
	default:
		return fmt.Errorf("--output is text or json, not %q", f.name)
	}
	return nil
}

// planJSON is what JSON has of a purge that is planned or done. Scripts depend on it: fields are added, never changed.
type planJSON struct {
	DryRun bool `json:"dry_run"`
	admin.PurgePlan
	Revoked string       `json:"revoked"`
	Purge   *admin.Purge `json:"purge"`
}

// showPlan says what would go, of what the store has or of what the ledger knows.
func showPlan(env *environment, p *admin.PurgePlan, scanned, asJSON bool) error {
	if asJSON {
		return writeHarmlessJSON(env.Stdout, planJSON{DryRun: true, PurgePlan: *p})
	}
	if p.Entries == 0 && scanned {
		fmt.Fprintln(env.Stdout, "Nothing in the store fits.")
		return nil
	}
	if p.Entries == 0 {
		fmt.Fprintln(env.Stdout, "Nothing that is known fits. --scan looks into the store itself.")
		return nil
	}
	if !p.Complete {
		fmt.Fprintln(env.Stderr, "There are more: they could not all be counted in the time of a request.")
	}
	fmt.Fprintf(env.Stdout, "These would go: %d entries of %d bytes. Nothing is changed yet; --yes does it.\n", p.Entries, p.Bytes)
	if err := writeShares(env.Stdout, p); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "\nSome of them")
	return newEntriesWriter(env.Stdout, false).write(p.Sample)
}

func writeShares(w io.Writer, p *admin.PurgePlan) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		name   string
		shares []admin.Share
	}{{"Scopes", p.Scopes}, {"Made by", p.Producers}} {
		fmt.Fprintf(table, "\n%s\tENTRIES\tBYTES\n", part.name)
		for _, s := range part.shares[:min(len(part.shares), maxShares)] {
			fmt.Fprintf(table, "  %s\t%d\t%d\n", harmless(s.Name, ""), s.Entries, s.Bytes)
		}
		if more := len(part.shares) - maxShares; more > 0 {
			fmt.Fprintf(table, "  and %d more\n", more)
		}
	}
	return table.Flush()
}

// showPurged says what went.
func showPurged(env *environment, plan *admin.PurgePlan, done *admin.Purge, revoked string, asJSON bool) error {
	if asJSON {
		return writeHarmlessJSON(env.Stdout, planJSON{PurgePlan: *plan, Revoked: revoked, Purge: done})
	}
	if revoked != "" {
		fmt.Fprintf(env.Stdout, "Revoked: %s.\n", harmless(revoked, ""))
	}
	return showStep(env, done, false)
}

// showStep says how far a purge has come.
func showStep(env *environment, s *admin.Purge, asJSON bool) error {
	if asJSON {
		return writeHarmlessJSON(env.Stdout, s)
	}
	n := func(state ledger.PurgedState) int64 { return s.Entries[string(state)] }
	until := timeOr(s.Discard, "")
	switch ledger.PurgeState(s.State) {
	case ledger.PurgeUndone:
		fmt.Fprintf(env.Stdout, "Purge %s is undone: %d entries are back.\n", s.ID, n(ledger.PurgedRestored))
		if taken := n(ledger.PurgedOccupied); taken > 0 {
			fmt.Fprintf(env.Stdout, "%d are not, because their keys were written anew meanwhile; they stay in quarantine until %s.\n", taken, until)
		}
	case ledger.PurgeDiscarded:
		fmt.Fprintf(env.Stdout, "Purge %s is discarded: %d entries are deleted for good. It stays in force.\n", s.ID, n(ledger.PurgedDiscarded))
	default:
		fmt.Fprintf(env.Stdout, "Purge %s: %d entries (%d bytes) are in quarantine until %s, and no server serves them.\n", s.ID, n(ledger.PurgedHeld), s.HeldBytes, until)
		fmt.Fprintf(env.Stdout, "'bezoar purge undo %s' brings them back, 'bezoar purge discard %s' deletes them now.\n", s.ID, s.ID)
	}
	if gone := n(ledger.PurgedAbsent); gone > 0 {
		fmt.Fprintf(env.Stderr, "bezoar: warning: %d entries that the ledger knew are not in the store. If that is many, is --store the servers'?\n", gone)
	}
	return nil
}

// describeSelector says in a line what a purge takes.
func describeSelector(f *admin.Selector) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("workspace", string(f.Workspace))
	add("scope", f.Scope)
	add("hash", string(f.Hash))
	add("run", f.Run)
	add("token", f.Token)
	add("actor", f.Actor)
	add("repository", f.Repository)
	add("ref", f.Ref)
	add("since", timeOrNull(f.Since, ""))
	add("until", timeOrNull(f.Until, ""))
	return strings.Join(parts, ", ")
}

func showPurges(w io.Writer, all []admin.Purge, asJSON bool) error {
	if asJSON {
		return writeHarmlessJSON(w, append([]admin.Purge{}, all...)) // [] and not null
	}
	if len(all) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCREATED\tSTATE\tENTRIES\tBYTES\tDISCARD\tBY\tTAKES\tREASON")
	for i := range all {
		s := &all[i]
		var entries int64
		for _, n := range s.Entries {
			entries += n
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", s.ID, timeOr(s.Created, ""), s.State, entries, s.Bytes, timeOr(s.Discard, ""),
			harmless(s.By, ""), harmless(describeSelector(&s.Selector), ""), harmless(s.Reason, ""))
	}
	return table.Flush()
}

// countStates says in a line what has become of entries.
func countStates(entries map[string]int64) string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(entries)) {
		if n := entries[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, harmless(state, "")))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "no entry yet")
}
