package api

import (
	"context"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func tokens(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	workspace, err := parsed(c, "workspace", cache.ParseWorkspace)
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Tokens(ctx, workspace, page)
	return http.StatusOK, out, err
}

func createToken(ctx context.Context, c *call) (int, any, error) {
	var asked admin.NewToken
	if err := decode(c.body, &asked); err != nil {
		return 0, nil, err
	}
	out, err := c.service.CreateToken(ctx, asked)
	return http.StatusCreated, out, err
}

func revokeToken(ctx context.Context, c *call) (int, any, error) {
	workspace, err := parsed(c, "workspace", cache.ParseWorkspace)
	if err != nil {
		return 0, nil, err
	}
	name := c.params["token"]
	if trust.HoldsToken(name) {
		return 0, nil, bad("there is a token in the path (not shown), where its id belongs: URLs are logged in many places")
	}
	out, err := c.service.RevokeToken(ctx, name, workspace)
	return http.StatusOK, out, err
}

func revocations(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Revocations(ctx, page)
	return http.StatusOK, out, err
}

func revoke(ctx context.Context, c *call) (int, any, error) {
	var asked admin.NewRevocation
	if err := decode(c.body, &asked); err != nil {
		return 0, nil, err
	}
	out, err := c.service.Revoke(ctx, asked)
	if !out.Changed {
		return http.StatusOK, out, err
	}
	return http.StatusCreated, out, err
}

func lift(ctx context.Context, c *call) (int, any, error) {
	id := c.params["revocation"]
	if trust.HoldsToken(id) {
		return 0, nil, bad("there is a token in the path (not shown), where the id of a revocation belongs: URLs are logged in many places")
	}
	out, err := c.service.LiftRevocation(ctx, id)
	return http.StatusOK, out, err
}
