package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

func entries(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	filter, err := c.filter()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Entries(ctx, filter, page)
	return http.StatusOK, out, err
}

// filter reads the parameters that say which entries are asked for.
func (c *call) filter() (f ledger.Filter, err error) {
	q := c.query
	f = ledger.Filter{Run: q.Get("run"), Token: q.Get("token"), Actor: q.Get("actor"), Repository: q.Get("repository"), Ref: q.Get("ref")}
	if f.Workspace, err = parsed(c, "workspace", cache.ParseWorkspace); err != nil {
		return f, err
	}
	if f.Scope, err = parsed(c, "scope", cache.ParseScope); err != nil {
		return f, err
	}
	if f.Hash, err = parsed(c, "hash", cache.ParseHash); err != nil {
		return f, err
	}
	f.Since, f.Until, err = c.times()
	return f, err
}

func scopes(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	workspace, err := parsed(c, "workspace", cache.ParseWorkspace)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Scopes(ctx, workspace, page)
	return http.StatusOK, out, err
}

func scopesOf(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	workspace, err := cache.ParseWorkspace(c.params["workspace"])
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Scopes(ctx, workspace, page)
	return http.StatusOK, out, err
}

func deleteScope(ctx context.Context, c *call) (int, any, error) {
	workspace, err := cache.ParseWorkspace(c.params["workspace"])
	if err != nil {
		return 0, nil, err
	}
	scope, err := cache.ParseScope(c.params["scope"])
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.DeleteScope(ctx, workspace, scope)
	return http.StatusOK, out, err
}

// key reads the path of an entry.
func (c *call) key() (key cache.Key, err error) {
	if key.Workspace, err = cache.ParseWorkspace(c.params["workspace"]); err != nil {
		return key, err
	}
	if key.Scope, err = cache.ParseScope(c.params["scope"]); err != nil {
		return key, err
	}
	key.Hash, err = cache.ParseHash(c.params["hash"])
	return key, err
}

func inspect(ctx context.Context, c *call) (int, any, error) {
	key, err := c.key()
	if err != nil {
		return 0, nil, err
	}
	members, err := c.number("members", admin.DefaultPage, 0, admin.MaxRemoteMembers)
	if err != nil {
		return 0, nil, err
	}
	archive := true
	if c.query.Has("archive") {
		if archive, err = strconv.ParseBool(c.query.Get("archive")); err != nil {
			return 0, nil, bad("the parameter archive is true or false")
		}
	}
	out, err := c.service.Inspect(ctx, key, admin.Look{Archive: archive, Members: members})
	return http.StatusOK, out, err
}
