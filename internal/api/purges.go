package api

import (
	"context"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// maxShares bounds the scopes and the producers of a plan that are told of, those with most first.
const maxShares = 1000

// asked reads what is to be purged.
func (c *call) asked() (asked admin.NewPurge, err error) {
	err = decode(c.body, &asked)
	return asked, err
}

func planPurge(ctx context.Context, c *call) (int, any, error) {
	asked, err := c.asked()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.PlanPurge(ctx, asked)
	out.Scopes, out.Producers = out.Scopes[:min(len(out.Scopes), maxShares)], out.Producers[:min(len(out.Producers), maxShares)]
	return http.StatusOK, out, err
}

// orderPurge answers when the purge is in force. Its entries are moved after that, as many as there are, by this server or another one.
func orderPurge(ctx context.Context, c *call) (int, any, error) {
	asked, err := c.asked()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.OrderPurge(ctx, asked)
	return http.StatusAccepted, out, err
}

func purges(ctx context.Context, c *call) (int, any, error) {
	page, err := c.page()
	if err != nil {
		return 0, nil, err
	}
	out, err := c.service.Purges(ctx, page)
	return http.StatusOK, out, err
}

func showPurge(ctx context.Context, c *call) (int, any, error) {
	return c.withPurge(ctx, http.StatusOK, c.service.Purge)
}

func undoPurge(ctx context.Context, c *call) (int, any, error) {
	return c.withPurge(ctx, http.StatusAccepted, c.service.UndoPurge)
}

func discardPurge(ctx context.Context, c *call) (int, any, error) {
	return c.withPurge(ctx, http.StatusAccepted, c.service.DiscardPurge)
}

func resumePurge(ctx context.Context, c *call) (int, any, error) {
	return c.withPurge(ctx, http.StatusAccepted, c.service.ResumePurge)
}

// withPurge does something with the purge whose id is in the path.
func (c *call) withPurge(ctx context.Context, status int, do func(context.Context, string) (admin.Purge, error)) (int, any, error) {
	id, err := c.id("purge")
	if err != nil {
		return 0, nil, err
	}
	out, err := do(ctx, id)
	return status, out, err
}

// id reads an id in the path, which is repeated to whoever asks for one that there is not.
func (c *call) id(param string) (string, error) {
	id := c.params[param]
	if trust.HoldsToken(id) {
		return "", bad("there is a token in the path (not shown), where an id belongs: URLs are logged in many places")
	}
	return id, nil
}
