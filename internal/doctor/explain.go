package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"syscall"
)

// What Nx does with answers, in the words of every finding. The releases up to 24.0.6 are meant: they end the run on each GET that is neither
// 200 nor 404, and retry a task's upload five times before they fail the task.
const (
	failsGet = "Nx gives up on any answer to a GET but 200 and 404: every build fails."
	failsPut = "Nx uploads it six times over, then fails the task, though it had passed."
	hangs    = "Nx's client has no timeouts: builds hang until somebody ends them."
)

// fault is the finding for a request without an answer.
func (e *exam) fault(what string, a *answer, err error) Finding {
	if a != nil && len(a.hops) > 0 {
		what += ", redirected to " + a.hops[len(a.hops)-1].to
	}
	f := Finding{Status: Fail, Means: "Nx fails the build when a connection breaks.",
		Do: "Look into the logs of the server and of every proxy before it, at this time.", Details: Details{"error": e.foreign(err.Error())}}
	var record tls.RecordHeaderError
	var unexpected statusError
	switch {
	case errors.Is(err, errStalled):
		f.Title = fmt.Sprintf("%s: nothing came for %s", what, e.opts.Answer)
		f.Means = hangs
		f.Do = "Find out who hangs: ask the server directly, without the proxies in between."
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		f.Title = what + ": the time for all checks was over"
		f.Means = "Nothing is known of what was not checked."
		f.Do = "Give more with --timeout, or less to do with --size."
	case errors.Is(err, errTooManyHops):
		f.Title = what + ": the server redirects in circles"
		f.Means = failsGet
		f.Do = "Correct the redirects of the proxy, or the URL."
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		f.Title = what + ": the port does not speak TLS"
		f.Means = "Nx cannot reach the server: every build fails."
		f.Do = "Write http:// in " + ServerVariable + ", or the port that speaks https."
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Title = what + ": the connection was reset"
	case errors.Is(err, io.ErrUnexpectedEOF):
		f.Title = what + ": the answer was cut short"
	case errors.Is(err, io.EOF):
		f.Title = what + ": the connection was closed without an answer"
	case strings.Contains(err.Error(), "malformed HTTP"), strings.Contains(err.Error(), "readLoopPeekFailLocked"): // The latter spoke first.
		f.Title = what + ": the answer is no HTTP"
		f.Do = "Check the port. One that speaks TLS wants https:// in " + ServerVariable + "."
	case strings.Contains(err.Error(), "certificate required"):
		f.Title = what + ": the server asks for a client certificate"
		f.Do = "Nx has none to show. Exempt the cache from client certificates, or use another listener."
	case errors.As(err, &unexpected):
		f.Title = what + ": " + unexpected.Error()
		f.Means = "The same request was answered well a moment ago: builds fail now and then."
	default:
		if _, ok := errors.AsType[*x509.UnknownAuthorityError](err); ok {
			f.Title = what + ": a redirect leads to a server with an unknown certificate"
			break
		}
		f.Title = what + ": no answer"
	}
	if a != nil && len(a.hops) > 0 && !errors.Is(err, errTooManyHops) {
		f.Do = "Nx follows redirects too. If this one leads to a login, exempt the path /v1/cache/ from it; else put the final URL into " + ServerVariable + "."
	}
	return f
}

// refusal is the finding for an answer that Nx does not go on with.
func (e *exam) refusal(method, what string, a *answer) Finding {
	f := Finding{Status: Fail, Title: what + " is answered with " + statusText(a.status), Means: failsGet, Details: e.describe(a)}
	if method == http.MethodPut {
		f.Means = failsPut
	}
	switch a.status {
	case http.StatusAccepted:
		f.Do = "Let the server answer 200. An older document of the API names 202, but no release of Nx accepts it."
	case http.StatusNoContent:
		f.Do = "Let the server answer 404 for a miss and 200 for what it stored."
	case http.StatusUnauthorized:
		f.Do = "Check the token: the server says that it is wrong. " + e.reason(a)
	case http.StatusForbidden:
		f.Do = "The server, or a proxy, denies reading. One that is made for Nx answers 404 instead. " + e.reason(a)
	case http.StatusRequestEntityTooLarge:
		f.Do = "Raise the limit of the proxy (nginx: client_max_body_size 0; the default is 1m. ingress-nginx: the annotation proxy-body-size), or of the server."
	case http.StatusLengthRequired:
		f.Do = "A proxy drops Content-Length: turn off its rewriting of bodies."
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		f.Do = "A proxy or web server in between does not let " + method + " through. Allow it, or check that the URL is the cache's."
	case http.StatusNotFound:
		f.Do = "Check the URL: something answers there, but not a cache."
	case http.StatusProxyAuthRequired:
		f.Do = "The HTTP proxy wants credentials: put them into its variable, or add the server to NO_PROXY."
	case http.StatusTooManyRequests:
		f.Do = "A rate limit applies to builds. Nx asks for many hashes at once: exempt the cache."
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		f.Do = "A proxy does not reach the server behind it, or the server is not ready. Look at both."
	case http.StatusGatewayTimeout:
		f.Do = "A proxy gave up waiting for the server. Raise its timeouts, and find out why the server is slow."
	default:
		f.Do = "Check the URL, and the logs of the server and of every proxy before it."
	}
	f.Do = strings.TrimSpace(f.Do)
	if a.html() {
		f.Title += ", with a web page"
	}
	if a.status == http.StatusBadRequest && e.target.scheme == "http" && bytes.Contains(a.kept, []byte("HTTPS")) {
		f.Do = "This port speaks https: write https:// in " + ServerVariable + "."
	}
	if len(a.hops) > 0 {
		f.Title += " after a redirect to " + a.hops[len(a.hops)-1].to
		if method == http.MethodPut {
			f.Do = "Redirects 301, 302 and 303 turn an upload into a GET. Put the final URL into " + ServerVariable + "."
		}
	}
	return f
}

// describe tells what helps to find out who answered.
func (e *exam) describe(a *answer) Details {
	d := Details{"status": a.status, "bytes": a.size}
	for key, name := range map[string]string{"content_type": "Content-Type", "server": "Server", "via": "Via"} {
		if v := a.header.Get(name); v != "" {
			d[key] = e.foreign(v)
		}
	}
	if why := e.said(a); why != "" {
		d["body"] = why
	}
	if len(a.hops) > 0 {
		var list []string
		for _, h := range a.hops {
			list = append(list, strconv.Itoa(h.status)+" "+h.to)
		}
		d["redirects"] = list
	}
	return d
}

// said is the server's own text, if it is text for people.
func (e *exam) said(a *answer) string {
	if a.html() || !strings.HasPrefix(strings.ToLower(a.header.Get("Content-Type")), "text/plain") {
		return ""
	}
	return e.foreign(string(a.kept))
}

func (e *exam) reason(a *answer) string {
	if s := e.said(a); s != "" {
		return "It says: " + s
	}
	return ""
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
