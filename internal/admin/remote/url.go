package remote

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// parseServer reads the base URL of a server. Its errors do not repeat it: it may hold a password.
func parseServer(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the server's address is no URL: write it like https://cache.example.com")
	case u.User != nil:
		return nil, errors.New("the server's URL holds a name or password: take it out, the token is the credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("the server's URL has a query or a fragment: take it out")
	case u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return nil, errors.New("the server's URL is http, so that anybody on the way could read the token: use https, or run the command on the server's machine")
	}
	u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), strings.TrimRight(u.RawPath, "/")
	return u, nil
}

func onThisMachine(host string) bool {
	host = strings.ToLower(host)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && ip.Unmap().IsLoopback()
}
