package remote

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

var _ admin.Service = (*Client)(nil)

// get asks for something at a path.
func get[T any](ctx context.Context, c *Client, query url.Values, path ...string) (out T, err error) {
	err = c.do(ctx, http.MethodGet, path, query, nil, &out)
	return out, err
}

// post does something at a path.
func post[T any](ctx context.Context, c *Client, query url.Values, in any, path ...string) (out T, err error) {
	err = c.do(ctx, http.MethodPost, path, query, in, &out)
	return out, err
}

// pageQuery makes parameters of a page.
func pageQuery(page admin.Page) url.Values {
	q := url.Values{}
	set(q, "after", page.After)
	if page.Limit > 0 {
		q.Set("limit", strconv.Itoa(page.Limit))
	}
	return q
}

// set leaves out what is not set.
func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// Tokens implements [admin.Service].
func (c *Client) Tokens(ctx context.Context, workspace cache.Workspace, page admin.Page) (admin.Tokens, error) {
	q := pageQuery(page)
	set(q, "workspace", string(workspace))
	return get[admin.Tokens](ctx, c, q, "tokens")
}

// CreateToken implements [admin.Service].
func (c *Client) CreateToken(ctx context.Context, asked admin.NewToken) (admin.CreatedToken, error) {
	return post[admin.CreatedToken](ctx, c, nil, asked, "tokens")
}

// RevokeToken implements [admin.Service].
func (c *Client) RevokeToken(ctx context.Context, idOrName string, workspace cache.Workspace) (admin.TokenChange, error) {
	q := url.Values{}
	set(q, "workspace", string(workspace))
	return post[admin.TokenChange](ctx, c, q, nil, "tokens", idOrName, "revoke")
}

// Revocations implements [admin.Service].
func (c *Client) Revocations(ctx context.Context, page admin.Page) (admin.Revocations, error) {
	return get[admin.Revocations](ctx, c, pageQuery(page), "revocations")
}

// Revoke implements [admin.Service].
func (c *Client) Revoke(ctx context.Context, asked admin.NewRevocation) (admin.RevocationChange, error) {
	return post[admin.RevocationChange](ctx, c, nil, asked, "revocations")
}

// LiftRevocation implements [admin.Service].
func (c *Client) LiftRevocation(ctx context.Context, id string) (admin.RevocationChange, error) {
	return post[admin.RevocationChange](ctx, c, nil, nil, "revocations", id, "lift")
}

// Entries implements [admin.Service].
func (c *Client) Entries(ctx context.Context, filter ledger.Filter, page admin.Page) (admin.Entries, error) {
	q := pageQuery(page)
	for name, value := range map[string]string{
		"workspace": string(filter.Workspace), "scope": string(filter.Scope), "hash": string(filter.Hash), "run": filter.Run, "token": filter.Token,
		"actor": filter.Actor, "repository": filter.Repository, "ref": filter.Ref, "since": timeText(filter.Since), "until": timeText(filter.Until),
	} {
		set(q, name, value)
	}
	return get[admin.Entries](ctx, c, q, "entries")
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// Scopes implements [admin.Service].
func (c *Client) Scopes(ctx context.Context, workspace cache.Workspace, page admin.Page) (admin.Scopes, error) {
	q := pageQuery(page)
	set(q, "workspace", string(workspace))
	return get[admin.Scopes](ctx, c, q, "scopes")
}

// DeleteScope implements [admin.Service]. A server does a part at a time.
func (c *Client) DeleteScope(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (all admin.DeletedScope, err error) {
	for {
		var part admin.DeletedScope
		err := c.do(ctx, http.MethodDelete, []string{"workspaces", string(workspace), "scopes", string(scope)}, nil, nil, &part)
		all.Entries, all.Bytes, all.Complete = all.Entries+part.Entries, all.Bytes+part.Bytes, part.Complete
		if err != nil || part.Complete || part.Entries == 0 {
			return all, err
		}
	}
}

// Inspect implements [admin.Service].
func (c *Client) Inspect(ctx context.Context, key cache.Key, look admin.Look) (*admin.Inspection, error) {
	if look.Output > 0 {
		return nil, errors.New("what a task printed is not shown over the network: run the command beside the server's data")
	}
	q := url.Values{"members": {strconv.Itoa(look.Members)}, "archive": {strconv.FormatBool(look.Archive)}}
	return get[*admin.Inspection](ctx, c, q, "workspaces", string(key.Workspace), "scopes", string(key.Scope), "entries", string(key.Hash))
}

// PlanPurge implements [admin.Service].
func (c *Client) PlanPurge(ctx context.Context, asked admin.NewPurge) (admin.PurgePlan, error) {
	return post[admin.PurgePlan](ctx, c, nil, asked, "purges", "plan")
}

// OrderPurge implements [admin.Service].
func (c *Client) OrderPurge(ctx context.Context, asked admin.NewPurge) (admin.Purge, error) {
	return post[admin.Purge](ctx, c, nil, asked, "purges")
}

// Purges implements [admin.Service].
func (c *Client) Purges(ctx context.Context, page admin.Page) (admin.Purges, error) {
	return get[admin.Purges](ctx, c, pageQuery(page), "purges")
}

// Purge implements [admin.Service].
func (c *Client) Purge(ctx context.Context, id string) (admin.Purge, error) {
	return get[admin.Purge](ctx, c, nil, "purges", id)
}

// UndoPurge implements [admin.Service].
func (c *Client) UndoPurge(ctx context.Context, id string) (admin.Purge, error) {
	return post[admin.Purge](ctx, c, nil, nil, "purges", id, "undo")
}

// DiscardPurge implements [admin.Service].
func (c *Client) DiscardPurge(ctx context.Context, id string) (admin.Purge, error) {
	return post[admin.Purge](ctx, c, nil, nil, "purges", id, "discard")
}

// ResumePurge implements [admin.Service].
func (c *Client) ResumePurge(ctx context.Context, id string) (admin.Purge, error) {
	return post[admin.Purge](ctx, c, nil, nil, "purges", id, "resume")
}

// PlanGC implements [admin.Service].
func (c *Client) PlanGC(ctx context.Context, workspace cache.Workspace, list int) (admin.Collection, error) {
	q := url.Values{}
	set(q, "workspace", string(workspace))
	if list > 0 {
		q.Set("list", strconv.Itoa(list))
	}
	return get[admin.Collection](ctx, c, q, "gc", "plan")
}

// RunGC implements [admin.Service].
func (c *Client) RunGC(ctx context.Context, workspace cache.Workspace) (admin.GCRun, error) {
	q := url.Values{}
	set(q, "workspace", string(workspace))
	return post[admin.GCRun](ctx, c, q, nil, "gc", "runs")
}

// GCRuns implements [admin.Service].
func (c *Client) GCRuns(ctx context.Context, page admin.Page) (admin.GCRuns, error) {
	return get[admin.GCRuns](ctx, c, pageQuery(page), "gc", "runs")
}

// GCRun implements [admin.Service].
func (c *Client) GCRun(ctx context.Context, id string) (admin.GCRun, error) {
	return get[admin.GCRun](ctx, c, nil, "gc", "runs", id)
}

// Divergences implements [admin.Service].
func (c *Client) Divergences(ctx context.Context, filter ledger.DivergenceFilter, page admin.Page) (admin.Divergences, error) {
	q := pageQuery(page)
	for name, value := range map[string]string{
		"workspace": string(filter.Workspace), "scope": string(filter.Scope), "hash": string(filter.Hash), "level": string(filter.Level),
		"since": timeText(filter.Since), "until": timeText(filter.Until),
	} {
		set(q, name, value)
	}
	return get[admin.Divergences](ctx, c, q, "divergences")
}

// Divergence implements [admin.Service].
func (c *Client) Divergence(ctx context.Context, id int64) (admin.Divergence, error) {
	return get[admin.Divergence](ctx, c, nil, "divergences", strconv.FormatInt(id, 10))
}

// AuditEvents implements [admin.Service].
func (c *Client) AuditEvents(ctx context.Context, filter ledger.AuditFilter, page admin.Page) (admin.Events, error) {
	q := pageQuery(page)
	for name, value := range map[string]string{
		"action": string(filter.Action), "workspace": string(filter.Workspace), "actor": filter.Actor, "since": timeText(filter.Since), "until": timeText(filter.Until),
	} {
		set(q, name, value)
	}
	return get[admin.Events](ctx, c, q, "audit", "events")
}

// AuditLines implements [admin.Service].
func (c *Client) AuditLines(ctx context.Context, page admin.Page) (admin.AuditLines, error) {
	return get[admin.AuditLines](ctx, c, pageQuery(page), "audit", "lines")
}

// AuditHead implements [admin.Service].
func (c *Client) AuditHead(ctx context.Context) (admin.AuditHead, error) {
	return get[admin.AuditHead](ctx, c, nil, "audit", "head")
}

// SealAudit implements [admin.Service].
func (c *Client) SealAudit(ctx context.Context) (admin.AuditHead, error) {
	return post[admin.AuditHead](ctx, c, nil, nil, "audit", "head")
}
