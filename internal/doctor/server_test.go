package doctor

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

type before = func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, body []byte) bool

func status(code int, contentType, text string) before {
	return func(w http.ResponseWriter, _ *http.Request, _ map[string][]byte, _ []byte) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		io.WriteString(w, text)
		return true
	}
}

// on limits a fault to one method.
func on(method string, f before) before {
	return func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, body []byte) bool {
		return r.Method == method && f(w, r, entries, body)
	}
}

// nothing is what is skipped when the first request fails.
const nothing = " cache.upload=skip token.access=skip cache.hit=skip cache.once=skip cache.large=skip http.slashes=skip token.wrong=skip http.latency=skip"

// unstored is what is skipped when no upload is kept.
const unstored = " cache.hit=skip cache.once=skip cache.large=skip"

// TestBrokenServers breaks one thing at a time and expects exactly the findings that say so.
func TestBrokenServers(t *testing.T) {
	t.Parallel()
	html := "<!DOCTYPE html><title>Sign in</title>"
	tests := []struct {
		name    string
		fake    *fake
		token   Setting
		path    string
		outcome string
		// says is a part of the text of the first finding that is not well.
		says     string
		sentence string
	}{
		{name: "healthy", fake: &fake{}, sentence: "Builds from here will read and write this cache."},
		{name: "healthy, trailing slash", fake: &fake{}, path: "/", sentence: "Builds from here will read and write this cache."},
		{name: "healthy, prefix", fake: &fake{}, path: "/team-a", sentence: "Builds from here will read and write this cache."},
		{name: "healthy, token", fake: &fake{token: "bzr_secret"}, token: Setting{Value: "bzr_secret", Set: true}},
		{name: "no token where one is needed to write", fake: &fake{token: "bzr_secret"},
			outcome: "token.access=warn cache.upload=skip" + unstored, says: "no credential was sent",
			sentence: "Builds from here go on with this server, but nothing they upload is stored."},
		{name: "empty token", fake: &fake{token: "bzr_secret"}, token: Setting{Set: true},
			outcome: "token.format=warn cache.upload=skip token.access=warn" + unstored, says: "bare \"Bearer\""},
		{name: "wrong token", fake: &fake{token: "bzr_secret"}, token: Setting{Value: "bzr_other", Set: true},
			outcome: "cache.miss=skip token.access=fail" + strings.Replace(nothing, " token.access=skip", "", 1), says: "It says: the token [token] is unknown",
			sentence: "Builds from here FAIL with this server."},
		{name: "401 with a charset", fake: &fake{before: status(401, "text/plain; charset=utf-8", "no")},
			outcome: "cache.miss=skip token.access=fail" + strings.Replace(nothing, " token.access=skip", "", 1), says: "misconfigured remote cache endpoint"},
		{name: "a wrong token's 401 with a charset", fake: &fake{before: func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
			if r.Header.Get("Authorization") != "" {
				http.Error(w, "wrong", http.StatusUnauthorized)
				return true
			}
			return false
		}}, outcome: "token.wrong=warn", says: "text/plain; charset=utf-8", sentence: "Builds from here will read and write this cache."},
		{name: "GET 403", fake: &fake{before: on("GET", status(403, "text/plain", "denied"))}, outcome: "cache.miss=fail" + nothing, says: "It says: denied"},
		{name: "GET 204", fake: &fake{before: on("GET", status(204, "", ""))}, outcome: "cache.miss=fail" + nothing, says: "404 for a miss"},
		{name: "GET 503", fake: &fake{before: on("GET", status(503, "text/plain", "down"))}, outcome: "cache.miss=fail" + nothing, says: "503 Service Unavailable"},
		{name: "a login page", fake: &fake{before: on("GET", status(200, "text/html; charset=utf-8", html))}, outcome: "cache.miss=fail" + nothing, says: "login page"},
		{name: "a login page without its type", fake: &fake{before: on("GET", status(200, "", "\n<HTML>"))}, outcome: "cache.miss=fail" + nothing, says: "login page"},
		{name: "a redirect to a login page", fake: &fake{before: func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
			if r.URL.Path == "/login" {
				io.WriteString(w, html)
			} else {
				http.Redirect(w, r, "/login?state=private", http.StatusFound)
			}
			return true
		}}, outcome: "cache.miss=fail" + nothing, says: "after a redirect to "},
		{name: "a redirect to nowhere", fake: &fake{before: func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
			http.Redirect(w, r, "http://127.0.0.1:1/login", http.StatusFound)
			return true
		}}, outcome: "cache.miss=fail" + nothing, says: "redirected to http://127.0.0.1:1/login"},
		{name: "redirects in circles", fake: &fake{before: func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}}, outcome: "cache.miss=fail" + nothing, says: "circles"},
		{name: "every hash is a hit", fake: &fake{before: on("GET", status(200, "application/octet-stream", "x"))}, outcome: "cache.miss=fail" + nothing, says: "Nobody ever stored"},
		{name: "GET without an answer", fake: &fake{before: on("GET", func(http.ResponseWriter, *http.Request, map[string][]byte, []byte) bool {
			panic(http.ErrAbortHandler)
		})}, outcome: "cache.miss=fail" + nothing, says: "closed without an answer"},

		{name: "PUT 202", fake: &fake{before: on("PUT", status(202, "", ""))}, outcome: "cache.upload=fail token.access=skip" + unstored, says: "202 Accepted",
			sentence: "Builds from here FAIL with this server."},
		{name: "PUT 500", fake: &fake{before: on("PUT", status(500, "text/plain", "disk full"))}, outcome: "cache.upload=fail token.access=skip" + unstored, says: "six times"},
		{name: "PUT 405", fake: &fake{before: on("PUT", status(405, "", ""))}, outcome: "cache.upload=fail token.access=skip" + unstored, says: "does not let PUT through"},
		{name: "PUT 401", fake: &fake{before: on("PUT", status(401, "text/plain", "no"))}, outcome: "cache.upload=skip token.access=fail" + strings.Replace(nothing, " cache.upload=skip token.access=skip", "", 1), says: "It says: no"},
		{name: "PUT 409 at once", fake: &fake{before: on("PUT", status(409, "", ""))}, outcome: "cache.upload=fail token.access=skip cache.hit=skip cache.once=skip cache.large=skip http.slashes=skip token.wrong=skip http.latency=skip",
			says: "without looking", sentence: "Builds from here go on, but this server does not do what a cache must."},
		{name: "PUT without an answer", fake: &fake{before: on("PUT", func(http.ResponseWriter, *http.Request, map[string][]byte, []byte) bool {
			panic(http.ErrAbortHandler)
		})}, outcome: "cache.upload=fail" + strings.Replace(nothing, " cache.upload=skip", "", 1), says: "closed without an answer"},
		{name: "PUT stores nothing", fake: &fake{before: on("PUT", status(200, "", ""))},
			outcome: "cache.hit=fail cache.once=fail cache.large=fail", says: "not found", sentence: "Builds from here go on, but this server does not do what a cache must."},
		{name: "other bytes", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			for _, e := range entries {
				e[len(e)/2]++
			}
			return false
		})}, outcome: "cache.hit=fail cache.once=fail cache.large=fail", says: "other bytes", sentence: "Builds from here FAIL with this server."},
		{name: "too many bytes", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if e, ok := entries[r.URL.Path[len("/v1/cache/"):]]; ok {
				w.Write(e)
				w.Write(make([]byte, 3*maxSurplus))
				return true
			}
			return false
		})}, outcome: "cache.hit=fail cache.once=fail cache.large=fail", says: "other bytes"},
		{name: "a cut body", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if e, ok := entries[r.URL.Path[len("/v1/cache/"):]]; ok {
				w.Header().Set("Content-Length", strconv.Itoa(len(e)))
				w.Write(e[:len(e)/2])
				panic(http.ErrAbortHandler)
			}
			return false
		})}, outcome: "cache.hit=fail cache.once=fail cache.large=fail http.latency=fail", says: "cut short"},
		{name: "no Content-Length", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if e, ok := entries[r.URL.Path[len("/v1/cache/"):]]; ok {
				w.(http.Flusher).Flush()
				w.Write(e)
				return true
			}
			return false
		})}, outcome: "cache.hit=warn", says: "no Content-Length"},
		{name: "compressed unasked", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if _, ok := entries[r.URL.Path[len("/v1/cache/"):]]; ok {
				w.Header().Set("Content-Encoding", "br")
				io.WriteString(w, "compressed")
				return true
			}
			return false
		})}, outcome: "cache.hit=fail cache.once=fail cache.large=fail", says: "Content-Encoding"},

		{name: "a second PUT overwrites", fake: &fake{before: on("PUT", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, body []byte) bool {
			entries[r.URL.Path[len("/v1/cache/"):]] = body
			return true
		})}, outcome: "cache.once=fail", says: "CVE-2025-36852", sentence: "Builds from here go on, but this server does not do what a cache must."},
		{name: "a second PUT says 200 and keeps the first", fake: &fake{before: on("PUT", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, body []byte) bool {
			if _, ok := entries[r.URL.Path[len("/v1/cache/"):]]; !ok {
				return false
			}
			return true
		})}, outcome: "cache.once=warn", says: "409"},
		{name: "a second PUT is a 500", fake: &fake{before: on("PUT", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if _, ok := entries[r.URL.Path[len("/v1/cache/"):]]; ok {
				w.WriteHeader(500)
				return true
			}
			return false
		})}, outcome: "cache.once=fail", says: "a second upload"},

		{name: "413 over a size", fake: &fake{before: on("PUT", func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, body []byte) bool {
			if len(body) > 100<<10 {
				status(413, "text/html", html)(w, r, nil, nil)
				return true
			}
			return false
		})}, outcome: "cache.large=fail", says: "client_max_body_size", sentence: "Builds from here FAIL with this server."},
		{name: "403 over a size", fake: &fake{before: on("PUT", func(w http.ResponseWriter, r *http.Request, _ map[string][]byte, body []byte) bool {
			if len(body) > 100<<10 {
				status(403, "text/plain", "larger than 100 KiB")(w, r, nil, nil)
				return true
			}
			return false
		})}, outcome: "cache.large=warn", says: "It says: larger than 100 KiB", sentence: "Builds from here will read and write this cache."},
		{name: "504 on a large download", fake: &fake{before: on("GET", func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
			if len(entries[r.URL.Path[len("/v1/cache/"):]]) > 100<<10 {
				w.WriteHeader(504)
				return true
			}
			return false
		})}, outcome: "cache.large=fail", says: "gave up waiting"},

		{name: "doubled slashes are redirected", fake: &fake{before: cleanPath}, outcome: "http.slashes=warn", says: "is redirected to"},
		{name: "doubled slashes are redirected, and there are some", fake: &fake{before: cleanPath}, path: "/",
			outcome: "cache.miss=warn cache.upload=fail token.access=skip" + unstored, says: "breaks uploads"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, test.fake)
			r := examine(t, Options{Server: server(s.URL + test.path), Token: test.token, Size: testSize})
			if got, want := sorted(outcome(r)), sorted(test.outcome); got != want {
				t.Errorf("findings\n got %s\nwant %s", got, want)
			}
			if test.says != "" && !strings.Contains(troubles(r), test.says) {
				t.Errorf("no finding says %q:\n%s", test.says, troubles(r))
			}
			if test.sentence != "" && r.Summary.Text != test.sentence {
				t.Errorf("summary %q, want %q", r.Summary.Text, test.sentence)
			}
			if strings.Contains(troubles(r), "private") {
				t.Errorf("the query of a redirect is shown:\n%s", troubles(r))
			}
			if len(r.Findings) != 18 {
				t.Errorf("%d findings, want 18 in every report", len(r.Findings))
			}
		})
	}
}

// cleanPath redirects doubled slashes, as http.ServeMux does.
func cleanPath(w http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
	clean := strings.ReplaceAll(r.URL.Path, "//", "/")
	if clean == r.URL.Path {
		return false
	}
	http.Redirect(w, r, clean, http.StatusMovedPermanently)
	return true
}

// TestHangingServer has a deadline of its own for each kind of silence.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	const short = 500 * time.Millisecond
	tests := []struct {
		name    string
		hang    func(r *http.Request, entries map[string][]byte) bool
		part    bool // half of the body comes before the silence
		outcome string
	}{
		{"a GET", func(r *http.Request, _ map[string][]byte) bool { return r.Method == "GET" }, false, "cache.miss=fail" + nothing},
		{"a PUT", func(r *http.Request, _ map[string][]byte) bool { return r.Method == "PUT" }, false, "cache.upload=fail" + strings.Replace(nothing, " cache.upload=skip", "", 1)},
		{"a large download", func(r *http.Request, e map[string][]byte) bool {
			return r.Method == "GET" && len(e[r.URL.Path[len("/v1/cache/"):]]) > testSize
		}, true, "cache.large=fail"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := &fake{}
			f.before = func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, _ []byte) bool {
				if !test.hang(r, entries) {
					return false
				}
				if test.part {
					w.Header().Set("Content-Length", strconv.Itoa(testSize))
					w.Write(make([]byte, testSize/2))
					w.(http.Flusher).Flush()
				}
				<-r.Context().Done()
				return true
			}
			s := serve(t, f)
			r := examine(t, Options{Server: server(s.URL), Size: testSize, Answer: short})
			if got := sorted(outcome(r)); got != sorted(test.outcome) {
				t.Errorf("findings\n got %s\nwant %s", got, test.outcome)
			}
			if !strings.Contains(troubles(r), "nothing came for 500ms") {
				t.Errorf("no finding tells of the silence:\n%s", troubles(r))
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	noHTTP := talker(t, "220 mail.example.com ESMTP\r\n")
	everything := " port=skip tls.handshake=skip tls.trust=skip tls.name=skip tls.expiry=skip cache.miss=skip" + nothing
	tests := []struct {
		name, url, outcome, says string
		resolver                 Resolver
	}{
		{name: "refused port", url: "http://" + refused.Addr().String(), says: "refuses connections",
			outcome: "port=fail" + strings.Replace(everything, " port=skip", "", 1)},
		{name: "unknown name", url: "http://cache.test", says: "does not resolve", outcome: "dns=fail" + everything,
			resolver: names{err: &net.DNSError{Err: "no such host", Name: "cache.test", IsNotFound: true}}},
		{name: "no name server", url: "http://cache.test", says: "no name server answered", outcome: "dns=fail" + everything,
			resolver: names{err: &net.DNSError{Err: "timeout", IsTimeout: true}}},
		{name: "a name without addresses", url: "http://cache.test", says: "no address", outcome: "dns=fail" + everything, resolver: names{}},
		{name: "no HTTP", url: "http://" + noHTTP, says: "no HTTP", outcome: "cache.miss=fail" + nothing},
		{name: "no URL", url: "cache.example.com", says: "no scheme", outcome: "url=fail token.format=skip proxy=skip dns=skip" + everything},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, Options{Server: server(test.url), Resolver: test.resolver})
			if got := sorted(outcome(r)); got != sorted(test.outcome) {
				t.Errorf("findings\n got %s\nwant %s", got, test.outcome)
			}
			text := troubles(r)
			for _, f := range r.Findings {
				for _, d := range f.Details {
					if s, ok := d.(string); ok {
						text += s
					}
				}
			}
			if !strings.Contains(text, test.says) {
				t.Errorf("no finding says %q:\n%s", test.says, text)
			}
			if r.Summary.Status != Fail {
				t.Errorf("status %s, want fail", r.Summary.Status)
			}
		})
	}
}

// TestSomeAddressesDead has a name with a live and a dead address.
func TestSomeAddressesDead(t *testing.T) {
	t.Parallel()
	s := serve(t, &fake{})
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	r := examine(t, Options{Server: server("http://cache.test:" + port), Resolver: names{addrs: []string{"127.0.0.1", "192.0.2.1"}},
		Connect: func(ctx ctx, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "192.0.2.1:") {
				return nil, errors.New("dead")
			}
			return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
		}})
	if got := outcome(r); got != "port=warn cache.large=skip" {
		t.Errorf("findings %s", got)
	}
	if f := finding(t, r, IDPort); !strings.Contains(f.Title, "not at 192.0.2.1") {
		t.Errorf("title %q", f.Title)
	}
}

// TestCredentialStaysHome checks that a redirect to another host does not carry the token along.
func TestCredentialStaysHome(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 100)
	other := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header.Get("Authorization")
		w.WriteHeader(404)
	}))
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	examine(t, Options{Server: server(s.URL), Token: Setting{Value: "bzr_secret", Set: true}})
	close(seen)
	n := 0
	for header := range seen {
		if n++; header != "" {
			t.Errorf("the other host got %q", header)
		}
	}
	if n == 0 {
		t.Error("no request came through the redirect")
	}
}

// TestRequestsAreNxs compares a request with what nx 24.0.6 sends.
func TestRequestsAreNxs(t *testing.T) {
	t.Parallel()
	f := &fake{}
	got := make(chan *http.Request, 1000)
	f.before = func(_ http.ResponseWriter, r *http.Request, _ map[string][]byte, body []byte) bool {
		if int64(len(body)) != r.ContentLength {
			t.Errorf("%s has Content-Length %d and %d bytes", r.Method, r.ContentLength, len(body))
		}
		got <- r
		return false
	}
	s := serve(t, f)
	examine(t, Options{Server: server(s.URL), Token: Setting{Value: "abc", Set: true}, Size: testSize})
	close(got)
	for r := range got {
		accept := "application/octet-stream"
		if r.Method == "PUT" {
			accept = "*/*"
			r.Header.Del("Content-Length")
		}
		if r.Header.Get("Accept") != accept || r.Header.Get("Content-Type") != "application/octet-stream" ||
			!strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || len(r.Header) != 3 || r.ProtoMajor != 1 || len(r.TransferEncoding) > 0 {
			t.Errorf("%s %s has header %v, transfer encoding %v", r.Method, r.URL, r.Header, r.TransferEncoding)
		}
	}
}

func TestTimeIsOver(t *testing.T) {
	t.Parallel()
	stop, cancel := newCancel(t)
	f := &fake{before: on("PUT", func(_ http.ResponseWriter, r *http.Request, _ map[string][]byte, _ []byte) bool {
		cancel()
		<-r.Context().Done()
		return true
	})}
	s := serve(t, f)
	r, err := Run(stop, Options{Server: server(s.URL), Size: testSize})
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(r); got != "cache.upload=fail"+strings.Replace(nothing, " cache.upload=skip", "", 1) {
		t.Errorf("findings %s", got)
	}
	if f := finding(t, r, IDUpload); !strings.Contains(f.Title, "time for all checks") {
		t.Errorf("title %q", f.Title)
	}
}
