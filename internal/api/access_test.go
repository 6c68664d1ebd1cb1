package api

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// example is a request that each route takes from who may do everything. The path has places for the workspace that it concerns.
type example struct {
	path, body string
	// ok is the status for who may.
	ok int
	// rows says that the path or the body names a workspace, so that a token of another one is refused with this status. 0: it gets an answer without the
	// rows of others.
	other int
	// whole says that a token of one workspace is refused, whatever its role.
	whole bool
}

// examples are by the name of the route. WS stands for a workspace, and REVOCATION, PURGE, GCRUN and DIVERGENCE for those that are of it.
var examples = map[string]example{
	"GET /status":                                   {path: "/status", ok: 200},
	"GET /policy":                                   {path: "/policy", ok: 200},
	"POST /policy/explain":                          {path: "/policy/explain", body: `{"workspace":"WS","claims":{"iss":"https://token.actions.githubusercontent.com"}}`, ok: 200, other: 403},
	"GET /tokens":                                   {path: "/tokens?workspace=WS", ok: 200, other: 403},
	"POST /tokens":                                  {path: "/tokens", body: `{"name":"new","workspace":"WS","access":"read"}`, ok: 201, other: 403},
	"POST /tokens/{token}/revoke":                   {path: "/tokens/TOKEN/revoke", ok: 200, other: 404},
	"GET /revocations":                              {path: "/revocations", ok: 200},
	"POST /revocations":                             {path: "/revocations", body: `{"kind":"run","value":"4711","workspace":"WS"}`, ok: 201, other: 403},
	"POST /revocations/{revocation}/lift":           {path: "/revocations/REVOCATION/lift", ok: 200, other: 404},
	"GET /entries":                                  {path: "/entries?workspace=WS", ok: 200, other: 403},
	"GET /scopes":                                   {path: "/scopes?workspace=WS", ok: 200, other: 403},
	"GET /workspaces/{workspace}/scopes":            {path: "/workspaces/WS/scopes", ok: 200, other: 403},
	"GET /purges":                                   {path: "/purges", ok: 200},
	"POST /purges":                                  {path: "/purges", body: `{"workspace":"WS","run":"101","reason":"taken over"}`, ok: 202, other: 403},
	"POST /purges/plan":                             {path: "/purges/plan", body: `{"workspace":"WS","scope":"trusted"}`, ok: 200, other: 403},
	"GET /purges/{purge}":                           {path: "/purges/PURGE", ok: 200, other: 404},
	"POST /purges/{purge}/undo":                     {path: "/purges/PURGE/undo", ok: 202, other: 404},
	"POST /purges/{purge}/discard":                  {path: "/purges/PURGE/discard", ok: 202, other: 404},
	"POST /purges/{purge}/resume":                   {path: "/purges/PURGE/resume", ok: 202, other: 404},
	"GET /gc/plan":                                  {path: "/gc/plan?workspace=WS", ok: 200, other: 403},
	"GET /gc/runs":                                  {path: "/gc/runs", ok: 200},
	"POST /gc/runs":                                 {path: "/gc/runs?workspace=WS", ok: 202, other: 403},
	"GET /gc/runs/{run}":                            {path: "/gc/runs/GCRUN", ok: 200, other: 404},
	"GET /divergences":                              {path: "/divergences?workspace=WS", ok: 200, other: 403},
	"GET /divergences/{divergence}":                 {path: "/divergences/DIVERGENCE", ok: 200, other: 404},
	"GET /audit/events":                             {path: "/audit/events?workspace=WS", ok: 200, other: 403},
	"GET /audit/lines":                              {path: "/audit/lines", ok: 200, whole: true},
	"GET /audit/head":                               {path: "/audit/head", ok: 200, whole: true},
	"POST /audit/head":                              {path: "/audit/head", ok: 200, whole: true},
	"DELETE /workspaces/{workspace}/scopes/{scope}": {path: "/workspaces/WS/scopes/pr%2F17", ok: 200, other: 403},
	"GET /workspaces/{workspace}/scopes/{scope}/entries/{hash}": {path: "/workspaces/WS/scopes/trusted/entries/HASH", ok: 200, other: 403},
}

// in fills an example in.
func (e example) in(f *fixture, workspace string) (path, body string) {
	fill := strings.NewReplacer("WS", workspace, "PURGE", f.ids["purge of "+workspace], "GCRUN", f.ids["run of "+workspace], "DIVERGENCE", f.ids["divergence of "+workspace], "REVOCATION", f.ids["revocation of "+workspace],
		"TOKEN", f.ids[map[string]string{"web": "reader", "docs": "branch"}[workspace]], "HASH", map[string]string{"web": "1", "docs": "3"}[workspace])
	return fill.Replace(e.path), fill.Replace(e.body)
}

// TestWhoMayWhat asks each route as everybody: by role, by workspace, and with each credential that is none.
func TestWhoMayWhat(t *testing.T) {
	roles := map[string]trust.Role{"viewer": trust.Viewer, "operator": trust.Operator, "admin": trust.Admin}
	for _, r := range (&API{}).table() {
		if r.public {
			continue
		}
		x, ok := examples[r.name()]
		if !ok {
			t.Errorf("%s is asked by nobody here", r.name())
			continue
		}
		t.Run(r.name(), func(t *testing.T) {
			f := newFixture(t)
			want := func(who, workspace string, status int, code string) {
				t.Helper()
				path, body := x.in(f, workspace)
				got, text := f.ask(who, r.method, path, body)
				if got != status || code != "" && !strings.Contains(text, fmt.Sprintf(`"code":%q`, code)) {
					t.Errorf("%q in %s: %d %s, want %d %s", who, workspace, got, text, status, code)
				}
			}
			// Those that must not come first, so that whoever may finds everything as it was.
			want("", "web", 401, "no_credential")
			want("Bearer", "web", 401, "no_credential")
			want("old", "web", 401, "expired")
			want("gone", "web", 401, "revoked")
			want("Basic dTpw", "web", 401, "malformed_credential")
			want("Bearer "+f.tokens["admin"]+"x", "web", 401, "malformed_credential")
			want("Bearer "+f.tokens["admin"]+", Bearer "+f.tokens["admin"], "web", 401, "malformed_credential")
			text, _ := trust.NewAdminToken()
			want("Bearer "+text, "web", 401, "unknown_credential")
			for _, who := range []string{"reader", "main", "branch"} {
				want(who, "web", 401, "wrong_kind")
			}
			switch {
			case r.ci:
				want("job of pr/18", "web", 403, "forbidden")
				want("job of main", "web", 403, "forbidden")
				want("job that reads", "web", 403, "forbidden")
				want("job of pr/17", "docs", 403, "other_workspace")
				want("job of pr/17, ended", "web", 401, "expired")
				want("Bearer eyJhbGciOiJub25lIn0.e30.x", "web", 403, "not_allowed")
			default:
				want("job of pr/17", "web", 401, "wrong_kind")
				want("Bearer eyJhbGciOiJub25lIn0.e30.x", "web", 401, "wrong_kind")
			}
			for _, name := range slices.Sorted(maps.Keys(roles)) {
				if !roles[name].May(r.role) {
					want(name, "web", 403, "forbidden")
					want("web-"+name, "web", 403, "forbidden")
				} else if x.whole {
					want("web-"+name, "web", 403, "other_workspace")
				} else if x.other != 0 {
					want("web-"+name, "docs", x.other, "")
				}
			}
			for _, name := range []string{"web-admin", "web-operator", "web-viewer", "admin", "operator", "viewer"} {
				if !roles[strings.TrimPrefix(name, "web-")].May(r.role) || x.whole && strings.HasPrefix(name, "web-") {
					continue
				}
				if r.method != "GET" {
					f = newFixture(t) // each finds what there was to do
				}
				path, body := x.in(f, "web")
				if got, text := f.ask(name, r.method, path, body); got != x.ok {
					t.Errorf("%s may: %d %s", name, got, text)
				}
			}
			if f := newFixture(t); r.ci {
				path, body := x.in(f, "web")
				if got, text := f.ask("job of pr/17", r.method, path, body); got != x.ok {
					t.Errorf("the job may: %d %s", got, text)
				}
			}
		})
	}
}

// TestRows are the finer rules: what a role may do depends on the row.
func TestRows(t *testing.T) {
	f := newFixture(t)
	for _, x := range []struct {
		who, method, path, body string
		status                  int
		code                    string
	}{
		// Tokens of operators are the business of admins.
		{"operator", "POST", "/tokens/" + f.ids["viewer"] + "/revoke", "", 403, "forbidden"},
		{"operator", "POST", "/tokens/admin/revoke", "", 403, "forbidden"},
		{"web-operator", "POST", "/tokens/web-viewer/revoke", "", 403, "forbidden"},
		{"web-admin", "POST", "/tokens/admin/revoke", "", 404, "not_found"},
		{"web-admin", "POST", "/tokens/" + f.ids["viewer"] + "/revoke", "", 404, "not_found"},
		{"web-admin", "POST", "/tokens/branch/revoke?workspace=docs", "", 403, "other_workspace"},
		{"web-admin", "POST", "/tokens/web-viewer/revoke", "", 200, ""},
		// Nobody gives what is not his.
		{"web-admin", "POST", "/tokens", `{"name":"x","role":"viewer","workspace":"docs"}`, 403, "other_workspace"},
		{"web-admin", "POST", "/tokens", `{"name":"x","access":"trusted","workspace":"docs"}`, 403, "other_workspace"},
		{"web-admin", "POST", "/tokens", `{"name":"x","role":"viewer"}`, 201, ""}, // of web, see below
		// What is trusted, admins delete.
		{"operator", "DELETE", "/workspaces/web/scopes/trusted", "", 403, "forbidden"},
		{"web-operator", "DELETE", "/workspaces/web/scopes/trusted", "", 403, "forbidden"},
		{"job of main", "DELETE", "/workspaces/web/scopes/trusted", "", 403, "forbidden"},
		{"web-admin", "DELETE", "/workspaces/docs/scopes/trusted", "", 403, "other_workspace"},
		{"admin", "DELETE", "/workspaces/docs/scopes/trusted", "", 200, ""},
		// Revocations that hold for all are not for one workspace to make, see or lift.
		{"web-admin", "POST", "/revocations/" + f.ids["revocation of "] + "/lift", "", 404, "not_found"},
		{"web-operator", "POST", "/revocations", `{"kind":"actor","value":"1"}`, 201, ""}, // for web, see below
		// What an operator can order and go on with, an admin alone decides otherwise; and no purge of all is one workspace's.
		{"operator", "POST", "/purges/" + f.ids["purge of web"] + "/undo", "", 403, "forbidden"},
		{"web-admin", "POST", "/purges/" + f.ids["purge of "] + "/undo", "", 404, "not_found"},
		{"web-viewer", "GET", "/purges/" + f.ids["purge of "], "", 404, "not_found"},
		{"web-operator", "POST", "/purges", `{"actor":"583231"}`, 202, `"workspace":"web"`},
		{"web-viewer", "POST", "/purges/plan", `{"actor":"583231"}`, 200, `"entries":3,`},
		{"viewer", "POST", "/purges/plan", `{"actor":"583231"}`, 200, `"entries":5,`},
		{"admin", "POST", "/purges", `{"workspace":"web"}`, 400, "bad_request"},
		{"admin", "POST", "/purges", `{"actor":"1","until":"2027-01-01T00:00:00Z"}`, 400, "bad_request"},
		{"admin", "POST", "/purges", `{"actor":"1","since":"2026-01-02T00:00:00Z","until":"2026-01-01T00:00:00Z"}`, 400, "bad_request"},
		{"web-admin", "GET", "/gc/runs/" + f.ids["run of "], "", 404, "not_found"},
		{"web-operator", "POST", "/gc/runs", "", 202, `"workspace":"web"`},
		{"operator", "POST", "/gc/runs", "", 409, "conflict"}, // one at a time
	} {
		if got, text := f.ask(x.who, x.method, x.path, x.body); got != x.status || !strings.Contains(text, x.code) {
			t.Errorf("%s: %s %s: %d %s, want %d %s", x.who, x.method, x.path, got, text, x.status, x.code)
		}
	}
	if _, text := f.ask("admin", "GET", "/tokens?limit=1000", ""); !strings.Contains(text, `"name":"x","workspace":"web","access":"","role":"viewer"`) {
		t.Errorf("the token that a workspace's admin made is not of the workspace: %s", text)
	}
	_, text := f.ask("admin", "GET", "/revocations", "")
	if !strings.Contains(text, `"value":"1","workspace":"web"`) {
		t.Errorf("the revocation that a workspace's operator made is not of the workspace: %s", text)
	}
	for path, hidden := range map[string][]string{
		"/tokens": {`"branch"`, `"operator"}`, `"docs"`, `"name":"admin"`}, "/revocations": {`"18"`, `"19"`}, "/entries": {`"docs"`}, "/scopes": {`"docs"`},
		"/purges": {`"docs"`, f.ids["purge of docs"], f.ids["purge of "]}, "/gc/runs": {`"docs"`, f.ids["run of docs"], f.ids["run of "]}, "/gc/plan": {`"docs"`},
		"/divergences": {`"docs"`}, "/audit/events": {`"docs"`, f.ids["branch"], f.ids["operator"]},
		"/status": {"/var/lib", "/etc", `"docs"`, `"default"`}, "/policy": {`"docs"`, "acme"},
	} {
		_, text := f.ask("web-viewer", "GET", path, "")
		for _, other := range hidden {
			if strings.Contains(text, other) {
				t.Errorf("%s shows %s to a token of web: %s", path, other, text)
			}
		}
	}
}

// TestOpenServer: where everybody may read and write, nobody may administer.
func TestOpenServer(t *testing.T) {
	f := newEmptyFixture(t)
	auth, err := trust.NewAuthenticator(t.Context(), trust.Options{Source: f.ledger, Now: time.Now, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	f.open(auth, nil)
	text, _ := trust.NewAdminToken()
	for _, name := range []string{"reader", "revocation of web", "purge of web", "run of web", "divergence of web"} {
		f.ids[name] = "0123456789ab" // there is none yet
	}
	for _, r := range f.routes {
		x := examples[r.name()]
		path, body := x.in(f, "web")
		if r.public {
			continue
		}
		for _, who := range []string{"", "Bearer " + text} {
			if got, answer := f.ask(who, r.method, path, body); got != 403 || !strings.Contains(answer, "open_server") {
				t.Errorf("%s: %d %s", r.name(), got, answer)
			}
		}
	}
}

// TestRevocationHoldsWithinASecond: a token that is revoked at one server is refused by all, and so is what it began to be used for here.
func TestRevocationHoldsWithinASecond(t *testing.T) {
	f := newFixture(t)
	running := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() { running <- f.auth.Run(ctx) }()
	defer func() {
		stop()
		if err := <-running; err != nil {
			t.Error(err)
		}
	}()
	if got, text := f.ask("operator", "GET", "/status", ""); got != 200 {
		t.Fatal(got, text)
	}
	if got, text := f.ask("admin", "POST", "/tokens/operator/revoke", ""); got != 200 {
		t.Fatal(got, text)
	}
	stranger, _ := trust.NewAdminToken()
	for deadline := time.Now().Add(time.Minute); ; {
		f.ask("Bearer "+stranger, "GET", "/status", "") // it waits for the next look at the ledger
		got, text := f.ask("operator", "GET", "/status", "")
		if got == 401 && strings.Contains(text, `"revoked"`) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(got, text)
		}
	}
}

// TestNoSecrets looks for tokens, whole and in parts, in all that is answered and logged, but for the one answer that has to show one.
func TestNoSecrets(t *testing.T) {
	f := newFixture(t)
	var said strings.Builder
	for _, r := range f.routes {
		x := examples[r.name()]
		for _, who := range slices.Sorted(maps.Keys(f.tokens)) {
			path, body := x.in(f, "web")
			if r.name() == "POST /tokens" {
				body = `{"name":"` + f.tokens[who] + `","access":"read"}`
			}
			_, text := f.ask(who, r.method, path, body)
			said.WriteString(text)
			_, text = f.ask("admin", r.method, path+"?workspace="+f.tokens[who], body)
			said.WriteString(text)
		}
	}
	for _, text := range f.tokens {
		for _, path := range []string{
			"/purges/" + text, "/purges/" + text + "/undo", "/purges/" + text + "/discard", "/gc/runs/" + text, "/divergences/" + text,
			"/audit/events?actor=" + text, "/audit/lines?after=" + text, "/purges?after=" + text,
			"/tokens/" + text + "/revoke", "/revocations/" + text + "/lift", "/workspaces/" + text + "/scopes/" + text, "/" + text,
		} {
			for _, method := range []string{"POST", "GET", "DELETE"} {
				_, answer := f.ask("admin", method, path, "")
				said.WriteString(answer)
			}
		}
		for _, body := range []string{`{"kind":"run","value":"` + text + `"}`, `{"kind":"run","value":"1","reason":"` + text + `"}`, `{"` + text + `":1}`, `{"kind":"` + text + `","value":"1"}`} {
			_, answer := f.ask("admin", "POST", "/revocations", body)
			said.WriteString(answer)
		}
		for _, name := range []string{"workspace", "scope", "hash", "run", "token", "actor", "repository", "ref", "since", "until", "reason"} {
			for _, path := range []string{"/purges", "/purges/plan"} {
				status, answer := f.ask("admin", "POST", path, `{"`+name+`":"`+text+`"}`)
				said.WriteString(answer)
				if status != 400 {
					t.Errorf("%s takes a token for a %s: %d %s", path, name, status, answer)
				}
			}
		}
	}
	all := said.String() + f.log.String()
	if strings.Count(f.log.String(), "\n") < 100 {
		t.Fatal("nothing was logged")
	}
	for name, text := range f.tokens {
		for i := 4; i+16 <= len(text); i++ {
			if part := text[i : i+16]; strings.Contains(all, part) && (!strings.HasPrefix(text, trust.SessionPrefix) || i >= 200) {
				t.Errorf("a part of the token %s was said", name)
				break
			}
		}
	}
}

// A request with a header of a browser's page is nothing special: there are no cookies, and no other site is let in.
func TestOtherSitesAreNotLetIn(t *testing.T) {
	f := newFixture(t)
	req := httptest.NewRequestWithContext(t.Context(), "OPTIONS", Prefix+"/tokens", nil)
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Access-Control-Request-Method", "POST")
	if got, text := f.send(req, f.API); got != 405 {
		t.Fatal(got, text)
	}
	req = httptest.NewRequestWithContext(t.Context(), "GET", Prefix+"/status", nil)
	req.Header.Set("Origin", "https://evil.example")
	req.Header.Set("Cookie", "token="+f.tokens["admin"])
	if got, text := f.send(req, f.API); got != 401 {
		t.Fatal(got, text)
	}
}
