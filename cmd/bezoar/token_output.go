package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"text/tabwriter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/config"
)

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// showNewToken shows a token's text: the only place that does. It goes to standard output alone, so that a script can keep the one
// and let people, or the log of a build, see the other.
func showNewToken(env *environment, url string, t admin.CreatedToken, asJSON bool) error {
	if asJSON {
		return writeJSON(env.Stdout, t)
	}
	if t.Role != "" {
		return showNewRole(env, url, t)
	}
	whose, developer := "", ""
	if t.Developer != "" {
		whose, developer = " as developer "+t.Developer, `, developer: "`+t.Developer+`"`
	}
	fmt.Fprintf(env.Stderr, "Created token %s (%s): access %s to workspace %s%s, expires %s.\nIt is shown this once; only its hash is kept:\n\n",
		t.ID, t.Name, t.Access, t.Workspace, whose, timeOrNull(t.Expires, "never"))
	if _, err := fmt.Fprintln(env.Stdout, t.Token); err != nil {
		return err
	}
	expires := ""
	if t.Expires != nil {
		expires = `, expires: "` + t.Expires.Format(time.RFC3339Nano) + `"`
	}
	fmt.Fprintf(env.Stderr, `
For Nx:

  export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=%s
  export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=<the token>

A server with this data directory knows it from now on. One with another knows it by its configuration:

  tokens:
    - {name: "%s", workspace: "%s", access: %s%s, hash: "%s"%s}
`, url, t.Name, t.Workspace, t.Access, developer, t.Hash, expires)
	return nil
}

// showNewRole is showNewToken for one of operators.
func showNewRole(env *environment, url string, t admin.CreatedToken) error {
	where := "the whole server"
	if t.Workspace != "" {
		where = "workspace " + t.Workspace
	}
	fmt.Fprintf(env.Stderr, "Created token %s (%s): the role %s for %s, expires %s.\nIt is shown this once; only its hash is kept:\n\n",
		t.ID, t.Name, t.Role, where, timeOrNull(t.Expires, "never"))
	if _, err := fmt.Fprintln(env.Stdout, t.Token); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, `
It is none of the cache: builds have tokens of their own. For commands, put it into a file that nobody else can read:

  export BEZOAR_SERVER=%s
  export BEZOAR_TOKEN_FILE=<that file>
`, url)
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

func showTokens(w io.Writer, tokens []admin.Token, asJSON bool) error {
	if asJSON {
		return writeJSON(w, tokens)
	}
	if len(tokens) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tNAME\tWORKSPACE\tACCESS\tDEVELOPER\tCREATED\tEXPIRES\tSTATE")
	for i := range tokens {
		t := &tokens[i]
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, t.Name, cmp.Or(t.Workspace, "(all)"), cmp.Or(t.Access, "role "+t.Role), t.Developer,
			timeOr(t.Created, ""), timeOrNull(t.Expires, "never"), t.State)
	}
	return table.Flush()
}

func showRevoked(w io.Writer, change admin.TokenChange, asJSON bool) error {
	t := change.Token
	if asJSON {
		return writeJSON(w, t)
	}
	what := "is revoked: a running server refuses it within a second"
	if !change.Changed {
		what = "was revoked already, on " + timeOrNull(t.Revoked, "")
	}
	whose := " of workspace " + t.Workspace
	if t.Workspace == "" {
		whose = ""
	}
	_, err := fmt.Fprintf(w, "The token %s (%s)%s %s.\n", t.ID, t.Name, whose, what)
	return err
}

func timeOrNull(t *time.Time, null string) string {
	if t == nil {
		return null
	}
	return timeOr(*t, null)
}

func timeOr(t time.Time, zero string) string {
	if t.IsZero() {
		return zero
	}
	return t.UTC().Format(time.RFC3339)
}
