package admin

import (
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Selector says which entries are meant: those to which all applies of what is set.
type Selector struct {
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

// ShowSelector makes a filter fit to be shown.
func ShowSelector(f *ledger.Filter) Selector {
	return Selector{
		Workspace: f.Workspace, Scope: string(f.Scope), Hash: f.Hash, Run: f.Run, Token: f.Token, Actor: f.Actor, Repository: f.Repository, Ref: f.Ref,
		Since: orNull(f.Since), Until: orNull(f.Until),
	}
}

// NewPurge is a purge that is to be ordered, in the texts of JSON: times are as in RFC 3339.
type NewPurge struct {
	Workspace  string `json:"workspace,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Hash       string `json:"hash,omitempty"`
	Run        string `json:"run,omitempty"`
	Token      string `json:"token,omitempty"`
	Actor      string `json:"actor,omitempty"`
	Repository string `json:"repository,omitempty"`
	Ref        string `json:"ref,omitempty"`
	Since      string `json:"since,omitempty"`
	Until      string `json:"until,omitempty"`
	Reason     string `json:"reason,omitempty"`
}

// AskPurge says in texts what a filter says.
func AskPurge(f *ledger.Filter, reason string) NewPurge {
	at := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return NewPurge{
		Workspace: string(f.Workspace), Scope: string(f.Scope), Hash: string(f.Hash), Run: f.Run, Token: f.Token, Actor: f.Actor, Repository: f.Repository, Ref: f.Ref,
		Since: at(f.Since), Until: at(f.Until), Reason: reason,
	}
}

// latestUntil is how far ahead the end of a purge may be: a stolen token is revoked and an upload may be under way, and clocks differ. A purge takes what was
// made, and is no ban of what will be.
const latestUntil = time.Hour

// describePurge reads what was asked for. Its errors repeat nothing that may be a secret.
func describePurge(asked *NewPurge, now time.Time) (order purge.Order, err error) {
	for _, text := range []string{
		asked.Workspace, asked.Scope, asked.Hash, asked.Run, asked.Token, asked.Actor, asked.Repository, asked.Ref, asked.Since, asked.Until, asked.Reason,
	} {
		if trust.HoldsToken(text) || strings.Contains(text, "eyJ") && strings.Count(text, ".") >= 2 {
			return order, fail(BadRequest, "there is a token where an id or a text belongs (not shown)")
		}
	}
	if strings.ContainsFunc(asked.Reason, func(r rune) bool { return r < ' ' }) || len(asked.Reason) > trust.MaxRevocationReason {
		return order, &FieldError{Field: "reason", Says: " is text without control characters, and not longer than that of a revocation"}
	}
	order.Reason = asked.Reason
	f := &order.Filter
	*f = ledger.Filter{Run: asked.Run, Token: asked.Token, Actor: asked.Actor, Repository: asked.Repository, Ref: asked.Ref}
	parse := func(name, text string, read func(string) error) {
		if text == "" || err != nil {
			return
		}
		if wrong := read(text); wrong != nil {
			err = field(name, wrong)
		}
	}
	parse("workspace", asked.Workspace, func(s string) (err error) { f.Workspace, err = cache.ParseWorkspace(s); return err })
	parse("scope", asked.Scope, func(s string) (err error) { f.Scope, err = cache.ParseScope(s); return err })
	parse("hash", asked.Hash, func(s string) (err error) { f.Hash, err = cache.ParseHash(s); return err })
	parse("since", asked.Since, func(s string) (err error) { f.Since, err = time.Parse(time.RFC3339, s); return err })
	parse("until", asked.Until, func(s string) (err error) { f.Until, err = time.Parse(time.RFC3339, s); return err })
	if err != nil {
		return order, err
	}
	if f.Until.After(now.Add(latestUntil)) {
		return order, &FieldError{Field: "until", Says: " is at most an hour ahead: a purge takes what was made until it was ordered"}
	}
	if err := order.Check(); err != nil {
		return order, fail(BadRequest, "%v", err)
	}
	if err := f.Check(); err != nil {
		return order, fail(BadRequest, "%v", err)
	}
	return order, nil
}

// Share is a part of what a purge takes.
type Share struct {
	Name    string `json:"name"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
}

// PurgePlan is what a purge would take.
type PurgePlan struct {
	// Complete says that all that is known was counted. Else the time was over, and there is more.
	Complete bool    `json:"complete"`
	Entries  int64   `json:"entries"`
	Bytes    int64   `json:"bytes"`
	Scopes   []Share `json:"scopes"`
	// Producers say who made the entries.
	Producers []Share `json:"producers"`
	Sample    []Entry `json:"sample"`
}

// ShowPlan makes a plan fit to be shown.
func ShowPlan(p *purge.Plan, complete bool) PurgePlan {
	out := PurgePlan{Complete: complete, Entries: p.Entries, Bytes: p.Bytes, Scopes: showShares(p.Scopes), Producers: showShares(p.Producers), Sample: []Entry{}}
	for i := range p.Sample {
		out.Sample = append(out.Sample, ShowEntry(&p.Sample[i]))
	}
	return out
}

func showShares(shares []purge.Share) []Share {
	out := make([]Share, 0, len(shares)) // [] and not null
	for _, s := range shares {
		out = append(out, Share(s))
	}
	return out
}

// Purge is a purge with what has become of what it took.
type Purge struct {
	ID       string           `json:"id"`
	State    string           `json:"state"`
	InForce  bool             `json:"in_force"`
	By       string           `json:"by"`
	Reason   string           `json:"reason"`
	Selector Selector         `json:"selector"`
	Created  time.Time        `json:"created"`
	Changed  time.Time        `json:"changed"`
	Discard  time.Time        `json:"discard"`
	Entries  map[string]int64 `json:"entries"` // by what has become of them
	Bytes    int64            `json:"bytes"`
	// HeldBytes are those in quarantine.
	HeldBytes int64 `json:"held_bytes"`
}

// ShowPurge makes a purge fit to be shown.
func ShowPurge(s *purge.Summary) Purge {
	out := Purge{
		ID: s.ID, State: string(s.State), InForce: s.InForce(), By: s.By, Reason: s.Reason, Selector: ShowSelector(&s.Filter),
		Created: s.Created, Changed: s.Changed, Discard: s.Discard, Entries: make(map[string]int64), HeldBytes: s.Counts[ledger.PurgedHeld].Bytes,
	}
	for _, state := range []ledger.PurgedState{
		ledger.PurgedFound, ledger.PurgedHeld, ledger.PurgedAbsent, ledger.PurgedRestored, ledger.PurgedOccupied, ledger.PurgedDiscarded,
	} {
		out.Entries[string(state)] = s.Counts[state].Entries
		out.Bytes += s.Counts[state].Bytes
	}
	return out
}

// Settled reports whether nobody has to work on the purge any more.
func (p *Purge) Settled() bool {
	switch ledger.PurgeState(p.State) {
	case ledger.PurgeRunning, ledger.PurgeUndoing, ledger.PurgeDiscarding:
		return false
	}
	return true
}

// Purges is a page of purges.
type Purges struct {
	Purges []Purge `json:"purges"`
	Next   string  `json:"next"`
}

// purgeEvent is that of a purge whose state somebody changed.
func purgeEvent(p *ledger.Purge) audit.Event {
	details := audit.Details{"state": string(p.State)}
	for name, value := range map[string]string{
		"hash": string(p.Filter.Hash), "run": p.Filter.Run, "token": p.Filter.Token, "actor": p.Filter.Actor, "repository": p.Filter.Repository, "ref": p.Filter.Ref,
		"reason": p.Reason,
	} {
		if value != "" {
			details[name] = value
		}
	}
	for name, at := range map[string]time.Time{"since": p.Filter.Since, "until": p.Filter.Until} {
		if !at.IsZero() {
			details[name] = at.UTC().Format(time.RFC3339)
		}
	}
	return audit.Event{Action: audit.Purged, Subject: p.ID, Workspace: p.Filter.Workspace, Scope: p.Filter.Scope, Details: details}
}

// MadeBy names a producer in a line.
func MadeBy(p *cache.Producer) string {
	switch {
	case p.RunID != "":
		text := "run " + p.RunID
		if p.Repository != "" {
			text += " of " + p.Repository
		}
		if p.Ref != "" {
			text += ", " + p.Ref
		}
		if p.Actor != "" || p.ActorID != "" {
			text += ", by " + p.Actor + " (" + p.ActorID + ")"
		}
		return text
	case p.TokenID != "":
		text := "token " + p.TokenName + " (" + p.TokenID + ")"
		if p.Developer != "" {
			text += " of " + p.Developer
		}
		return text
	case p.Subject != "":
		return p.Subject
	}
	return p.Kind
}
