package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// tokenJSON is what --json prints of a token. Scripts depend on it: fields are added, never changed.
type tokenJSON struct {
	ID        string     `json:"id"`
	Token     string     `json:"token,omitempty"` // by create alone
	Hash      string     `json:"hash,omitempty"`  // by create alone
	Name      string     `json:"name"`
	Workspace string     `json:"workspace"`
	Access    string     `json:"access"`
	Developer string     `json:"developer"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires"`
	Revoked   *time.Time `json:"revoked"`
}

func newTokenJSON(t *trust.Token, now time.Time) tokenJSON {
	return tokenJSON{
		ID: t.ID, Name: t.Name, Workspace: string(t.Workspace), Access: string(t.Access), Developer: t.Developer, State: string(t.State(now)),
		Created: t.Created, Expires: orNull(t.Expires), Revoked: orNull(t.Revoked),
	}
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// showNewToken shows a token's text: the only place that does. It goes to standard output alone, so that a script can keep the one
// and let people, or the log of a build, see the other.
func showNewToken(env *environment, cfg *config.Config, t trust.Token, text string, asJSON bool) error {
	if asJSON {
		out := newTokenJSON(&t, t.Created)
		out.Token, out.Hash = text, t.Hash.String()
		return writeJSON(env.Stdout, out)
	}
	whose, developer := "", ""
	if t.Developer != "" {
		whose, developer = " as developer "+t.Developer, `, developer: "`+t.Developer+`"`
	}
	fmt.Fprintf(env.Stderr, "Created token %s (%s): access %s to workspace %s%s, expires %s.\nIt is shown this once; only its hash is kept:\n\n",
		t.ID, t.Name, t.Access, t.Workspace, whose, timeOr(t.Expires, "never"))
	if _, err := fmt.Fprintln(env.Stdout, text); err != nil {
		return err
	}
	expires := ""
	if !t.Expires.IsZero() {
		expires = `, expires: "` + t.Expires.Format(time.RFC3339Nano) + `"`
	}
	fmt.Fprintf(env.Stderr, `
For Nx:

  export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=%s
  export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=<the token>

A server with this data directory knows it from now on. One with another knows it by its configuration:

  tokens:
    - {name: "%s", workspace: "%s", access: %s%s, hash: "%s"%s}
`, serverURL(cfg), t.Name, t.Workspace, t.Access, developer, t.Hash, expires)
	return nil
}

// serverURL guesses where clients find the server.
func serverURL(cfg *config.Config) string {
	if cfg.PublicURL != "" {
		return string(cfg.PublicURL)
	}
	scheme := "http"
	if cfg.TLSCert != "" {
		scheme = "https"
	}
	for _, l := range cfg.Listen {
		if l.Network != config.TCP {
			continue
		}
		if host, port, err := net.SplitHostPort(l.Address); err == nil && host != "" && port != "0" && !net.ParseIP(host).IsUnspecified() {
			return scheme + "://" + l.Address
		}
	}
	return scheme + "://<name and port of the server>"
}

func showTokens(w io.Writer, tokens []trust.Token, now time.Time, asJSON bool) error {
	if asJSON {
		out := make([]tokenJSON, 0, len(tokens)) // [] and not null
		for i := range tokens {
			out = append(out, newTokenJSON(&tokens[i], now))
		}
		return writeJSON(w, out)
	}
	if len(tokens) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tWORKSPACE\tACCESS\tDEVELOPER\tCREATED\tEXPIRES\tSTATE")
	for i := range tokens {
		t := &tokens[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			t.ID, t.Name, t.Workspace, t.Access, t.Developer, timeOr(t.Created, ""), timeOr(t.Expires, "never"), t.State(now))
	}
	return table.Flush()
}

func showRevoked(w io.Writer, t trust.Token, now time.Time, asJSON bool) error {
	if asJSON {
		return writeJSON(w, newTokenJSON(&t, now))
	}
	what := "is revoked: a running server refuses it within a second"
	if t.Revoked.Before(now) {
		what = "was revoked already, on " + timeOr(t.Revoked, "")
	}
	_, err := fmt.Fprintf(w, "The token %s (%s) of workspace %s %s.\n", t.ID, t.Name, t.Workspace, what)
	return err
}

func timeOr(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.UTC().Format(time.RFC3339)
}
