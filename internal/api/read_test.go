package api

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestDecodeIsStrict(t *testing.T) {
	for _, good := range []string{`{}`, ` { "name" : "x" } `, `{"name":"x","access":"read"}` + "\n", `{"name":"\u00e9"}`} {
		var asked admin.NewToken
		if err := decode([]byte(good), &asked); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, wrong := range []string{
		``, `null`, `[]`, `"name"`, `1`, `{`, `{"name"`, `{"name":}`, `{"name":"x"`, `{"name":"x"}}`, `{"name":"x"} {}`, `{"name":"x"}1`, `{"name":1}`, `{"name":["x"]}`,
		`{"Name":"x"}`, `{"NAME":"x"}`, `{"nаme":"x"}`, `{"name":"x","name":"y"}`, `{"name":"x","Name":"y"}`, `{"name":"x","name":"x"}`, `{"nothing":1}`,
		"{\"name\":\"\xff\"}", `{'name':'x'}`, `{name:"x"}`, `{"name":"x",}`, `// c` + "\n{}", "\ufeff{}", `{"a":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		var asked admin.NewToken
		if err := decode([]byte(wrong), &asked); err == nil {
			t.Errorf("taken: %q", wrong)
		} else if p, ok := errors.AsType[*problem](err); !ok || p.code != string(admin.BadRequest) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	var ask explainJSON
	for _, wrong := range []string{`{"claims":{"a":1,"a":2}}`, `{"claims":{"a":{"b":1,"b":2}}}`, `{"claims":[{"a":1,"a":1}]}`} {
		if err := decode([]byte(wrong), &ask); err == nil {
			t.Errorf("taken: %q", wrong)
		}
	}
	if err := decode([]byte(`{"claims":{"a":{"b":1},"c":[{"b":1},{"b":2}]}}`), &ask); err != nil {
		t.Error(err)
	}
}

// FuzzDecode: what is taken means the same to any reader of JSON, and nothing makes it fail otherwise.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"name":"ci","workspace":"web","access":"read","role":"","developer":"","expires":"90d"}`, `{"name":"x","name":"y"}`, `{"NAME":""}`, `{"name":null}`,
		`{"name":"\ud800"}`, `{}x`, `[[[[`, `{"name":{"a":[1,2,{"b":null}]}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var asked admin.NewToken
		if err := decode([]byte(text), &asked); err != nil {
			if p, ok := errors.AsType[*problem](err); !ok || p.status() != 400 || strings.Contains(p.detail, trust.AdminPrefix) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		var loose map[string]any
		if err := json.Unmarshal([]byte(text), &loose); err != nil {
			t.Fatalf("taken, and no JSON: %q", text)
		}
		for name, value := range map[string]string{
			"name": asked.Name, "workspace": asked.Workspace, "access": asked.Access, "role": asked.Role, "developer": asked.Developer, "expires": asked.Expires,
		} {
			said, _ := loose[name].(string)
			if said != value {
				t.Fatalf("%q: %s is %q to us and %q to others", text, name, value, said)
			}
			delete(loose, name)
		}
		if len(loose) > 0 {
			t.Fatalf("%q: %v was passed over", text, loose)
		}
	})
}

// FuzzRequest: no path, query or header makes a request do what it should not, or answers it with anything but an answer of the document.
func FuzzRequest(f *testing.F) {
	fix := newFixture(f)
	for _, seed := range [][3]string{
		{"GET", "/tokens?limit=1", ""}, {"GET", "/workspaces/web/scopes/pr%2F17/entries/1?members=1", ""}, {"DELETE", "/workspaces/web/scopes/%2e%2e", ""},
		{"POST", "/tokens/%00/revoke", ""}, {"POST", "/policy/explain", `{"claims":{"iss":"x"},"workspace":"web"}`}, {"GET", "/entries?since=2026-11-20T12:00:00Z&run=%27", ""},
		{"GET", "//tokens", ""}, {"GET", "/tokens/", ""}, {"GET", "/tokens/../status", ""}, {"POST", "/revocations", `{"kind":"run","value":"1"}`},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' }) || method == "" || !utf8.ValidString(path) {
			return
		}
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", strings.NewReader(body))
		u, err := req.URL.Parse("http://localhost" + Prefix + path)
		if err != nil {
			return
		}
		req.Method, req.URL = method, u
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		fix.ServeHTTP(w, req)
		if w.Code != 401 && w.Code != 404 && w.Code != 405 && (w.Code != 200 || u.Path != Prefix+"/openapi.json") {
			t.Fatalf("nobody asked %s %s and got %d %s", method, u, w.Code, w.Body)
		}
		req.Header.Set("Authorization", "Bearer "+fix.tokens["web-viewer"])
		w = httptest.NewRecorder()
		fix.ServeHTTP(w, req)
		if w.Code >= 500 || strings.Contains(w.Body.String(), `"workspace":"docs"`) {
			t.Fatalf("%s %s: %d %s", method, u, w.Code, w.Body)
		}
	})
}
