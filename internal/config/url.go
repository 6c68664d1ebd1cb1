package config

import (
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
)

// StoreURL says where artifacts are kept.
type StoreURL struct {
	// Scheme names the backend. There is one: "file".
	Scheme string
	// Path is the absolute path of the directory, in the form of the operating system.
	Path string
}

// PublicURL is an http or https URL without query, fragment, user or trailing slash.
type PublicURL string

const schemeFile = "file"

func fileStore(path string) StoreURL { return StoreURL{Scheme: schemeFile, Path: path} }

// String returns the URL, escaped where it must be.
func (s StoreURL) String() string {
	if s.Scheme == "" {
		return ""
	}
	path := filepath.ToSlash(s.Path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	return (&url.URL{Scheme: s.Scheme, Path: path}).String()
}

func parseStoreURL(text string) (any, error) {
	const hint = "write for example file:///var/lib/bezoar/store"
	if !strings.Contains(text, ":") {
		hint := hint
		if strings.HasPrefix(text, "/") && quoted(text)[0] == '"' {
			hint = "write " + fileStore(filepath.Clean(text)).String()
		}
		return nil, &flaw{quoted(text) + " is a path, not a URL", hint}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, &flaw{quoted(text) + " is not a URL", hint}
	case u.Scheme != schemeFile:
		return nil, &flaw{quoted(text) + " is of an unknown kind", "only file:///path exists in this version"}
	case !strings.HasPrefix(text[len(schemeFile):], ":///"):
		return nil, &flaw{quoted(text) + " has no absolute path", "write three slashes after file:, for example file:///var/lib/bezoar/store"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, &flaw{quoted(text) + " has a query or a fragment, which mean nothing here", "write %3F for a question mark and %23 for a number sign in a path"}
	}
	if err := plausible(u.Path, false); err != nil {
		return nil, err
	}
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	if path = filepath.Clean(filepath.FromSlash(path)); !filepath.IsAbs(path) || path == filepath.Dir(path) {
		return nil, &flaw{quoted(text) + " is not the absolute path of a directory below the root", hint}
	}
	return fileStore(path), nil
}

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
