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
