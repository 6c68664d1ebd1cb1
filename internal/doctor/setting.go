package doctor

import (
	"net/url"
	"strings"
)

// Setting is a value and where it comes from. Set but empty is not the same as not set: Nx sends a bare "Bearer"
// for an empty token and no header for none.
type Setting struct {
	Value  string
	Set    bool
	Source string
}

func (s Setting) orNone() Setting {
	if !s.Set {
		return Setting{}
	}
	return s
}

// environ is an environment as a map; of doubles the last wins, as in os/exec.
type environ map[string]string

func parseEnviron(list []string) environ {
	env := make(environ, len(list))
	for _, entry := range list {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

func (env environ) lookup(name string) (string, bool) {
	value, ok := env[name]
	return value, ok
}

func (env environ) get(name string) string { return env[name] }

// redactURL hides the password and the query of a URL, and keeps what is no URL as it is: then
// its form is what a person has to see.
func redactURL(s string) string {
	u, err := url.Parse(s)
	if err == nil {
		if u.RawQuery != "" {
			u.RawQuery = "redacted"
		}
		return u.Redacted()
	}
	// A broken URL may hold credentials all the same.
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		return "redacted" + s[at:]
	}
	return s
}
