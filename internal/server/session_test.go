package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

const (
	identity = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiJzM2NyM3QifQ.c2ln"
	issued   = "bzs_eyJ.s3cr3t.sig"
	formType = "application/x-www-form-urlencoded"
)

// asked is what the authenticator was asked.
type asked struct {
	credential string
	named      cache.Workspace
	ttl        time.Duration
}

// newSessions is a server that takes one identity, and remembers what it was asked.
func newSessions(t *testing.T, change ...func(*Options)) (*fixture, *[]asked) {
	change = append(change, func(o *Options) { o.Audience = func() string { return "https://cache.example.com" } })
	f := newFixture(t, change...)
	f.auth.mustBeOpen(false)
	seen := new([]asked)
	f.auth.exchange = func(credential string, named cache.Workspace, ttl time.Duration) (trust.Issued, error) {
		*seen = append(*seen, asked{credential, named, ttl})
		if credential != identity {
			return trust.Issued{}, &trust.DeniedError{Err: trust.ErrForged, Reason: "the signature does not fit"}
		}
		return trust.Issued{
			Token: issued, ID: "0123456789ab", Expires: time.Now().Add(time.Hour), Workspace: "web",
			Read: []cache.Scope{cache.Trusted, "pr/17"}, Write: "pr/17", Rule: "github pull_request", Producer: cache.Producer{Session: "0123456789ab", RepositoryID: "456789", RunID: "7321", ActorID: "4242"},
		}, nil
	}
	return f, seen
}

func exchangeForm(change ...string) url.Values {
	v := url.Values{"grant_type": {grantTokenExchange}, "subject_token": {identity}, "subject_token_type": {tokenTypeID}}
	for i := 0; i < len(change); i += 2 {
		v.Del(change[i])
		if change[i+1] != "-" {
			v.Set(change[i], change[i+1])
		}
	}
	return v
}

func TestASessionInOneLine(t *testing.T) {
	f, seen := newSessions(t)
	resp, body := f.do("POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
	var got map[string]any
	if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s %v", resp.StatusCode, body, err)
	}
	expires, err := time.Parse(time.RFC3339, got["expires_at"].(string))
	if err != nil || time.Until(expires) > time.Hour || time.Until(expires) < 50*time.Minute {
		t.Errorf("expires_at %v", got["expires_at"])
	}
	delete(got, "expires_at")
	if want := fmt.Sprint(map[string]any{"token": issued, "workspace": "web", "read": []any{"trusted", "pr/17"}, "write": "pr/17"}); fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for name, want := range map[string]string{"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if resp.Header.Get(name) != want {
			t.Errorf("%s: %q", name, resp.Header.Get(name))
		}
	}
	if want := []asked{{identity, "", 0}}; !slices.Equal(*seen, want) {
		t.Errorf("asked %v", *seen)
	}
}

// TestAnEmptyWriteIsSaid: a client can tell "writes nothing" from a field that is not there.
func TestAnEmptyWriteIsSaid(t *testing.T) {
	f, _ := newSessions(t)
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
		return trust.Issued{Token: issued, Workspace: "web", Expires: time.Now()}, nil
	}
	if got := string(f.want(200, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); !strings.Contains(got, `"read":[],"write":""`) {
		t.Errorf("got %s", got)
	}
}

func TestPathsOfSessions(t *testing.T) {
	f, seen := newSessions(t)
	for path, named := range map[string]cache.Workspace{
		"/v1/session": "", "//v1/session": "", "/v1//session": "", "/default/v1/session": "default", "/a/b//default//v1/session": "default",
		"/unknown/v1/session": "", "/v1/session?x=y": "",
	} {
		*seen = nil
		f.want(200, "POST", path, nil, "Authorization", "Bearer "+identity)
		if len(*seen) != 1 || (*seen)[0].named != named {
			t.Errorf("%s names %v, want %q", path, *seen, named)
		}
	}
	for _, path := range []string{"/v1/session/", "/v1/session/x", "/v1/sessions", "/session", "/v2/session", "/v1/%73ession", "v1/session"} {
		if _, ok := parseSessionTarget(path); ok {
			t.Errorf("%s is taken for a session", path)
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		resp, _ := f.do(method, "/v1/session", nil)
		if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
}

func TestATokenExchangeByTheRFC(t *testing.T) {
	f, seen := newSessions(t)
	for name, form := range map[string]url.Values{
		"an id_token":           exchangeForm(),
		"a jwt":                 exchangeForm("subject_token_type", tokenTypeJWT),
		"an access token":       exchangeForm("requested_token_type", tokenTypeAccess),
		"our audience":          exchangeForm("audience", "https://cache.example.com"),
		"our resource":          exchangeForm("resource", "https://cache.example.com"),
		"empty is not there":    exchangeForm("audience", "", "scope", "", "actor_token", "", "requested_token_type", ""),
		"unknown parameters":    exchangeForm("client_id", "ci", "x", "y"),
		"a ttl":                 exchangeForm("ttl", "90m"),
		"our audience, and our": {"grant_type": {grantTokenExchange}, "subject_token": {identity}, "subject_token_type": {tokenTypeID}, "audience": {"https://cache.example.com", "https://cache.example.com"}},
	} {
		*seen = nil
		resp, body := f.do("POST", "/default/v1/session", []byte(form.Encode()), "Content-Type", formType+"; charset=UTF-8")
		var got sessionAnswer
		if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
			continue
		}
		if got.AccessToken != issued || got.Token != issued || got.IssuedTokenType != tokenTypeAccess || got.TokenType != "Bearer" || got.ExpiresIn < 3500 || got.ExpiresIn > 3600 {
			t.Errorf("%s: %s", name, body)
		}
		if (*seen)[0].credential != identity || (*seen)[0].named != "default" {
			t.Errorf("%s: asked %v", name, *seen)
		}
	}
	*seen = nil
	f.want(200, "POST", "/v1/session", []byte(exchangeForm("ttl", "90m").Encode()), "Content-Type", formType)
	f.want(200, "POST", "/v1/session?ttl=3h", nil, "Authorization", "Bearer "+identity)
	f.want(200, "POST", "/v1/session", []byte("ttl=2h"), "Authorization", "Bearer "+identity, "Content-Type", formType)
	for i, want := range []time.Duration{90 * time.Minute, 3 * time.Hour, 2 * time.Hour} {
		if (*seen)[i].ttl != want {
			t.Errorf("ttl %v, want %v", (*seen)[i].ttl, want)
		}
	}
}

func TestBadFormsSayWhat(t *testing.T) {
	f, seen := newSessions(t)
	twice := exchangeForm()
	twice.Add("subject_token", identity)
	for name, c := range map[string]struct {
		form       string
		code, text string
	}{
		"no grant type":        {exchangeForm("grant_type", "-").Encode(), invalidRequest, "grant_type is missing"},
		"another grant":        {exchangeForm("grant_type", "client_credentials").Encode(), unsupportedGrant, "grant_type must be"},
		"no subject":           {exchangeForm("subject_token", "-").Encode(), invalidRequest, "subject_token is missing"},
		"no subject type":      {exchangeForm("subject_token_type", "-").Encode(), invalidRequest, "subject_token_type must be"},
		"a SAML assertion":     {exchangeForm("subject_token_type", "urn:ietf:params:oauth:token-type:saml2").Encode(), invalidRequest, "subject_token_type must be"},
		"a refresh token":      {exchangeForm("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token").Encode(), invalidRequest, "requested_token_type"},
		"an actor":             {exchangeForm("actor_token", "x", "actor_token_type", tokenTypeJWT).Encode(), invalidRequest, "actor_token"},
		"an actor's type only": {exchangeForm("actor_token_type", tokenTypeJWT).Encode(), invalidRequest, "actor_token"},
		"another audience":     {exchangeForm("audience", "https://elsewhere.example.com").Encode(), invalidTarget, "audience"},
		"another resource":     {exchangeForm("resource", "https://cache.example.com/").Encode(), invalidTarget, "resource"},
		"a scope":              {exchangeForm("scope", "trusted").Encode(), invalidScope, "leave scope out"},
		"twice":                {twice.Encode(), invalidRequest, "more than once"},
		"a bad ttl":            {exchangeForm("ttl", "1 hour").Encode(), invalidRequest, "ttl must be"},
		"a malformed form":     {"grant_type=%zz", invalidRequest, "malformed"},
	} {
		resp, body := f.do("POST", "/v1/session", []byte(c.form), "Content-Type", formType)
		var got struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(body, &got); err != nil || resp.StatusCode != 400 || got.Error != c.code || !strings.Contains(got.Description, c.text) {
			t.Errorf("%s: %d %s, want %s %q", name, resp.StatusCode, body, c.code, c.text)
		}
		if resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" || strings.Contains(string(body), identity) {
			t.Errorf("%s: %v %s", name, resp.Header, body)
		}
	}
	resp, body := f.do("POST", "/v1/session", []byte(exchangeForm().Encode()), "Content-Type", formType, "Authorization", "Bearer "+identity)
	if resp.StatusCode != 400 || !strings.Contains(string(body), "no other credential") {
		t.Errorf("two credentials: %d %s", resp.StatusCode, body)
	}
	bearer := []string{"Authorization", "Bearer " + identity}
	for name, c := range map[string]struct {
		query  string
		body   string
		header []string
	}{
		"a body that is no form": {"", "{}", append(bearer, "Content-Type", "application/json")},
		"a body of no type":      {"", "x", bearer},
		"no time to live":        {"?ttl=0s", "", bearer},
		"a negative one":         {"?ttl=-1h", "", bearer},
		"two of them":            {"?ttl=1h&ttl=2h", "", bearer},
		"one here, one there":    {"?ttl=1h", "ttl=1h", append(bearer, "Content-Type", formType)},
		"an endless one":         {"?ttl=99999999999h", "", bearer},
		"a malformed query":      {"?ttl=%zz", "", bearer},
		"too long":               {"", "ttl=" + strings.Repeat("1", maxForm), append(bearer, "Content-Type", formType)},
	} {
		resp, body := f.do("POST", "/v1/session"+c.query, []byte(c.body), c.header...)
		if resp.StatusCode != 400 || resp.Header.Get("Content-Type") != "text/plain" || resp.Header.Get("Bezoar-Cause") != "bad_request" {
			t.Errorf("%s: %d %v %s", name, resp.StatusCode, resp.Header, body)
		}
	}
	if len(*seen) > 0 {
		t.Errorf("bad requests reached the authenticator: %v", *seen)
	}
	// Without a length, too.
	chunked := func(body string) (int, error) {
		resp, err := f.raw("POST", "POST /v1/session HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+identity+"\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		if err != nil {
			return 0, err
		}
		return resp.StatusCode, nil
	}
	if status, err := chunked("0\r\n\r\n"); status != 200 {
		t.Errorf("an empty body: %d %v", status, err)
	}
	if status, err := chunked(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", maxForm+1, strings.Repeat("x", maxForm+1))); status != 400 {
		t.Errorf("a long one: %d %v", status, err)
	}
}

func TestRefusedIdentities(t *testing.T) {
	for err, want := range map[error]struct {
		status int
		cause  string
	}{
		trust.ErrNoCredential: {401, "no_credential"}, trust.ErrMalformed: {401, "malformed_credential"}, trust.ErrForged: {401, "forged_credential"},
		trust.ErrUnknown: {401, "unknown_credential"}, trust.ErrRevoked: {401, "revoked"},
		trust.ErrExpired: {403, "expired"}, trust.ErrOtherWorkspace: {403, "other_workspace"}, trust.ErrNotAllowed: {403, "not_allowed"},
		trust.ErrAudience: {403, "audience"}, trust.ErrUnverifiable: {403, "unverifiable"}, trust.ErrReplayed: {403, "replayed"},
		trust.ErrNeedsExchange: {403, "needs_exchange"}, trust.ErrLedger: {403, "ledger"},
	} {
		f, _ := newSessions(t)
		f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
			return trust.Issued{}, &trust.DeniedError{Err: err, Reason: `because of "this"`, Producer: cache.Producer{RunID: "7321", ActorID: "4242"}}
		}
		resp, body := f.do("POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
		if got := resp.Header["Content-Type"]; resp.StatusCode != want.status || len(got) != 1 || got[0] != "text/plain" || string(body) != "because of \"this\"\n" {
			t.Errorf("%v: %d %v %s, want %d", err, resp.StatusCode, resp.Header, body, want.status)
		}
		if resp.Header.Get("Bezoar-Cause") != want.cause || resp.Header.Get("Cache-Control") != "no-store" || (resp.Header.Get("WWW-Authenticate") != "") != (want.status == 401) {
			t.Errorf("%v: %v", err, resp.Header)
		}
		// RFC 8693, section 2.2.2.
		resp, body = f.do("POST", "/v1/session", []byte(exchangeForm().Encode()), "Content-Type", formType)
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != 400 || got != "application/json" || string(body) != `{"error":"invalid_request","error_description":"because of 'this'"}`+"\n" {
			t.Errorf("%v, as a form: %d %v %s", err, resp.StatusCode, resp.Header, body)
		}
		if resp.Header.Get("Bezoar-Cause") != want.cause || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("WWW-Authenticate") != "" {
			t.Errorf("%v, as a form: %v", err, resp.Header)
		}
		f.waitForLog(2, `"cause":"`+want.cause+`"`)
		if log := f.log.String(); strings.Count(log, `"run_id":"7321"`) != 2 || strings.Contains(log, identity) {
			t.Errorf("%v: the log:\n%s", err, log)
		}
		if got := string(f.want(200, "GET", "/metrics", nil)); !strings.Contains(got, fmt.Sprintf(`bezoar_sessions_total{cause=%q,`, want.cause)) {
			t.Errorf("%v is not counted", err)
		}
	}
}

func TestNoCredentialForASession(t *testing.T) {
	f, seen := newSessions(t)
	for header, cause := range map[string]string{"": "no_credential", "Bearer": "no_credential", " bearer ": "no_credential", "Basic Zm9v": "malformed_credential"} {
		resp, body := f.do("POST", "/v1/session", nil, "Authorization", header)
		if resp.StatusCode != 401 || resp.Header.Get("Bezoar-Cause") != cause || strings.Contains(string(body), "Zm9v") {
			t.Errorf("%q: %d %s", header, resp.StatusCode, body)
		}
	}
	if len(*seen) > 0 {
		t.Errorf("asked %v", *seen)
	}
}

func TestAnOpenServerHasNothingToExchange(t *testing.T) {
	f, seen := newSessions(t)
	f.auth.mustBeOpen(true)
	if got := string(f.want(403, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); !strings.Contains(got, "this server is open") {
		t.Errorf("got %s", got)
	}
	if len(*seen) > 0 {
		t.Errorf("asked %v", *seen)
	}
}

func TestSessionsAreLoggedWithoutSecrets(t *testing.T) {
	f, _ := newSessions(t)
	f.want(200, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)
	f.want(401, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity+"x")
	f.want(200, "POST", "/v1/session", []byte(exchangeForm().Encode()), "Content-Type", formType)
	f.waitForLog(3, `"msg":"session"`)
	log := f.log.String()
	for _, want := range []string{`"session":"0123456789ab"`, `"repository_id":"456789"`, `"run_id":"7321"`, `"actor_id":"4242"`, `"rule":"github pull_request"`, `"workspace":"web"`, `"scope":"pr/17"`, `"result":"issued"`, `"expires":`, `"cause":"forged_credential"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	for _, secret := range []string{"s3cr3t", "eyJ"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds a secret:\n%s", log)
		}
	}
	metrics := string(f.want(200, "GET", "/metrics", nil))
	for _, want := range []string{`bezoar_sessions_total{cause="",result="issued"} 2`, `bezoar_sessions_total{cause="forged_credential",result="denied"} 1`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestRequestsSayWhoseTheyAre: what 'bezoar revoke' takes is in the line of each request.
func TestRequestsSayWhoseTheyAre(t *testing.T) {
	f := newFixture(t)
	f.auth.producer = cache.Producer{Kind: "ci", Session: "0123456789ab", RepositoryID: "456789", RunID: "7321", ActorID: "4242", Subject: "repo:x"}
	f.want(404, "GET", "/v1/cache/1", nil)
	f.auth.set(&trust.DeniedError{Err: trust.ErrExpired, Reason: "expired", TokenID: "aaaabbbbcccc"})
	f.want(404, "GET", "/v1/cache/1", nil)
	f.waitForLog(2, `"msg":"request"`)
	for _, want := range []string{`"session":"0123456789ab"`, `"repository_id":"456789"`, `"run_id":"7321"`, `"actor_id":"4242"`, `"token_id":"aaaabbbbcccc"`} {
		if strings.Count(f.log.String(), want) != 1 {
			t.Errorf("the log has %s %d times:\n%s", want, strings.Count(f.log.String(), want), f.log)
		}
	}
}

// TestABugCostsASessionOnly: a panic is answered, counted and logged.
func TestABugCostsASessionOnly(t *testing.T) {
	f, _ := newSessions(t)
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) { panic("a bug at " + identity[:3]) }
	if got := string(f.want(500, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); strings.Contains(got, "a bug") {
		t.Errorf("the client is told %q", got)
	}
	f.auth.exchange = func(string, cache.Workspace, time.Duration) (trust.Issued, error) {
		return trust.Issued{}, errors.New("open /var/lib/secret")
	}
	if got := string(f.want(500, "POST", "/v1/session", nil, "Authorization", "Bearer "+identity)); strings.Contains(got, "secret") {
		t.Errorf("the client is told %q", got)
	}
	f.waitForLog(2, `"cause":"internal"`)
}

// TestSlowFormsHoldNoConnection: a body that stops, or drips, ends the request within the bound for stalled bodies.
func TestSlowFormsHoldNoConnection(t *testing.T) {
	f, _ := newSessions(t, func(o *Options) { o.StallTimeout, o.DrainTimeout = 20*time.Millisecond, 20*time.Millisecond })
	for _, rest := range []string{
		"Content-Length: 100\r\n\r\ngrant", "Content-Length: 100000000\r\n\r\ngrant", "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
	} {
		for _, method := range []string{"POST", "GET"} {
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second)) // for a server that fails this test
			fmt.Fprintf(conn, "%s /v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%s", method, formType, rest)
			answer, err := io.ReadAll(conn)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
				t.Errorf("%s, %q: %q %v; want an answer and an end", method, rest, answer, err)
			}
			conn.Close()
		}
	}
	f.waitForLog(2, `"cause":"client_stalled"`)
	// One that leaves is nobody's trouble.
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ngrant")
	conn.Close()
	f.waitForLog(1, `"cause":"client_gone"`)
}

// FuzzSessionForm feeds the request's body, type and query.
func FuzzSessionForm(f *testing.F) {
	f.Add("ttl=1h", formType, exchangeForm().Encode())
	f.Add("", formType, "ttl=1h")
	f.Add("ttl=%", "text/plain", "")
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		r := &http.Request{
			Method: "POST", URL: &url.URL{RawQuery: query}, Header: http.Header{"Content-Type": {contentType}},
			Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
		}
		q := &sessionRequest{server: &Server{opts: Options{DrainTimeout: time.Minute}}, w: discard{}, r: r}
		a, err := q.read()
		if err == nil && (a.credential == "" || a.ttl < 0 || !q.form) {
			t.Errorf("%+v", a)
		}
		if err != nil {
			if o := outcomeOf(t.Context(), http.MethodPost, err); o.status != 400 && o.status != 401 {
				t.Errorf("%v is answered %d", err, o.status)
			}
		}
	})
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
