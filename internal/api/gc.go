package api

import (
	"context"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

func planGC(ctx context.Context, c *call) (int, any, error) {
	workspace, err := parsed(c, "workspace", cache.ParseWorkspace)
	if err != nil {
		return 0, nil, err
	}
	list, err := c.number("list", 0, 0, admin.MaxPage)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.PlanGC(ctx, workspace, list)
	return http.StatusOK, out, err
}

// runGC answers when the run has begun.
func runGC(ctx context.Context, c *call) (int, any, error) {
	workspace, err := parsed(c, "workspace", cache.ParseWorkspace)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.RunGC(ctx, workspace)
	return http.StatusAccepted, out, err
}

func gcRuns(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.GCRuns(ctx, page)
	return http.StatusOK, out, err
}

func gcRun(ctx context.Context, c *call) (int, any, error) {
	id, err := c.id("run")
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.GCRun(ctx, id)
	return http.StatusOK, out, err
}
