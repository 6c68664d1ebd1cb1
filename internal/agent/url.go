package agent

import (
	"net/netip"
	"net/url"
	"strings"
)

// parseServer reads the base URL of a server: https, or http on loopback or if that is allowed, without credentials, query and fragment.
// Slashes at its end are dropped. Its errors are [*Failure], since the value comes from the environment of a job, and do not repeat what was
// given, which may hold a password.
func parseServer(text string, allowHTTP bool) (*url.URL, error) {
	bad := func(problem, remedy string) (*url.URL, error) { return nil, &Failure{Problem: problem, Remedy: remedy} }
	u, err := url.Parse(text)
	switch {
	case text == "":
		return bad("no cache server is named", "Give its URL with --server, or set "+ServerVariable)
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return bad("the cache server's address is no URL", "Write it like https://cache.example.com")
	case u.User != nil:
		return bad("the cache server's URL holds a name or password", "Take it out; the CI's identity is the credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("the cache server's URL has a query or a fragment", "Take it out")
	case !secure(u, allowHTTP):
		return bad("the cache server's URL is http, so that anybody on the way could read the credentials", "Use https; --allow-http sends them all the same")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

// secure reports whether a credential may be sent to u.
func secure(u *url.URL, allowHTTP bool) bool {
	switch u.Scheme {
	case "https":
		return true
	case "http":
		host := strings.ToLower(u.Hostname())
		ip, err := netip.ParseAddr(host)
		return allowHTTP || host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
	}
	return false
}
