package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
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
	DryRun    bool          `json:"dry_run"`
	Entries   int64         `json:"entries"`
	Bytes     int64         `json:"bytes"`
	Scopes    []shareJSON   `json:"scopes"`
	Producers []shareJSON   `json:"producers"`
	Sample    []admin.Entry `json:"sample"`
	Revoked   string        `json:"revoked"`
	Purge     *purgeJSON    `json:"purge"`
}

type shareJSON struct {
	Name    string `json:"name"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
}

func newPlanJSON(p *purge.Plan) planJSON {
	out := planJSON{Entries: p.Entries, Bytes: p.Bytes, Scopes: newSharesJSON(p.Scopes), Producers: newSharesJSON(p.Producers), Sample: []admin.Entry{}}
	for _, e := range p.Sample {
		out.Sample = append(out.Sample, admin.ShowEntry(&e))
	}
	return out
}

func newSharesJSON(shares []purge.Share) []shareJSON {
	out := make([]shareJSON, 0, len(shares)) // [] and not null
	for _, s := range shares {
		out = append(out, shareJSON(s))
	}
	return out
}

// showPlan says what would go, of what the store has or of what the ledger knows.
func showPlan(env *environment, p *purge.Plan, scanned, asJSON bool) error {
	if asJSON {
		out := newPlanJSON(p)
		out.DryRun = true
		return writeHarmlessJSON(env.Stdout, out)
	}
	if p.Entries == 0 && scanned {
		fmt.Fprintln(env.Stdout, "Nothing in the store fits.")
		return nil
	}
	if p.Entries == 0 {
		fmt.Fprintln(env.Stdout, "Nothing that is known fits. --scan looks into the store itself.")
		return nil
	}
	fmt.Fprintf(env.Stdout, "These would go: %d entries of %d bytes. Nothing is changed yet; --yes does it.\n", p.Entries, p.Bytes)
	if err := writeShares(env.Stdout, p); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, "\nSome of them")
	return newEntriesWriter(env.Stdout, false).write(newPlanJSON(p).Sample)
}

func writeShares(w io.Writer, p *purge.Plan) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, part := range []struct {
		name   string
		shares []purge.Share
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
func showPurged(env *environment, plan *purge.Plan, done *purge.Summary, revoked string, asJSON bool) error {
	if asJSON {
		out := newPlanJSON(plan)
		p := newPurgeJSON(done)
		out.Revoked, out.Purge = revoked, &p
		return writeHarmlessJSON(env.Stdout, out)
	}
	if revoked != "" {
		fmt.Fprintf(env.Stdout, "Revoked: %s.\n", harmless(revoked, ""))
	}
	return showStep(env, done, false)
}

// showStep says how far a purge has come.
func showStep(env *environment, s *purge.Summary, asJSON bool) error {
	if asJSON {
		return writeHarmlessJSON(env.Stdout, newPurgeJSON(s))
	}
	n := func(state ledger.PurgedState) int64 { return s.Counts[state].Entries }
	until := timeOr(s.Discard, "")
	switch s.State {
	case ledger.PurgeUndone:
		fmt.Fprintf(env.Stdout, "Purge %s is undone: %d entries are back.\n", s.ID, n(ledger.PurgedRestored))
		if taken := n(ledger.PurgedOccupied); taken > 0 {
			fmt.Fprintf(env.Stdout, "%d are not, because their keys were written anew meanwhile; they stay in quarantine until %s.\n", taken, until)
		}
	case ledger.PurgeDiscarded:
		fmt.Fprintf(env.Stdout, "Purge %s is discarded: %d entries are deleted for good. It stays in force.\n", s.ID, n(ledger.PurgedDiscarded))
	default:
		fmt.Fprintf(env.Stdout, "Purge %s: %d entries (%d bytes) are in quarantine until %s, and no server serves them.\n", s.ID, n(ledger.PurgedHeld),
			s.Counts[ledger.PurgedHeld].Bytes, until)
		fmt.Fprintf(env.Stdout, "'bezoar purge undo %s' brings them back, 'bezoar purge discard %s' deletes them now.\n", s.ID, s.ID)
	}
	if gone := n(ledger.PurgedAbsent); gone > 0 {
		fmt.Fprintf(env.Stderr, "bezoar: warning: %d entries that the ledger knew are not in the store. If that is many, is --store the servers'?\n", gone)
	}
	return nil
}

// purgeJSON is what JSON has of a purge. Scripts depend on it: fields are added, never changed.
type purgeJSON struct {
	ID       string           `json:"id"`
	State    string           `json:"state"`
	InForce  bool             `json:"in_force"`
	By       string           `json:"by"`
	Reason   string           `json:"reason"`
	Selector selectorJSON     `json:"selector"`
	Created  time.Time        `json:"created"`
	Changed  time.Time        `json:"changed"`
	Discard  time.Time        `json:"discard"`
	Entries  map[string]int64 `json:"entries"`
	Bytes    int64            `json:"bytes"`
}

type selectorJSON struct {
	Workspace  cache.Workspace `json:"workspace,omitempty"`
	Scope      string          `json:"scope,omitempty"`
	Hash       cache.Hash      `json:"hash,omitempty"`
	Run        string          `json:"run,omitempty"`
	Token      string          `json:"token,omitempty"`
	Actor      string          `json:"actor,omitempty"`
	Repository string          `json:"repository,omitempty"`
	Ref        string          `json:"ref,omitempty"`
	Since      *time.Time      `json:"since,omitempty"`
	Until      *time.Time      `json:"until,omitempty"`
}

func newPurgeJSON(s *purge.Summary) purgeJSON {
	f := &s.Filter
	out := purgeJSON{
		ID: s.ID, State: string(s.State), InForce: s.InForce(), By: s.By, Reason: s.Reason, Created: s.Created, Changed: s.Changed, Discard: s.Discard,
		Selector: selectorJSON{
			Workspace: f.Workspace, Scope: string(f.Scope), Hash: f.Hash, Run: f.Run, Token: f.Token, Actor: f.Actor, Repository: f.Repository, Ref: f.Ref,
			Since: orNull(f.Since), Until: orNull(f.Until),
		},
		Entries: make(map[string]int64),
	}
	for _, state := range []ledger.PurgedState{
		ledger.PurgedFound, ledger.PurgedHeld, ledger.PurgedAbsent, ledger.PurgedRestored, ledger.PurgedOccupied, ledger.PurgedDiscarded,
	} {
		out.Entries[string(state)] = s.Counts[state].Entries
		out.Bytes += s.Counts[state].Bytes
	}
	return out
}

// describeFilter says in a line what a purge takes.
func describeFilter(f *ledger.Filter) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("workspace", string(f.Workspace))
	add("scope", string(f.Scope))
	add("hash", string(f.Hash))
	add("run", f.Run)
	add("token", f.Token)
	add("actor", f.Actor)
	add("repository", f.Repository)
	add("ref", f.Ref)
	add("since", timeOr(f.Since, ""))
	add("until", timeOr(f.Until, ""))
	return strings.Join(parts, ", ")
}

func showPurges(w io.Writer, all []purge.Summary, asJSON bool) error {
	if asJSON {
		out := make([]purgeJSON, 0, len(all)) // [] and not null
		for i := range all {
			out = append(out, newPurgeJSON(&all[i]))
		}
		return writeHarmlessJSON(w, out)
	}
	if len(all) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tCREATED\tSTATE\tENTRIES\tBYTES\tDISCARD\tBY\tTAKES\tREASON")
	for i := range all {
		s := &all[i]
		var entries, bytes int64
		for _, c := range s.Counts {
			entries, bytes = entries+c.Entries, bytes+c.Bytes
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", s.ID, timeOr(s.Created, ""), s.State, entries, bytes, timeOr(s.Discard, ""),
			harmless(s.By, ""), harmless(describeFilter(&s.Filter), ""), harmless(s.Reason, ""))
	}
	return table.Flush()
}
