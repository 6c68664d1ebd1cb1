package admin

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Event is an event of the audit log. Nothing of it is verified.
type Event struct {
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

// ShowEvent makes a row fit to be shown.
func ShowEvent(r *audit.Row) Event {
	return Event{
		Seq: r.Seq, Time: r.Time, Action: r.Action, Actor: jsonOrText(r.Actor), Subject: r.Subject, Workspace: r.Workspace, Scope: r.Scope,
		Details: jsonOrText(r.Details), Replica: r.Replica, Hash: r.Hash.String(),
	}
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

// Events is a page of events.
type Events struct {
	Events []Event `json:"events"`
	Next   string  `json:"next"`
}

// AuditLines is a part of the export of the audit log: lines of JSON, each as it stands in the export.
type AuditLines struct {
	Lines []string `json:"lines"`
	Next  string   `json:"next"`
}

// AuditHead is the end of the audit log as far as it is sealed, and the keys by which seals are verified.
type AuditHead struct {
	Row  int64     `json:"row"`
	Head string    `json:"head"`
	Time time.Time `json:"time"` // of the seal
	Key  string    `json:"key"`
	// PublicKey is that of Key; empty, if this server does not have it.
	PublicKey string `json:"public_key"`
	// PublicKeys are those of all keys of this server.
	PublicKeys []string `json:"public_keys"`
}

// AuditEvents implements [Service]. An actor of one workspace sees what happened in that one.
func (a *acting) AuditEvents(ctx context.Context, filter ledger.AuditFilter, page Page) (Events, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Events{}, err
	}
	var err error
	if filter.Workspace, err = a.within(filter.Workspace); err != nil {
		return Events{}, err
	}
	rows, next, err := a.opts.Ledger.AuditEvents(ctx, filter, ledger.Cursor(page.After), page.limit())
	if err != nil {
		return Events{}, err
	}
	out := Events{Events: make([]Event, 0, len(rows)), Next: string(next)}
	for i := range rows {
		out.Events = append(out.Events, ShowEvent(&rows[i]))
	}
	return out, nil
}

// whole fails for an actor of one workspace: a chain cannot be shown in part.
func (a *acting) whole() error {
	if a.actor.Workspace != "" {
		return fail(OtherWorkspace, "this token is for workspace %s alone, and the audit log is one of the whole server", a.actor.Workspace)
	}
	return nil
}

// lines gathers lines of an export.
type lines []string

func (l *lines) Row(r *audit.Row)   { *l = append(*l, r.Line()) }
func (l *lines) Seal(s *audit.Seal) { *l = append(*l, s.Line()) }

// AuditLines implements [Service]. The page's limit counts events; seals come with them.
func (a *acting) AuditLines(ctx context.Context, page Page) (AuditLines, error) {
	if err := errors.Join(a.need(trust.Viewer), a.whole()); err != nil {
		return AuditLines{}, err
	}
	after := int64(0)
	if page.After != "" {
		var err error
		if after, err = strconv.ParseInt(page.After, 10, 64); err != nil || after < 0 {
			return AuditLines{}, errCursor
		}
	}
	found := lines{}
	last, more, err := audit.ReadPage(ctx, a.opts.Ledger, after, page.limit(), &found)
	out := AuditLines{Lines: found}
	if more {
		out.Next = strconv.FormatInt(last, 10)
	}
	return out, err
}

// AuditHead implements [Service].
func (a *acting) AuditHead(ctx context.Context) (AuditHead, error) {
	if err := errors.Join(a.need(trust.Viewer), a.whole()); err != nil {
		return AuditHead{}, err
	}
	return a.head(ctx)
}

// SealAudit implements [Service]. It writes to the ledger, which a viewer does not.
func (a *acting) SealAudit(ctx context.Context) (AuditHead, error) {
	if err := errors.Join(a.need(trust.Operator), a.whole()); err != nil {
		return AuditHead{}, err
	}
	if len(a.opts.AuditKeys) == 0 {
		return AuditHead{}, errors.New("there is no key to seal the audit log with")
	}
	if err := audit.NewKeeper(a.opts.Ledger, audit.KeeperOptions{Keys: a.opts.AuditKeys, Now: a.opts.Now}).Seal(ctx); err != nil {
		return AuditHead{}, err
	}
	return a.head(ctx)
}

func (a *acting) head(ctx context.Context) (AuditHead, error) {
	out := AuditHead{PublicKeys: []string{}}
	for _, key := range a.opts.AuditKeys {
		out.PublicKeys = append(out.PublicKeys, key.Public())
	}
	seal, has, err := a.opts.Ledger.LastAuditSeal(ctx, audit.SealHead)
	if err != nil {
		return AuditHead{}, err
	}
	if !has {
		return AuditHead{}, fail(NotFound, "the audit log is empty, or nobody has sealed it yet")
	}
	out.Row, out.Head, out.Time, out.Key = seal.Seq, seal.Hash.String(), seal.Time, seal.Key
	for _, key := range a.opts.AuditKeys {
		if key.ID == seal.Key {
			out.PublicKey = key.Public()
		}
	}
	return out, nil
}
