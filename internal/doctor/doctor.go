// Package doctor examines a remote cache server from where a build runs, as Nx's own client would meet it, and, if
// asked, the Nx workspace that is to use it. It yields findings: what was seen, what it means to a build and
// what to do.
//
// It judges by behaviour alone, so it works with every server that claims to speak Nx's cache API. What
// Nx makes of an answer was observed with nx 20.8.0 to 24.0.6 and read in
// nrwl/nx, packages/nx/src/native/cache/http_remote_cache.rs and errors.rs.
//
// All that it reads, answers and workspace files alike, is hostile: sizes are bounded, waits have deadlines, files are
// opened inside the workspace only, and texts are made printable. A token never reaches a finding.
package doctor

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// The two variables by which Nx is told of a self-hosted cache.
const (
	ServerVariable = "NX_SELF_HOSTED_REMOTE_CACHE_SERVER"
	TokenVariable  = "NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN"
)

// Defaults of [Options].
const (
	DefaultSize    = 16 << 20
	DefaultSamples = 10
	DefaultAnswer  = 20 * time.Second
	DefaultDial    = 5 * time.Second
)

// ErrNoServer says that there is nothing to examine: neither a server nor a workspace.
var ErrNoServer = errors.New("no server is named")

// Resolver looks names up; [net.Resolver] does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DialFunc opens connections, as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Options says what to examine, and with what. The zero value of a field means its default; only one of Server,
// Environ and Workspace has to name a server.
type Options struct {
	// Server and Token, where set, win over the environment.
	Server, Token Setting
	// Environ is the environment of the build, as [os.Environ] gives it. The variables for TLS and proxies are
	// read from it too.
	Environ []string
	// Workspace is the directory of an Nx workspace; empty: none is examined.
	Workspace string

	// Size counts the bytes of the large body; 0: none is sent. Bodies are streamed, never held.
	Size int64
	// Samples counts the requests of each latency measurement.
	Samples int
	// Answer bounds each wait in which nothing moves: for an answer, or for the next bytes of a body.
	Answer time.Duration
	// Dial bounds each connect.
	Dial time.Duration

	// Resolver, Connect, Roots, Now and Random default to the system's. Roots stands for the system's trust store.
	Resolver Resolver
	Connect  DialFunc
	Roots    *x509.CertPool
	Now      func() time.Time
	Random   io.Reader
}

func (o *Options) setDefaults() {
	if o.Samples <= 0 {
		o.Samples = DefaultSamples
	}
	if o.Answer <= 0 {
		o.Answer = DefaultAnswer
	}
	if o.Dial <= 0 {
		o.Dial = DefaultDial
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	if o.Connect == nil {
		o.Connect = new(net.Dialer).DialContext
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
}

// exam is one examination under way.
type exam struct {
	opts   Options
	env    environ
	report *Report

	server, token Setting
	target        target
	proxy         *proxy
	insecure      bool // NODE_TLS_REJECT_UNAUTHORIZED=0: Nx checks no certificate
	privateCA     bool // the certificate bears no sign of a public CA
	http          *client
	workspace     *workspace

	stored stored
	// blocked says why later steps are pointless; empty while they are not.
	blocked string
}

// step is a part of the examination and the findings that it owes. What it does not report is reported as
// skipped, so that every report has the same ids in the same order.
type step struct {
	ids []string
	run func(*exam, context.Context)
}

func steps() []step {
	return []step{
		{[]string{IDURL}, (*exam).checkURL},
		{[]string{IDTokenFormat}, (*exam).checkTokenFormat},
		{[]string{IDProxy}, (*exam).checkProxy},
		{[]string{IDDNS}, (*exam).checkDNS},
		{[]string{IDPort}, (*exam).checkPort},
		{[]string{IDTLSHandshake, IDTLSTrust, IDTLSName, IDTLSExpiry}, (*exam).checkTLS},
		{[]string{IDMiss}, (*exam).checkMiss},
		{[]string{IDUpload, IDAccess}, (*exam).checkUpload},
		{[]string{IDHit}, (*exam).checkHit},
		{[]string{IDOnce}, (*exam).checkOnce},
		{[]string{IDLarge}, (*exam).checkLarge},
		{[]string{IDSlashes}, (*exam).checkSlashes},
		{[]string{IDWrongToken}, (*exam).checkWrongToken},
		{[]string{IDLatency}, (*exam).checkLatency},
	}
}

// Run examines. The error is [ErrNoServer], or says why the workspace cannot be opened; whatever is wrong with
// the server is a finding. When ctx ends, what was under way fails and the rest is skipped.
func Run(ctx context.Context, opts Options) (*Report, error) {
	opts.setDefaults()
	e := &exam{opts: opts, env: parseEnviron(opts.Environ), report: &Report{}}
	if opts.Workspace != "" {
		w, err := openWorkspace(opts.Workspace, e.env)
		if err != nil {
			return nil, fmt.Errorf("open the Nx workspace: %w", err)
		}
		defer w.close()
		e.workspace = w
	}
	e.settle()
	if e.server.Value == "" && e.workspace == nil {
		return nil, ErrNoServer
	}
	for _, s := range steps() {
		if e.blocked == "" && ctx.Err() != nil {
			e.blocked = "the time for all checks was over"
		}
		if e.blocked == "" {
			s.run(e, ctx)
		}
		for _, id := range s.ids {
			if !e.report.has(id) {
				e.skip(id, e.blocked)
			}
		}
	}
	if e.http != nil {
		e.http.close()
	}
	if e.workspace != nil {
		e.checkWorkspace()
	}
	e.report.conclude(e.stored.small)
	return e.report, nil
}

// settle decides which server and token a build would use: what was given on the command line, else the
// environment, else, with a workspace, its .env files.
func (e *exam) settle() {
	e.server = e.choose(e.opts.Server, ServerVariable)
	e.token = e.choose(e.opts.Token, TokenVariable)
	e.report.Server = printable(redactURL(e.server.Value), maxText)
	e.report.ServerSource = e.server.Source
	e.report.TokenSource = e.token.Source
	e.insecure = e.env.get("NODE_TLS_REJECT_UNAUTHORIZED") == "0"
}

func (e *exam) choose(given Setting, variable string) Setting {
	if given.Set {
		return given
	}
	s := Setting{Source: "environment"}
	s.Value, s.Set = e.env.lookup(variable)
	if e.workspace == nil {
		return s.orNone()
	}
	return e.workspace.choose(s, variable).orNone()
}
