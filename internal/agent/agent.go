// Package agent is the client side: it gets a job of a CI its session with a server.
package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The variables that Nx reads. The value of ServerVariable may end in a slash and may have a path; an empty one turns the remote
// cache off.
const (
	ServerVariable = "NX_SELF_HOSTED_REMOTE_CACHE_SERVER"
	TokenVariable  = "NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN"
)

// Defaults of [Options].
const (
	DefaultAttempt = 10 * time.Second
	maxToken       = 8 << 10  // what a server takes and gives, in bytes
	maxAnswer      = 64 << 10 // an answer holds a token and some names
)

// defaultWaits are the pauses before each further attempt.
var defaultWaits = [...]time.Duration{250 * time.Millisecond, time.Second}

// Options say what session to get.
type Options struct {
	// Server is the base URL, as Nx reads it.
	Server string
	// Audience is what the CI's token is made for. Empty: the server's scheme, name and port.
	Audience string
	// TTL is how long the session shall live, at least a second. 0: as long as the server's policy says.
	TTL time.Duration
	// AllowHTTP lets credentials travel unencrypted. Without it that is for loopback alone.
	AllowHTTP bool
	// CI gives the job's identity token.
	CI CI
	// Transport sends requests.
	Transport http.RoundTripper
	// Waits are the pauses before further attempts; nil: two, of 250 ms and 1 s. There are as many attempts more as there are waits.
	Waits []time.Duration
	// Attempt bounds one request. 0: [DefaultAttempt].
	Attempt time.Duration
}

// Session is what a job gets from a server.
type Session struct {
	// Server is the base URL, without a slash at its end.
	Server string `json:"server"`
	// Token is what Nx presents.
	Token   string    `json:"token"`
	Expires time.Time `json:"expires_at,omitzero"`
	// Workspace, Read and Write are what the server granted; Write is empty if nothing may be stored.
	Workspace string   `json:"workspace,omitempty"`
	Read      []string `json:"read,omitempty"`
	Write     string   `json:"write,omitempty"`
	// Direct says that Token is the CI's own, because it could not be exchanged and needs not be. Nothing else is known then.
	Direct bool `json:"direct,omitempty"`
}

// Failure is why there is no session. Its texts hold no credential.
type Failure struct {
	// Problem says what happened, Remedy what to do.
	Problem, Remedy string
	// Unreachable says that the server itself did not answer, or not sensibly. A build that uses it all the same would fail.
	Unreachable bool

	again bool   // a further attempt may go better
	cause string // the server's own word for it
}

func (f *Failure) Error() string {
	if f.Remedy == "" {
		return f.Problem
	}
	return f.Problem + ". " + f.Remedy
}

// Get takes the CI's token to the server and returns the session that it gives. It tries again after trouble of the transport and answers of
// 500 and above, and never after a refusal. Its errors are [*Failure].
func Get(ctx context.Context, opts Options) (*Session, error) {
	base, err := parseServer(opts.Server, opts.AllowHTTP)
	if err != nil {
		return nil, err
	}
	if opts.Audience == "" {
		opts.Audience = base.Scheme + "://" + base.Host
	}
	c := newClient(opts)
	waits := opts.Waits
	if waits == nil {
		waits = defaultWaits[:]
	}
	for i := 0; ; i++ {
		// Each attempt asks the CI anew: an exchange whose answer got lost may have used the token up.
		session, err := attempt(ctx, c, opts, base.String())
		if err == nil {
			return session, nil
		}
		f, ok := errors.AsType[*Failure](err)
		if !ok || !f.again || i == len(waits) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(waits[i]):
		}
	}
}

func attempt(ctx context.Context, c *client, opts Options, base string) (*Session, error) {
	token, err := opts.CI.token(ctx, c, opts.Audience)
	if err != nil {
		return nil, err
	}
	session, err := c.exchange(ctx, base, token, opts.TTL)
	f, failed := errors.AsType[*Failure](err)
	if failed && opts.CI.direct() && (f.cause == "replayed" || f.cause == "ledger") {
		// A second step of the job, or a ledger in trouble. The token is good by itself, for as long as the job runs.
		return &Session{Server: base, Token: token, Direct: true}, nil
	}
	if failed && f.cause == "audience" {
		f.Remedy = "The server's policy says what it must be made for; name that with --audience, or where the CI's configuration makes the token"
	}
	return session, err
}

// Summary says in a line what the session may do. Names in it are quoted where they are not plain.
func (s *Session) Summary() string {
	if s.Direct {
		return "the CI's own token serves as the credential, since it could not be exchanged"
	}
	writes := "stores nothing"
	if s.Write != "" {
		writes = "writes " + plain(s.Write)
	}
	reads := "reads nothing"
	if len(s.Read) > 0 {
		scopes := make([]string, len(s.Read))
		for i, scope := range s.Read {
			scopes[i] = plain(scope)
		}
		reads = "reads " + strings.Join(scopes, ", ")
	}
	return fmt.Sprintf("workspace %s: %s; %s; until %s", plain(s.Workspace), reads, writes, s.Expires.UTC().Format(time.RFC3339))
}

// plain makes text of others fit for a log that a CI reads commands in: short, in one line, without control characters, and
// without what the runners of GitHub (##[) and Azure (##vso[) take for a command wherever it stands.
func plain(text string) string {
	const most = 300
	if len(text) > most {
		text = text[:most] + "…"
	}
	quoted := strconv.QuoteToASCII(strings.TrimSpace(text))
	quoted = strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
	return strings.ReplaceAll(quoted, "##", "# # ")
}
