package doctor

import (
	"context"
	"net"
	"net/url"
	"strings"
)

// target is the server as Nx takes it from its setting.
type target struct {
	// base is what "/v1/cache/{hash}" is appended to. It ends with a slash if the setting does.
	base   string
	scheme string
	host   string // without port and brackets
	port   string
}

// loopback reports whether the name itself says that nothing leaves this machine.
func (t target) loopback() bool {
	if t.host == "localhost" || strings.HasSuffix(t.host, ".localhost") {
		return true
	}
	ip := net.ParseIP(t.host)
	return ip != nil && ip.IsLoopback()
}

// urlTrouble is what is wrong with a URL. Warnings leave it usable.
type urlTrouble struct {
	status           Status
	title, means, do string
}

// Nx puts the setting before "/v1/cache/{hash}" and parses the whole by the WHATWG rules, which drop line breaks,
// tabs and leading blanks, and fail on blanks and quotes elsewhere. Observed with nx 20.8.4 and 24.0.6: "builder
// error" for quotes, a trailing blank and a missing scheme; a query or a fragment swallows the path.
func parseTarget(setting string) (target, *urlTrouble) {
	fails := func(title, do string) (target, *urlTrouble) {
		return target{}, &urlTrouble{Fail, title, "Nx cannot make a request from it: every build fails.", do}
	}
	raw := strings.TrimLeft(strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(setting), " ")
	const where = "Set " + ServerVariable + " to something like https://cache.example.com."
	switch {
	case raw == "":
		return fails("the URL is empty", where)
	case strings.ContainsAny(raw, "\"'`"):
		return fails("the URL has quotes in it: "+quoted(redactURL(raw)), "Remove the quotes. CI systems keep those that are written in their forms.")
	case strings.Contains(raw, " "):
		return fails("the URL has a blank in it: "+quoted(redactURL(raw)), "Remove the blanks, also at its end.")
	case strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fails("the URL has a control character in it: "+quoted(redactURL(raw)), "Write it anew, by hand.")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return fails("this is no URL: "+quoted(redactURL(raw)), where)
	}
	// "localhost:8099" parses as the scheme "localhost".
	if u.Scheme == "" || u.Opaque != "" {
		return fails("the URL has no scheme: "+quoted(redactURL(raw)), "Write http:// or https:// before it.")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return fails("Nx does not speak "+quoted(u.Scheme), "Use http:// or https://.")
	}
	if u.Hostname() == "" {
		return fails("the URL names no host: "+quoted(redactURL(raw)), where)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#") {
		return fails("the URL has a query or a fragment", "Remove what begins with ? or #: Nx appends its path behind it.")
	}
	t := target{base: raw, scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	if t.port == "" {
		t.port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	switch {
	case raw != setting:
		return t, &urlTrouble{Warn, "the URL has a line break, a tab or leading blanks",
			"Nx's URL parser drops them today. Other tools, and proxies' exception lists, do not.",
			"Remove them from " + ServerVariable + "."}
	case u.User != nil:
		return t, &urlTrouble{Warn, "the URL has a user name or password in it",
			"Nx sends them as Basic authorization, and they show up in logs.",
			"Remove them and give the token in " + TokenVariable + "."}
	case strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/v1/cache"):
		return t, &urlTrouble{Warn, "the URL ends with /v1/cache",
			"Nx appends /v1/cache/HASH itself, so it asks for " + quoted(u.Path+"/v1/cache/HASH") + ".",
			"Remove /v1/cache from the URL, unless the server is mounted there."}
	}
	return t, nil
}

func (e *exam) checkURL(context.Context) {
	if e.server.Value == "" {
		e.add(Finding{ID: IDURL, Status: Fail, Title: "no server is set",
			Means: "Builds from here use no self-hosted cache at all.",
			Do:    "Set " + ServerVariable + ", or name the server as an argument."})
		e.blocked = "no server is set"
		return
	}
	t, trouble := parseTarget(e.server.Value)
	e.target = t
	details := Details{"scheme": t.scheme, "host": t.host, "port": t.port}
	if trouble != nil {
		if trouble.status == Fail {
			e.blocked, details = "the URL is unusable", nil
		}
		e.add(Finding{ID: IDURL, Status: trouble.status, Title: trouble.title, Means: trouble.means, Do: trouble.do, Details: details})
		return
	}
	if t.scheme == "http" && !t.loopback() && e.token.Value != "" {
		e.add(Finding{ID: IDURL, Status: Warn, Title: "a token travels over plain http to " + t.host,
			Means:   "Everybody on the way can read the token, and replace artifacts.",
			Do:      "Use https, or make sure that this network is yours alone.",
			Details: details})
		return
	}
	e.ok(IDURL, details, "%s, host %s, port %s", t.scheme, t.host, t.port)
}
