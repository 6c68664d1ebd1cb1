package doctor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

const (
	// maxKept bounds what is kept of an answer's body for a look at it; the rest is only hashed and counted.
	maxKept = 64 << 10
	// maxSurplus bounds what is read of a body beyond what was expected of it.
	maxSurplus = 1 << 20
	// maxHops is reqwest's limit of redirects.
	maxHops = 10
	// maxAnswerHeader bounds an answer's header, in bytes.
	maxAnswerHeader = 256 << 10
)

var (
	errStalled     = errors.New("nothing moved for too long")
	errTooManyHops = errors.New("too many redirects")
)

// client sends what Nx's client sends: HTTP/1.1, no User-Agent, no compression, Content-Length on each upload. What Nx
// lacks, deadlines, it has.
type client struct {
	http      *http.Client
	transport *http.Transport
	base      string
	answer    time.Duration
	token     Setting
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	// length is the Content-Length; -1 if there is none.
	length int64
	kept   []byte
	size   int64
	sum    [sha256.Size]byte
	hops   []hop
	took   time.Duration
	// reused says that the connection was open already.
	reused bool
}

// hop is a redirect that was followed.
type hop struct {
	status int
	to     string
}

func (a *answer) html() bool {
	if strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/html") {
		return true
	}
	head := bytes.ToLower(bytes.TrimSpace(a.kept[:min(len(a.kept), 256)]))
	return bytes.HasPrefix(head, []byte("<!doctype html")) || bytes.HasPrefix(head, []byte("<html"))
}

// payload is a body to upload; open is called once for each attempt, as a redirect may ask for the body again.
type payload struct {
	size int64
	sum  [sha256.Size]byte
	open func() io.ReadCloser
}

func newTransport(e *exam) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &http.Transport{
		Protocols:              protocols,
		DisableCompression:     true,
		TLSHandshakeTimeout:    e.opts.Answer,
		MaxResponseHeaderBytes: maxAnswerHeader,
		MaxIdleConnsPerHost:    1,
		DialContext:            e.opts.dialBounded,
		TLSClientConfig: &tls.Config{
			RootCAs:    e.opts.Roots,
			MinVersion: tls.VersionTLS12,
			// Only where the environment tells Nx to do the same; there is a finding about it.
			InsecureSkipVerify: e.insecure, //nolint:gosec
		},
	}
	if e.proxy != nil {
		t.Proxy = http.ProxyURL(e.proxy.url)
	}
	return t
}

func newClient(e *exam) *client {
	t := newTransport(e)
	return &client{
		transport: t,
		http:      &http.Client{Transport: t},
		base:      e.target.base,
		answer:    e.opts.Answer,
		token:     e.token,
	}
}

// close drops idle connections.
func (c *client) close() { c.transport.CloseIdleConnections() }

// with is c with another credential, over the same connections.
func (c *client) with(token Setting) *client {
	d := *c
	d.token = token
	return &d
}

func (c *client) get(ctx context.Context, hash string, expect int64) (*answer, error) {
	return c.do(ctx, http.MethodGet, c.base+"/v1/cache/"+hash, nil, expect)
}

func (c *client) put(ctx context.Context, hash string, body *payload) (*answer, error) {
	return c.do(ctx, http.MethodPut, c.base+"/v1/cache/"+hash, body, 0)
}

// do sends one request, follows redirects as reqwest does and reads the answer: as far as it goes, but not
// more than expect and some bytes.
func (c *client) do(ctx context.Context, method, address string, body *payload, expect int64) (*answer, error) {
	ctx, w := watch(ctx, c.answer)
	defer w.stop()
	start := time.Now()
	a := &answer{}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { a.reused = info.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), method, address, nil)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.GetBody = func() (io.ReadCloser, error) { return w.body(body.open()), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = body.size
	}
	// An empty value keeps net/http from adding one of its own.
	req.Header["User-Agent"] = []string{""}
	req.Header.Set("Content-Type", "application/octet-stream")
	if method == http.MethodGet {
		req.Header.Set("Accept", "application/octet-stream")
	} else {
		req.Header.Set("Accept", "*/*")
	}
	if c.token.Set {
		req.Header.Set("Authorization", "Bearer "+c.token.Value)
	}
	follow := *c.http
	follow.CheckRedirect = func(next *http.Request, via []*http.Request) error { return a.redirect(next, via) }
	resp, err := follow.Do(req)
	if err != nil {
		return a, w.explain(err)
	}
	defer resp.Body.Close()
	a.status, a.header, a.length = resp.StatusCode, resp.Header, resp.ContentLength
	err = a.read(w.body(resp.Body), expect+maxSurplus)
	a.took = time.Since(start)
	return a, w.explain(err)
}

// redirect keeps to reqwest's rules: ten hops, and no credential to another host or port (net/http alone
// would still tell subdomains).
func (a *answer) redirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxHops {
		return errTooManyHops
	}
	to := *next.URL
	to.RawQuery, to.User, to.Fragment = "", nil, ""
	a.hops = append(a.hops, hop{status: next.Response.StatusCode, to: printable(to.String(), 200)})
	for _, earlier := range via {
		if !sameHost(earlier.URL, next.URL) {
			next.Header.Del("Authorization")
		}
	}
	return nil
}

func sameHost(a, b *url.URL) bool {
	port := func(u *url.URL) string {
		if p := u.Port(); p != "" {
			return p
		}
		return u.Scheme
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func (a *answer) read(r io.Reader, limit int64) error {
	hash := sha256.New()
	buf := make([]byte, 64<<10)
	for a.size <= limit {
		n, err := r.Read(buf)
		hash.Write(buf[:n])
		a.size += int64(n)
		if room := maxKept - len(a.kept); room > 0 {
			a.kept = append(a.kept, buf[:min(n, room)]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	hash.Sum(a.sum[:0])
	return nil
}

// watchdog ends a request in which nothing moves.
type watchdog struct {
	timer *time.Timer
	limit time.Duration
	stop  func()
	// ended is why the request is over; nil while it is not.
	ended func() error
}

// watch returns the context of a request and what watches it. The caller stops the watchdog.
func watch(parent context.Context, limit time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watchdog{
		timer: time.AfterFunc(limit, func() { cancel(errStalled) }),
		limit: limit,
		ended: func() error { return context.Cause(ctx) },
	}
	w.stop = func() {
		w.timer.Stop()
		cancel(nil)
	}
	return ctx, w
}

// explain puts the reason of a cancelled request in place of "context canceled".
func (w *watchdog) explain(err error) error {
	if why := w.ended(); err != nil && why != nil {
		return why
	}
	return err
}

// body reports each movement of r to the watchdog.
func (w *watchdog) body(r io.ReadCloser) io.ReadCloser { return &watched{r, w} }

type watched struct {
	io.ReadCloser
	dog *watchdog
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	// After the timer fired the request is over: it must not be set again.
	if n > 0 && b.dog.ended() == nil {
		b.dog.timer.Reset(b.dog.limit)
	}
	return n, err
}
