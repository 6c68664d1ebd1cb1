package config

import (
	"net/url"
	"strings"
)

// PublicURL is an http or https URL without query, fragment, user or trailing slash.
type PublicURL string

func parsePublicURL(text string) (any, error) {
	const hint = "write for example https://cache.example.com"
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, &flaw{quoted(text) + " is not a URL", hint}
	case u.User != nil:
		return nil, &flaw{"holds a user name or password (not shown)", hint}
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, &flaw{quoted(text) + " is not an http or https URL", hint}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, &flaw{quoted(text) + " has a query or a fragment", hint}
	}
	return PublicURL(strings.TrimRight(u.String(), "/")), nil
}
