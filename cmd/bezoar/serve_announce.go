package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/config"
)

// announce says on w what a person wants to know first.
func (a *app) announce(w io.Writer) {
	if a.cfg.LogFormat == config.LogJSON {
		a.announceJSON()
		return
	}
	fmt.Fprintf(w, "bezoar %s serves on %s\n\n", version(), strings.Join(a.addresses(), ", "))
	line := func(name, text string) { fmt.Fprintf(w, "  %-12s %s\n", name, text) }
	line("artifacts", a.place)
	if a.cfg.Store.IsBucket() {
		line("uploads", a.uploads())
		line("downloads", a.downloads())
	}
	line("ledger", a.ledger.Place())
	line("workspaces", a.workspaces())
	line("access", a.access())
	if a.policy != nil {
		p := a.policy.current.Load()
		line("policy", fmt.Sprintf("%s (%s), taken up again when it changes", a.policy.path, p.Fingerprint()))
		line("identities", fmt.Sprintf("made for %s by %s", p.Audience(), strings.Join(issuerURLs(p), ", ")))
		audience := ""
		if p.Audience() != a.baseURL() {
			audience = " --audience " + p.Audience()
		}
		fmt.Fprintf(w, "\nIn a job of the CI, where --gitlab takes the place of --github, and curl can do the same with a POST to /v1/session:\n\n"+
			"  bezoar session --github --server %s%s\n", a.baseURL(), audience)
	}
	tokenLine := "export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=<a token from 'bezoar token create'>"
	if a.auth.Open() {
		tokenLine = "export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=open   # anything will do while the server is open"
	}
	fmt.Fprintf(w, "\nIn an Nx workspace:\n\n  export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=%s\n  %s\n\n", a.baseURL(), tokenLine)
}

func (a *app) announceJSON() {
	attrs := []any{
		"version", version(), "url", a.baseURL(), "addresses", a.addresses(), "store", a.place, "ledger", a.ledger.Place(), "open", a.auth.Open(),
		"workspaces", a.auth.Workspaces(),
	}
	if a.policy != nil {
		p := a.policy.current.Load()
		attrs = append(attrs, "policy", a.policy.path, "policy_fingerprint", p.Fingerprint(), "audience", p.Audience(), "issuers", issuerURLs(p))
	}
	a.log.Info("serving", attrs...)
}

// uploads and downloads say what happens between clients and a bucket.
func (a *app) uploads() string {
	switch limit, limited := a.cfg.WriteWait.Limit(); {
	case !limited:
		return fmt.Sprintf("wait for the bucket, in %s", a.cfg.SpoolDir)
	case limit == 0:
		return fmt.Sprintf("go to %s, and from there to the bucket (at most %s)", a.cfg.SpoolDir, a.cfg.SpoolSize)
	}
	return fmt.Sprintf("wait %s for the bucket, and then in %s (at most %s)", a.cfg.WriteWait, a.cfg.SpoolDir, a.cfg.SpoolSize)
}

func (a *app) downloads() string {
	switch {
	case a.cfg.Redirect == config.RedirectOn:
		return fmt.Sprintf("are redirected to the bucket, by URLs that hold for %s: nothing verifies them on the way", a.cfg.RedirectTTL)
	case a.cfg.TierDir != "":
		return fmt.Sprintf("are kept in %s (at most %s)", a.cfg.TierDir, a.cfg.TierSize)
	}
	return "come from the bucket each time: --tier-dir keeps copies"
}

func (a *app) access() string {
	switch {
	case a.auth.Open():
		return "open: everybody on this machine reads and writes, nobody else can connect; the first token ends that"
	case a.policy != nil:
		return "by the policy for CIs, by token for others: 'bezoar token list' shows them, 'bezoar token create' makes one"
	}
	return "by token: 'bezoar token list' shows them, 'bezoar token create' makes one"
}

func (a *app) workspaces() string {
	names := make([]string, 0, 1)
	for _, name := range a.auth.Workspaces() {
		names = append(names, string(name))
	}
	return strings.Join(names, ", ")
}

// addresses are those that are really listened on, port and all.
func (a *app) addresses() []string {
	var all []string
	for _, l := range a.listeners {
		if l.Addr().Network() == "unix" {
			all = append(all, "unix:"+l.Addr().String())
		} else {
			all = append(all, l.Addr().String())
		}
	}
	if a.telemetry != nil {
		all = append(all, a.telemetry.Addr().String()+" (metrics)")
	}
	return all
}

// baseURL is what a client on this machine may use; the configured one if there is one.
func (a *app) baseURL() string {
	if a.cfg.PublicURL != "" {
		return string(a.cfg.PublicURL)
	}
	scheme := "http"
	if a.tls != nil {
		scheme = "https"
	}
	for _, l := range a.listeners {
		tcp, ok := l.Addr().(*net.TCPAddr)
		if !ok {
			continue
		}
		host := tcp.IP.String()
		if tcp.IP.IsUnspecified() {
			if name, err := os.Hostname(); err == nil {
				host = name
			}
		}
		return scheme + "://" + net.JoinHostPort(host, fmt.Sprint(tcp.Port))
	}
	return scheme + "://<the name of your proxy>"
}
