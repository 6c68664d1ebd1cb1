package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const ciToken = "eyJhbGciOiJSUzI1NiJ9.eyJqdGkiOiIxIn0.c2ln"

// peers are a CI's token service and a cache server, each answering what it is told to, one answer after the other; the last one stays.
type peers struct {
	t          *testing.T
	ci, server *peer
	transport  *http.Transport
}

type peer struct {
	*httptest.Server
	mu       sync.Mutex
	answers  []reply
	requests []*http.Request
}

type reply struct {
	status int
	body   string
	header [2]string
	drop   bool // the connection breaks instead
	hang   bool // nothing comes until the client leaves
}

func newPeer(t *testing.T, answers ...reply) *peer {
	p := &peer{answers: answers}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Clone(context.Background()))
		a := p.answers[0]
		if len(p.answers) > 1 {
			p.answers = p.answers[1:]
		}
		p.mu.Unlock()
		switch {
		case a.drop:
			panic(http.ErrAbortHandler)
		case a.hang:
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", "text/plain")
			if a.header[0] != "" {
				w.Header().Set(a.header[0], a.header[1])
			}
			w.WriteHeader(a.status)
			fmt.Fprint(w, a.body)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *peer) seen() []*http.Request { p.mu.Lock(); defer p.mu.Unlock(); return p.requests }

func newPeers(t *testing.T, server ...reply) *peers {
	p := &peers{t: t, ci: newPeer(t, reply{status: 200, body: `{"count":1,"value":"` + ciToken + `"}`}), server: newPeer(t, server...), transport: &http.Transport{}}
	t.Cleanup(p.transport.CloseIdleConnections)
	return p
}

func (p *peers) options() Options {
	return Options{
		Server: p.server.URL + "/web/", CI: GitHub{URL: p.ci.URL + "/token?api-version=2.0", Token: "runner-secret"},
		Transport: p.transport, Waits: []time.Duration{0, 0},
	}
}

const goodSession = `{"token":"bzs_abc.def.ghi","expires_at":"2026-01-02T03:04:05Z","workspace":"web","read":["trusted","pr/17"],"write":"pr/17"}`

func TestASessionForGitHub(t *testing.T) {
	p := newPeers(t, reply{status: 200, body: goodSession})
	opts := p.options()
	opts.TTL = 3 * time.Hour
	s, err := Get(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if s.Token != "bzs_abc.def.ghi" || s.Server != p.server.URL+"/web" || s.Direct {
		t.Errorf("got %+v", s)
	}
	if got, want := s.Summary(), "workspace web: reads trusted, pr/17; writes pr/17; until 2026-01-02T03:04:05Z"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	ask := p.ci.seen()[0]
	if ask.Method != "GET" || ask.URL.Query().Get("audience") != p.server.URL || ask.URL.Query().Get("api-version") != "2.0" || ask.Header.Get("Authorization") != "Bearer runner-secret" {
		t.Errorf("GitHub is asked %s %s %v", ask.Method, ask.URL, ask.Header)
	}
	ask = p.server.seen()[0]
	if ask.Method != "POST" || ask.URL.Path != "/web/v1/session" || ask.URL.Query().Get("ttl") != "3h0m0s" || ask.Header.Get("Authorization") != "Bearer "+ciToken {
		t.Errorf("the server is asked %s %s %v", ask.Method, ask.URL, ask.Header)
	}
}

func TestAudienceCanBeNamed(t *testing.T) {
	p := newPeers(t, reply{status: 200, body: goodSession})
	opts := p.options()
	opts.Audience = "urn:cache&x=1 #"
	if _, err := Get(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	if got := p.ci.seen()[0].URL.Query()["audience"]; len(got) != 1 || got[0] != opts.Audience {
		t.Errorf("audience %q", got)
	}
}

// TestWhatIsTriedAgain: trouble on the way is, each time with a token of its own; a refusal is not.
func TestWhatIsTriedAgain(t *testing.T) {
	good, trouble := reply{status: 200, body: goodSession}, reply{status: 502, body: "bad gateway"}
	for name, c := range map[string]struct {
		ci, server       []reply
		asked            int // requests to the server
		want             string
		unreachable, bad bool
	}{
		"a broken connection":       {server: []reply{{drop: true}, good}, asked: 2},
		"a proxy's trouble, twice":  {server: []reply{trouble, trouble, good}, asked: 3},
		"trouble that stays":        {server: []reply{trouble}, asked: 3, bad: true, want: "answers 502: bad gateway", unreachable: true},
		"nobody answers":            {server: []reply{{drop: true}}, asked: 3, bad: true, want: "cannot be reached", unreachable: true},
		"refused":                   {server: []reply{{status: 403, body: "the event is not known"}}, asked: 1, bad: true, want: "403: the event is not known"},
		"forged":                    {server: []reply{{status: 401, body: "bad signature"}}, asked: 1, bad: true, want: "401: bad signature"},
		"for somebody else":         {server: []reply{{status: 403, body: "x", header: [2]string{"Bezoar-Cause", "audience"}}}, asked: 1, bad: true, want: "--audience"},
		"used already":              {server: []reply{{status: 403, body: "used", header: [2]string{"Bezoar-Cause", "replayed"}}}, asked: 1, bad: true, want: "403: used"},
		"no such page":              {server: []reply{{status: 404}}, asked: 1, bad: true, want: "no sessions to be had", unreachable: true},
		"a login page":              {server: []reply{{status: 200, body: "<html>"}}, asked: 1, bad: true, want: "sent no session", unreachable: true},
		"a session without a token": {server: []reply{{status: 200, body: `{}`}}, asked: 1, bad: true, want: "sent no session", unreachable: true},
		"a hostile token":           {server: []reply{{status: 200, body: `{"token":"x\nPATH=/evil"}`}}, asked: 1, bad: true, want: "sent no session", unreachable: true},
		"an endless answer":         {server: []reply{{status: 200, body: strings.Repeat(" ", maxAnswer+1)}}, asked: 3, bad: true, want: "longer than", unreachable: true},
		"GitHub's trouble":          {ci: []reply{{status: 503}, {status: 200, body: `{"value":"a.b.c"}`}}, server: []reply{good}, asked: 1},
		"GitHub's refusal":          {ci: []reply{{status: 403, body: "no"}}, server: []reply{good}, bad: true, want: "GitHub's token service answers 403: no"},
		"GitHub sends none":         {ci: []reply{{status: 200, body: `{"value":""}`}}, server: []reply{good}, bad: true, want: "sent no token"},
		"GitHub cannot be reached":  {ci: []reply{{drop: true}}, server: []reply{good}, bad: true, want: "GitHub's token service cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeers(t, c.server...)
			if c.ci != nil {
				p.ci.answers = c.ci
			}
			_, err := Get(t.Context(), p.options())
			if (err != nil) != c.bad {
				t.Fatalf("error %v", err)
			}
			if n := len(p.server.seen()); n != c.asked {
				t.Errorf("the server was asked %d times, want %d", n, c.asked)
			}
			if c.ci == nil && len(p.ci.seen()) != c.asked {
				t.Errorf("%d tokens for %d attempts", len(p.ci.seen()), c.asked)
			}
			if !c.bad {
				return
			}
			f, ok := errors.AsType[*Failure](err)
			if !ok || !strings.Contains(err.Error(), c.want) || f.Unreachable != c.unreachable {
				t.Errorf("%v (unreachable: %v), want %q", err, f.Unreachable, c.want)
			}
			for _, secret := range []string{ciToken, "runner-secret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds a credential: %v", err)
				}
			}
		})
	}
}

// TestACredentialIsNotSentElsewhere: neither of them follows a redirect.
func TestACredentialIsNotSentElsewhere(t *testing.T) {
	elsewhere := newPeer(t, reply{status: 200, body: goodSession})
	redirect := reply{status: 307, header: [2]string{"Location", elsewhere.URL + "/v1/session?secret=1"}}
	p := newPeers(t, redirect)
	_, err := Get(t.Context(), p.options())
	if err == nil || !strings.Contains(err.Error(), "redirects (307) to "+elsewhere.URL+"/v1/session,") {
		t.Errorf("got %v", err)
	}
	p = newPeers(t, reply{status: 200, body: goodSession})
	p.ci.answers = []reply{redirect}
	if _, err := Get(t.Context(), p.options()); err == nil {
		t.Error("a redirect of the token service was taken for an answer")
	}
	if n := len(elsewhere.seen()); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestNothingWaitsForever(t *testing.T) {
	p := newPeers(t, reply{hang: true})
	opts := p.options()
	opts.Attempt, opts.Waits = 20*time.Millisecond, []time.Duration{}
	if _, err := Get(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got %v", err)
	}
	// The end of the command ends a pause as well.
	p = newPeers(t, reply{drop: true})
	ctx, cancel := context.WithCancel(t.Context())
	opts = p.options()
	opts.Waits = []time.Duration{time.Hour}
	ended := make(chan error, 1)
	go func() { _, err := Get(ctx, opts); ended <- err }()
	for len(p.server.seen()) == 0 {
		select {
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
}

func TestATokenFromAVariable(t *testing.T) {
	get := func(value string, answer reply) (*Session, error) {
		p := newPeers(t, answer)
		opts := p.options()
		opts.CI = Variable{Name: "BEZOAR_ID_TOKEN", Value: value}
		return Get(t.Context(), opts)
	}
	s, err := get(ciToken+"\n", reply{status: 200, body: goodSession})
	if err != nil || s.Direct || s.Token != "bzs_abc.def.ghi" {
		t.Fatalf("%+v %v", s, err)
	}
	// It lives as long as its job: where it cannot be exchanged through no fault of its own, it serves by itself.
	for _, cause := range []string{"replayed", "ledger"} {
		s, err = get(ciToken, reply{status: 403, header: [2]string{"Bezoar-Cause", cause}})
		if err != nil || !s.Direct || s.Token != ciToken || !strings.Contains(s.Summary(), "CI's own token") {
			t.Errorf("%s: %+v %v", cause, s, err)
		}
	}
	for _, cause := range []string{"not_allowed", "expired", "audience", ""} {
		if s, err = get(ciToken, reply{status: 403, header: [2]string{"Bezoar-Cause", cause}}); err == nil {
			t.Errorf("%s: %+v", cause, s)
		}
	}
	for value, want := range map[string]string{
		"": "holds no identity token", " \n": "holds no identity token",
		"bzs_a.b.c": "needs no exchange", "bzr_x": "needs no exchange",
		"hunter2": "is no identity token", "a.b.c\nd": "is no identity token", "a.b.c.d.e": "is no identity token", "a.b." + strings.Repeat("c", maxToken): "is no identity token",
	} {
		_, err := get(value, reply{status: 200, body: goodSession})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%.20q: %v, want %q", value, err, want)
		}
	}
}

func TestGitHubWithoutTheRight(t *testing.T) {
	p := newPeers(t, reply{status: 200, body: goodSession})
	for _, ci := range []GitHub{{}, {URL: p.ci.URL}, {Token: "x"}} {
		opts := p.options()
		opts.CI = ci
		if _, err := Get(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "id-token: write") || !strings.Contains(err.Error(), "fork") {
			t.Errorf("%+v: %v", ci, err)
		}
	}
	opts := p.options()
	opts.CI = GitHub{URL: "http://192.0.2.1/token", Token: "x"}
	if _, err := Get(t.Context(), opts); err == nil || !strings.Contains(err.Error(), "no https URL") {
		t.Errorf("got %v", err)
	}
}

func TestServerURLs(t *testing.T) {
	for text, want := range map[string]string{
		"https://cache.example.com":        "https://cache.example.com",
		"https://cache.example.com//":      "https://cache.example.com",
		"https://cache.example.com/a/web/": "https://cache.example.com/a/web",
		"http://127.0.0.1:8099":            "http://127.0.0.1:8099",
		"http://[::1]:8099/":               "http://[::1]:8099",
		"http://localhost":                 "http://localhost",
		"http://cache.localhost":           "http://cache.localhost",
	} {
		if got, err := parseServer(text, false); err != nil || got.String() != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "cache.example.com", "cache.example.com:443", "ftp://x", "https://", "https:x", "https://u:hunter2@x", "https://x?hunter2", "https://x?", "https://x#hunter2",
		"http://cache.example.com", "http://localhost.example.com", "http://192.168.0.1", "https://x\n", "https://x y",
	} {
		_, err := parseServer(text, false)
		if f, ok := errors.AsType[*Failure](err); !ok || f.Remedy == "" || f.Unreachable || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := parseServer("http://bezoar:8099", true); err != nil {
		t.Error(err)
	}
	if _, err := Get(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), ServerVariable) {
		t.Errorf("got %v", err)
	}
}

// TestOthersTextIsNoCommand: what a server says goes into a log that the runner reads commands in.
func TestOthersTextIsNoCommand(t *testing.T) {
	p := newPeers(t, reply{status: 403, body: "no\n::add-path::/evil\r\n##[add-path]/evil###vso[task.setvariable variable=PATH]/evil\x1b[2J" + strings.Repeat("x", 1000)})
	_, err := Get(t.Context(), p.options())
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range []string{err.Error(), Warning(err.Error())} {
		if body := strings.TrimSuffix(text, "\n"); strings.ContainsAny(body, "\n\r\x1b") || strings.Contains(body, "##") || len(body) > 800 {
			t.Errorf("%q", text)
		}
	}
	if got := Warning("50%\nx\r"); got != "::warning::50%25%0Ax%0D\n" {
		t.Errorf("%q", got)
	}
	if got := (&Session{Token: "bzs_x"}).Mask(); got != "::add-mask::bzs_x\n" {
		t.Errorf("%q", got)
	}
	if s := (&Session{Workspace: "web", Read: []string{"branch/a\nb"}, Write: "branch/####[x"}).Summary(); strings.Contains(s, "\n") || strings.Contains(s, "##") {
		t.Errorf("%q", s)
	}
}

// FuzzSession feeds what a server might send.
func FuzzSession(f *testing.F) {
	f.Add([]byte(goodSession))
	f.Add([]byte(`{"token":"a'b"}`))
	f.Add([]byte(`{"token":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := readSession("https://x", body)
		if err != nil {
			return
		}
		var b strings.Builder
		if err := s.Export(&b, FormatShell); err != nil || strings.Count(b.String(), "\n") != 2 || strings.Count(b.String(), "'") != 4 {
			t.Errorf("%q becomes %q, %v", body, b.String(), err)
		}
		if strings.ContainsAny(s.Summary(), "\n\r") {
			t.Errorf("%q", s.Summary())
		}
	})
}
