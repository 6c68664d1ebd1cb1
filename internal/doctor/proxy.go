package doctor

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// proxy is the HTTP proxy that Nx's client would use for the server.
type proxy struct {
	url      *url.URL
	variable string
}

// findProxy follows reqwest, the HTTP library of Nx's client, and not net/http: ALL_PROXY counts, and loopback
// gets no exception (observed with nx 20.8.4 and 24.0.6). The lower-case name of a variable wins.
func findProxy(env environ, t target) (*proxy, error) {
	names := []string{"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"}
	if t.scheme == "https" {
		names = []string{"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}
	}
	for _, name := range names {
		// In a CGI process HTTP_PROXY may be a request header of the same name.
		if value := env.get(name); value != "" && (name != "HTTP_PROXY" || env.get("REQUEST_METHOD") == "") {
			if exempt(env, t.host) {
				return nil, nil
			}
			if !strings.Contains(value, "://") {
				value = "http://" + value
			}
			u, err := url.Parse(value)
			if err != nil || u.Hostname() == "" {
				return &proxy{variable: name}, &url.Error{Op: "read", URL: name, Err: errNoProxyURL}
			}
			return &proxy{url: u, variable: name}, nil
		}
	}
	return nil, nil
}

func (p *proxy) address() string {
	port := p.url.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[p.url.Scheme]
	}
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(p.url.Hostname(), port)
}

// exempt reports whether NO_PROXY names the host: by itself, by a parent domain, by a network, or by "*".
func exempt(env environ, host string) bool {
	list, ok := env.lookup("no_proxy")
	if !ok {
		list = env.get("NO_PROXY")
	}
	host = strings.ToLower(host)
	addr, addrErr := netip.ParseAddr(host)
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			continue
		}
		if entry == "*" {
			return true
		}
		if addrErr == nil {
			if prefix, err := netip.ParsePrefix(entry); err == nil && prefix.Contains(addr) {
				return true
			}
			if one, err := netip.ParseAddr(entry); err == nil && one == addr {
				return true
			}
			continue
		}
		domain := strings.TrimPrefix(entry, ".")
		if host == domain || strings.HasSuffix(host, "."+domain) {
			return true
		}
	}
	return false
}

func (e *exam) checkProxy(context.Context) {
	p, err := findProxy(e.env, e.target)
	switch {
	case err != nil:
		e.add(Finding{ID: IDProxy, Status: Warn, Title: "the value of " + p.variable + " is no proxy's URL",
			Means: "Nx's client ignores it or fails with it; the checks that follow go without a proxy.",
			Do:    "Correct or unset " + p.variable + "."})
	case p == nil:
		e.ok(IDProxy, nil, "no HTTP proxy is set for this server")
	case e.target.loopback():
		e.proxy = p
		e.add(Finding{ID: IDProxy, Status: Warn,
			Title:   "requests to this machine itself go through the proxy " + p.url.Redacted() + " (" + p.variable + ")",
			Means:   "Nx's client makes no exception for loopback: the proxy has to reach a server that only this machine can.",
			Do:      "Add " + quoted(e.target.host) + " to NO_PROXY.",
			Details: Details{"proxy": p.url.Redacted(), "variable": p.variable}})
	default:
		e.proxy = p
		e.ok(IDProxy, Details{"proxy": p.url.Redacted(), "variable": p.variable},
			"requests go through the proxy %s (%s)", p.url.Redacted(), p.variable)
	}
}
