package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

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
