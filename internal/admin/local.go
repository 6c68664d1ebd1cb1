package admin

import (
	"context"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Options are what a [Local] is made of.
type Options struct {
	// Ledger holds the records. Nil: nothing can be done but to inspect.
	Ledger *ledger.Ledger
	// Finder looks into the store, and Seal judges the seal of what is found there. Nil: nothing can be inspected.
	Finder Finder
	Seal   func(cache.Key, cache.Record) (Seal, error)
	// EndScope deletes the entries of a scope, as far as it comes until its context ends. Nil: no scope can be deleted.
	EndScope func(context.Context, cache.Workspace, cache.Scope) (DeletedScope, error)
	// Collector removes what is beyond the bounds. Nil: nobody does.
	Collector Collector
	// PurgeKeep is how long a purge keeps what it took. 0: [purge.DefaultKeep].
	PurgeKeep time.Duration
	// PurgeChanged is told of each purge that was begun or changed: it puts it in force here and has it worked on, and waits for no more than the first. Nil: the
	// caller works on it.
	PurgeChanged func(context.Context)
	// NotOnRecord is told of what was done and could not be put on record. Nil: nobody is.
	NotOnRecord func(error)
	// AuditKeys verify the audit log, and the first of them seals it.
	AuditKeys []audit.Key
	// Limits bound the unpacking of an archive.
	Limits artifact.Limits
	Now    func() time.Time
	// Replica is the server, for the audit log.
	Replica string
}

// Local works on a server's own records.
type Local struct{ opts Options }

// New makes a Local.
func New(opts Options) *Local { return &Local{opts} }

// Actor is on whose behalf something is done.
type Actor struct {
	// Role is what it may do. Empty: nothing but to delete the scope Own.
	Role trust.Role
	// Workspace is the only one that it sees; empty: it sees all.
	Workspace cache.Workspace
	// Own is the scope of a CI's identity, in Workspace.
	Own cache.Scope
	// Producer says who it is.
	Producer cache.Producer
	// Name says so to people, where there is no producer.
	Name string
}

// LocalOperator is who runs a command beside the data: whoever can open that may do everything. The name is for people.
func LocalOperator(name string) Actor { return Actor{Role: trust.Admin, Name: name} }

// As does what an actor may do.
func (l *Local) As(a Actor) Service {
	opts := l.opts
	if a.Producer.Kind != "" && opts.Ledger != nil {
		opts.Ledger = opts.Ledger.By(audit.ActorOf(a.Producer), opts.Replica) // it is his doing, on record
	}
	return &acting{opts: opts, actor: a}
}

// acting is a Local for one actor. Each method asks first what the actor may.
type acting struct {
	opts  Options
	actor Actor
}

var _ Service = (*acting)(nil)

// Place implements [Service].
func (a *acting) Place() string { return a.opts.Ledger.Place() }

// need fails if the actor's role may not do what the needed one may.
func (a *acting) need(role trust.Role) error {
	if a.actor.Role.May(role) {
		return nil
	}
	return fail(Forbidden, "this takes a token with the role %s", role)
}

// within is the workspace that is asked for, or the actor's only one if none is. Another one than that is an error.
func (a *acting) within(workspace cache.Workspace) (cache.Workspace, error) {
	switch {
	case a.actor.Workspace == "" || a.actor.Workspace == workspace:
		return workspace, nil
	case workspace == "":
		return a.actor.Workspace, nil
	}
	return "", fail(OtherWorkspace, "this token is for workspace %s alone", a.actor.Workspace)
}

var errCursor = &Error{BadRequest, "this is no place in the list: begin anew"}

// pageOf cuts a page out of a list whose items have an id each and never go.
func pageOf[T any](all []T, id func(*T) string, page Page) (items []T, next string, err error) {
	begin := 0
	if page.After != "" {
		begin = -1
		for i := range all {
			if id(&all[i]) == page.After {
				begin = i + 1
				break
			}
		}
		if begin < 0 {
			return nil, "", errCursor
		}
	}
	end := min(begin+page.limit(), len(all))
	if end < len(all) {
		next = id(&all[end-1])
	}
	return all[begin:end], next, nil
}

// Tokens implements [Service].
func (a *acting) Tokens(ctx context.Context, workspace cache.Workspace, page Page) (Tokens, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Tokens{}, err
	}
	workspace, err := a.within(workspace)
	if err != nil {
		return Tokens{}, err
	}
	recorded, err := a.opts.Ledger.Tokens(ctx)
	if err != nil {
		return Tokens{}, err
	}
	now := a.opts.Now()
	all := make([]Token, 0, len(recorded)) // [] and not null
	for i := range recorded {
		if workspace == "" || recorded[i].Workspace == workspace {
			all = append(all, ShowToken(&recorded[i], now))
		}
	}
	items, next, err := pageOf(all, func(t *Token) string { return t.ID }, page)
	return Tokens{Tokens: items, Next: next}, err
}

// CreateToken implements [Service].
func (a *acting) CreateToken(ctx context.Context, asked NewToken) (CreatedToken, error) {
	if err := a.need(trust.Admin); err != nil {
		return CreatedToken{}, err
	}
	if a.actor.Workspace != "" && asked.Workspace == "" {
		asked.Workspace = string(a.actor.Workspace) // the whole server is not this actor's to give
	}
	t, err := DescribeToken(asked, a.opts.Now())
	if err != nil {
		return CreatedToken{}, err
	}
	if _, err := a.within(t.Workspace); err != nil {
		return CreatedToken{}, err
	}
	text, hash := trust.NewToken()
	if t.Role != "" {
		text, hash = trust.NewAdminToken()
	}
	t.Hash, t.ID = hash, hash.ID()
	if err := a.opts.Ledger.CreateToken(ctx, t); err != nil {
		return CreatedToken{}, err
	}
	s := ShowToken(&t, t.Created)
	return CreatedToken{
		ID: s.ID, Token: text, Hash: hash.String(), Name: s.Name, Workspace: s.Workspace, Access: s.Access, Role: s.Role, Developer: s.Developer,
		State: s.State, Created: s.Created, Expires: s.Expires, Revoked: s.Revoked,
	}, nil
}

// RevokeToken implements [Service]. Tokens of operators are revoked by admins: else an operator could shut them out.
func (a *acting) RevokeToken(ctx context.Context, idOrName string, workspace cache.Workspace) (TokenChange, error) {
	if err := a.need(trust.Operator); err != nil {
		return TokenChange{}, err
	}
	workspace, err := a.within(workspace)
	if err != nil {
		return TokenChange{}, err
	}
	t, err := a.opts.Ledger.FindToken(ctx, idOrName, workspace)
	if err != nil {
		return TokenChange{}, err
	}
	if t.Role != "" {
		if err := a.need(trust.Admin); err != nil {
			return TokenChange{}, err
		}
	}
	before := t.Revoked
	now := a.opts.Now().Truncate(time.Millisecond) // as the ledger keeps it
	t, err = a.opts.Ledger.RevokeToken(ctx, t.ID, workspace, now)
	return TokenChange{Changed: before.IsZero() && t.Revoked.Equal(now), Token: ShowToken(&t, now)}, err
}

// Revocations implements [Service]. An actor of one workspace does not see those that hold for all: what they are of may be another workspace's business.
func (a *acting) Revocations(ctx context.Context, page Page) (Revocations, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Revocations{}, err
	}
	recorded, err := a.opts.Ledger.Revocations(ctx)
	if err != nil {
		return Revocations{}, err
	}
	all := make([]Revocation, 0, len(recorded))
	for i := range recorded {
		if a.actor.Workspace == "" || recorded[i].Workspace == a.actor.Workspace {
			all = append(all, ShowRevocation(&recorded[i]))
		}
	}
	items, next, err := pageOf(all, func(r *Revocation) string { return r.ID }, page)
	return Revocations{Revocations: items, Next: next}, err
}

// Revoke implements [Service].
func (a *acting) Revoke(ctx context.Context, asked NewRevocation) (RevocationChange, error) {
	if err := a.need(trust.Operator); err != nil {
		return RevocationChange{}, err
	}
	if a.actor.Workspace != "" && asked.Workspace == "" {
		asked.Workspace = string(a.actor.Workspace)
	}
	r, err := DescribeRevocation(asked, a.opts.Now())
	if err != nil {
		return RevocationChange{}, err
	}
	if _, err := a.within(r.Workspace); err != nil {
		return RevocationChange{}, err
	}
	recorded, err := a.opts.Ledger.CreateRevocation(ctx, r)
	return RevocationChange{Changed: recorded.ID == r.ID, Revocation: ShowRevocation(&recorded)}, err
}

// LiftRevocation implements [Service].
func (a *acting) LiftRevocation(ctx context.Context, id string) (RevocationChange, error) {
	if err := a.need(trust.Admin); err != nil {
		return RevocationChange{}, err
	}
	before, err := a.revocation(ctx, id)
	if err != nil {
		return RevocationChange{}, err
	}
	now := a.opts.Now().Truncate(time.Millisecond)
	r, err := a.opts.Ledger.LiftRevocation(ctx, id, now)
	return RevocationChange{Changed: before.Lifted.IsZero() && r.Lifted.Equal(now), Revocation: ShowRevocation(&r)}, err
}

// revocation finds one that the actor may see. There is no other to him.
func (a *acting) revocation(ctx context.Context, id string) (trust.Revocation, error) {
	recorded, err := a.opts.Ledger.Revocations(ctx)
	for i := range recorded {
		if r := recorded[i]; r.ID == id && (a.actor.Workspace == "" || r.Workspace == a.actor.Workspace) {
			return r, nil
		}
	}
	if err != nil {
		return trust.Revocation{}, err
	}
	return trust.Revocation{}, fail(NotFound, "%v: no revocation has the id %q", ledger.ErrNoRevocation, id)
}

// Entries implements [Service].
func (a *acting) Entries(ctx context.Context, filter ledger.Filter, page Page) (Entries, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Entries{}, err
	}
	var err error
	if filter.Workspace, err = a.within(filter.Workspace); err != nil {
		return Entries{}, err
	}
	found, next, err := a.opts.Ledger.Entries(ctx, filter, ledger.Cursor(page.After), page.limit())
	if err != nil {
		return Entries{}, err
	}
	out := Entries{Entries: make([]Entry, 0, len(found)), Next: string(next)}
	for i := range found {
		out.Entries = append(out.Entries, ShowEntry(&found[i]))
	}
	return out, nil
}

// Scopes implements [Service].
func (a *acting) Scopes(ctx context.Context, workspace cache.Workspace, page Page) (Scopes, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Scopes{}, err
	}
	workspace, err := a.within(workspace)
	if err != nil {
		return Scopes{}, err
	}
	found, next, err := a.opts.Ledger.Scopes(ctx, workspace, ledger.Cursor(page.After), page.limit())
	if err != nil {
		return Scopes{}, err
	}
	out := Scopes{Scopes: make([]Scope, 0, len(found)), Next: string(next)}
	for _, s := range found {
		out.Scopes = append(out.Scopes, Scope{s.Workspace, string(s.Scope), s.Entries, s.Bytes, s.Newest, orNull(s.Used)})
	}
	return out, nil
}

// DeleteScope implements [Service]. The job that ends a pull request's work may delete the scope that is its own to write, and no other one.
func (a *acting) DeleteScope(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (DeletedScope, error) {
	if err := a.mayDelete(workspace, scope); err != nil {
		return DeletedScope{}, err
	}
	if a.opts.EndScope == nil {
		return DeletedScope{}, errors.New("there is no store to delete from")
	}
	went, err := a.opts.EndScope(ctx, workspace, scope)
	if went.Entries > 0 {
		err = errors.Join(err, a.opts.Ledger.Note(context.WithoutCancel(ctx), audit.Event{
			Action: audit.Collected, Subject: "scope", Workspace: workspace, Scope: scope, Details: audit.Details{"entries": went.Entries, "bytes": went.Bytes},
		}))
	}
	return went, err
}

func (a *acting) mayDelete(workspace cache.Workspace, scope cache.Scope) error {
	if a.actor.Role == "" {
		if scope == cache.Trusted || scope == "" || scope != a.actor.Own || workspace != a.actor.Workspace {
			return fail(Forbidden, "a job may delete the scope that it writes itself and that is not trusted, and no other one")
		}
		return nil
	}
	needed := trust.Operator
	if scope == cache.Trusted {
		needed = trust.Admin // what all builds read
	}
	if err := a.need(needed); err != nil {
		return err
	}
	_, err := a.within(workspace)
	return err
}

// Inspect implements [Service].
func (a *acting) Inspect(ctx context.Context, key cache.Key, look Look) (*Inspection, error) {
	if err := a.need(trust.Viewer); err != nil {
		return nil, err
	}
	if _, err := a.within(key.Workspace); err != nil {
		return nil, err
	}
	if a.opts.Finder == nil {
		return nil, errors.New("there is no store to look into")
	}
	return a.inspect(ctx, key, look)
}
