package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// status tells how the server is. Who sees one workspace alone learns of the others and of places nothing.
func (a *API) status(_ context.Context, c *call) (int, any, error) {
	s := a.opts.Status()
	if only := c.actor.Workspace; only != "" {
		s.Store, s.Ledger, s.Workspaces = "", "", []cache.Workspace{only}
		s.Causes = slices.Clone(s.Causes)
		for i := range s.Causes {
			s.Causes[i].Detail = ""
		}
	}
	return http.StatusOK, s, nil
}

// policyJSON is what is told of the policy in force.
type policyJSON struct {
	// Fingerprint is empty if there is no policy, and so are the others.
	Fingerprint string            `json:"fingerprint"`
	Audience    string            `json:"audience"`
	Workspaces  []cache.Workspace `json:"workspaces"`
	Warnings    []string          `json:"warnings"`
}

// showPolicy tells what is in force. Warnings speak of all workspaces, and are told to who may see all.
func (a *API) showPolicy(_ context.Context, c *call) (int, any, error) {
	out := policyJSON{Workspaces: []cache.Workspace{}, Warnings: []string{}}
	p := a.opts.Policy()
	if p == nil {
		return http.StatusOK, out, nil
	}
	out.Fingerprint, out.Audience = p.Fingerprint(), p.Audience()
	only := c.actor.Workspace
	for _, w := range p.Workspaces() {
		if only == "" || w == only {
			out.Workspaces = append(out.Workspaces, w)
		}
	}
	if only == "" {
		out.Warnings = append(out.Warnings, p.Warnings()...)
	}
	return http.StatusOK, out, nil
}

// explainJSON asks what the policy says to an identity.
type explainJSON struct {
	Claims    json.RawMessage `json:"claims"`
	Workspace string          `json:"workspace"`
}

func (a *API) explain(_ context.Context, c *call) (int, any, error) {
	var ask explainJSON
	if err := decode(c.body, &ask); err != nil {
		return 0, nil, err
	}
	claims, err := policy.ParseClaims(ask.Claims)
	if err != nil {
		return 0, nil, bad("claims: %v", err)
	}
	named := c.actor.Workspace
	if ask.Workspace != "" {
		if named, err = cache.ParseWorkspace(ask.Workspace); err != nil {
			return 0, nil, bad("workspace: %v", err)
		}
		if only := c.actor.Workspace; only != "" && named != only {
			return 0, nil, &problem{code: string(admin.OtherWorkspace), detail: "this token is for workspace " + string(only) + " alone"}
		}
	}
	p := a.opts.Policy()
	if p == nil {
		return 0, nil, &problem{code: string(admin.Conflict), detail: "this server has no policy"}
	}
	issuer, _ := claims["iss"].(string)
	return http.StatusOK, p.Judge(policy.Identity{Issuer: issuer, Claims: claims}, named), nil
}
