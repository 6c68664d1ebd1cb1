package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

func parseTime(s string) (time.Time, error) { return time.Parse(time.RFC3339, s) }

// times reads the parameters that bound a time.
func (c *call) times() (since, until time.Time, err error) {
	if since, err = parsed(c, "since", parseTime); err != nil {
		return since, until, bad("the parameter since is a time as in RFC 3339")
	}
	if until, err = parsed(c, "until", parseTime); err != nil {
		return since, until, bad("the parameter until is a time as in RFC 3339")
	}
	return since, until, nil
}

func divergences(ctx context.Context, c *call) (_ int, _ any, err error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	var f ledger.DivergenceFilter
	if f.Workspace, err = parsed(c, "workspace", cache.ParseWorkspace); err != nil {
		return 0, nil, err
	}
	if f.Scope, err = parsed(c, "scope", cache.ParseScope); err != nil {
		return 0, nil, err
	}
	if f.Hash, err = parsed(c, "hash", cache.ParseHash); err != nil {
		return 0, nil, err
	}
	if f.Level, err = parsed(c, "level", parseLevel); err != nil {
		return 0, nil, err
	}
	if f.Since, f.Until, err = c.times(); err != nil {
		return 0, nil, err
	}
	out, err := c.service.Divergences(ctx, f, page)
	return http.StatusOK, out, err
}

func parseLevel(s string) (divergence.Level, error) {
	l := divergence.Level(s)
	if !slices.Contains([]divergence.Level{divergence.First, divergence.Recurring, divergence.Pending}, l) {
		return "", errors.New("is first, recurring or pending")
	}
	return l, nil
}

func showDivergence(ctx context.Context, c *call) (int, any, error) {
	id, err := strconv.ParseInt(c.params["divergence"], 10, 64)
	if err != nil || id < 1 {
		return 0, nil, bad("the id of a divergence is a number")
	}
	out, err := c.service.Divergence(ctx, id)
	return http.StatusOK, out, err
}

func auditEvents(ctx context.Context, c *call) (_ int, _ any, err error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	f := ledger.AuditFilter{Actor: c.query.Get("actor")}
	if f.Action, err = parsed(c, "action", parseAction); err != nil {
		return 0, nil, err
	}
	if f.Workspace, err = parsed(c, "workspace", cache.ParseWorkspace); err != nil {
		return 0, nil, err
	}
	if f.Since, f.Until, err = c.times(); err != nil {
		return 0, nil, err
	}
	out, err := c.service.AuditEvents(ctx, f, page)
	return http.StatusOK, out, err
}

func parseAction(s string) (audit.Action, error) {
	if !slices.Contains(audit.Actions[:], audit.Action(s)) {
		return "", errors.New("there is no such action")
	}
	return audit.Action(s), nil
}

func auditLines(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.AuditLines(ctx, page)
	return http.StatusOK, out, err
}

func auditHead(ctx context.Context, c *call) (int, any, error) {
	out, err := c.service.AuditHead(ctx)
	return http.StatusOK, out, err
}

func sealAudit(ctx context.Context, c *call) (int, any, error) {
	out, err := c.service.SealAudit(ctx)
	return http.StatusOK, out, err
}
