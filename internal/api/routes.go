package api

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// route is one thing that can be done. One without a role, or public, nobody can use.
type route struct {
	method string
	// path is that below [Prefix]. A segment in braces is a parameter.
	path string
	// role is the least that a token must have.
	role trust.Role
	// ci says that a CI's identity may come as well.
	ci bool
	// public says that anybody may see it.
	public bool
	// query lists the parameters of the query, sorted.
	query []string
	// body says that there is one.
	body bool
	do   func(context.Context, *call) (status int, answer any, err error)
}

func (r *route) name() string { return r.method + " " + r.path }

var pageParameters = []string{"after", "limit"}

// table is all there is.
func (a *API) table() []route {
	with := func(more ...string) []string { return slices.Sorted(slices.Values(append(more, pageParameters...))) }
	return []route{
		{method: "GET", path: "/openapi.json", public: true},
		{method: "GET", path: "/status", role: trust.Viewer, do: a.status},
		{method: "GET", path: "/policy", role: trust.Viewer, do: a.showPolicy},
		{method: "POST", path: "/policy/explain", role: trust.Viewer, body: true, do: a.explain},
		{method: "GET", path: "/tokens", role: trust.Viewer, query: with("workspace"), do: tokens},
		{method: "POST", path: "/tokens", role: trust.Admin, body: true, do: createToken},
		{method: "POST", path: "/tokens/{token}/revoke", role: trust.Operator, query: []string{"workspace"}, do: revokeToken},
		{method: "GET", path: "/revocations", role: trust.Viewer, query: pageParameters, do: revocations},
		{method: "POST", path: "/revocations", role: trust.Operator, body: true, do: revoke},
		{method: "POST", path: "/revocations/{revocation}/lift", role: trust.Admin, do: lift},
		{method: "GET", path: "/entries", role: trust.Viewer, query: with("actor", "hash", "ref", "repository", "run", "scope", "since", "token", "until", "workspace"), do: entries},
		{method: "GET", path: "/scopes", role: trust.Viewer, query: with("workspace"), do: scopes},
		{method: "GET", path: "/workspaces/{workspace}/scopes", role: trust.Viewer, query: pageParameters, do: scopesOf},
		{method: "DELETE", path: "/workspaces/{workspace}/scopes/{scope}", role: trust.Operator, ci: true, do: deleteScope},
		{method: "GET", path: "/workspaces/{workspace}/scopes/{scope}/entries/{hash}", role: trust.Viewer, query: []string{"archive", "members"}, do: inspect},
		{method: "GET", path: "/purges", role: trust.Viewer, query: pageParameters, do: purges},
		{method: "POST", path: "/purges", role: trust.Operator, body: true, do: orderPurge},
		{method: "POST", path: "/purges/plan", role: trust.Viewer, body: true, do: planPurge},
		{method: "GET", path: "/purges/{purge}", role: trust.Viewer, do: showPurge},
		{method: "POST", path: "/purges/{purge}/undo", role: trust.Admin, do: undoPurge},
		{method: "POST", path: "/purges/{purge}/discard", role: trust.Admin, do: discardPurge},
		{method: "POST", path: "/purges/{purge}/resume", role: trust.Operator, do: resumePurge},
		{method: "GET", path: "/gc/plan", role: trust.Viewer, query: []string{"list", "workspace"}, do: planGC},
		{method: "GET", path: "/gc/runs", role: trust.Viewer, query: pageParameters, do: gcRuns},
		{method: "POST", path: "/gc/runs", role: trust.Operator, query: []string{"workspace"}, do: runGC},
		{method: "GET", path: "/gc/runs/{run}", role: trust.Viewer, do: gcRun},
		{method: "GET", path: "/divergences", role: trust.Viewer, query: with("hash", "level", "scope", "since", "until", "workspace"), do: divergences},
		{method: "GET", path: "/divergences/{divergence}", role: trust.Viewer, do: showDivergence},
		{method: "GET", path: "/audit/events", role: trust.Viewer, query: with("action", "actor", "since", "until", "workspace"), do: auditEvents},
		{method: "GET", path: "/audit/lines", role: trust.Viewer, query: pageParameters, do: auditLines},
		{method: "GET", path: "/audit/head", role: trust.Viewer, do: auditHead},
		{method: "POST", path: "/audit/head", role: trust.Operator, do: sealAudit},
	}
}

// find looks the route up. The path is split as it was sent, and then unescaped, so that a scope with a slash in its name is one segment.
func (c *call) find() error {
	path, ok := strings.CutPrefix(c.r.URL.EscapedPath(), Prefix)
	if !ok {
		return notHere()
	}
	segments := strings.Split(path, "/")
	var others []string
	for i := range c.api.routes {
		r := &c.api.routes[i]
		params, ok := r.match(segments)
		if !ok {
			continue
		}
		if r.method == c.r.Method {
			c.route, c.params = r, params
			return nil
		}
		others = append(others, r.method)
	}
	if others == nil {
		return notHere()
	}
	slices.Sort(others)
	c.w.Header().Set("Allow", strings.Join(others, ", "))
	return &problem{code: codeMethod, detail: "this path has " + strings.Join(others, " and ")}
}

func notHere() *problem {
	return &problem{code: string(admin.NotFound), detail: "there is nothing at this path; " + Prefix + "/openapi.json tells what there is"}
}

func (r *route) match(segments []string) (map[string]string, bool) {
	own := strings.Split(r.path, "/")
	if len(own) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, segment := range segments {
		name, isParam := strings.CutPrefix(own[i], "{")
		if !isParam {
			if segment != own[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segment)
		if err != nil || value == "" {
			return nil, false
		}
		params[strings.TrimSuffix(name, "}")] = value
	}
	return params, true
}
