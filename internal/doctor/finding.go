package doctor

import (
	"fmt"
	"strings"
)

// Status is the outcome of a check.
type Status string

// Outcomes. A warning is worth reading and breaks no build today; a skipped check says why in its title.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Ids of findings. They are stable: scripts may rely on them.
const (
	IDURL          = "url"
	IDProxy        = "proxy"
	IDDNS          = "dns"
	IDPort         = "port"
	IDTLSHandshake = "tls.handshake"
	IDTLSTrust     = "tls.trust"
	IDTLSName      = "tls.name"
	IDTLSExpiry    = "tls.expiry"
	IDTokenFormat  = "token.format"
	IDAccess       = "token.access"
	IDWrongToken   = "token.wrong"
	IDMiss         = "cache.miss"
	IDUpload       = "cache.upload"
	IDHit          = "cache.hit"
	IDOnce         = "cache.once"
	IDLarge        = "cache.large"
	IDSlashes      = "http.slashes"
	IDLatency      = "http.latency"

	IDNxVersion  = "nx.version"
	IDNxJSON     = "nx.json"
	IDNxPackages = "nx.packages"
	IDNxCloud    = "nx.cloud"
	IDNxRunner   = "nx.runner"
	IDNxSwitches = "nx.switches"
	IDNxTargets  = "nx.targets"
	IDNxEnvFiles = "nx.env-files"
)

// Details are the facts of a finding for programs. Keys are stable where they exist.
type Details map[string]any

// Finding is the outcome of one check.
type Finding struct {
	ID     string `json:"id"`
	Status Status `json:"status"`
	// Title is what was seen, in one line.
	Title string `json:"title"`
	// Means is what it means to builds, and Do what to do about it. Both are empty where all is well.
	Means   string  `json:"means,omitempty"`
	Do      string  `json:"do,omitempty"`
	Details Details `json:"details,omitempty"`

	// bypass: Nx would not ask this server at all. mild: a failure that breaks no build.
	bypass, mild bool
}

// Report is what an examination yields.
type Report struct {
	// Server is the URL as configured, without password and query; empty if none is.
	Server string `json:"server"`
	// ServerSource and TokenSource say where the settings come from: "argument", "environment", a file.
	ServerSource string    `json:"server_source,omitempty"`
	TokenSource  string    `json:"token_source,omitempty"`
	Findings     []Finding `json:"findings"`
	Summary      Summary   `json:"summary"`
}

// Summary counts findings and says in a sentence what builds can expect.
type Summary struct {
	Status   Status `json:"status"`
	OK       int    `json:"ok"`
	Warnings int    `json:"warnings"`
	Failures int    `json:"failures"`
	Skipped  int    `json:"skipped"`
	Text     string `json:"text"`
}

func (r *Report) has(id string) bool {
	for i := range r.Findings {
		if r.Findings[i].ID == id {
			return true
		}
	}
	return false
}

// add keeps f, with every text in it printable, bounded and without the token.
func (e *exam) add(f Finding) {
	f.Title, f.Means, f.Do = e.clean(f.Title), e.clean(f.Means), e.clean(f.Do)
	for key, value := range f.Details {
		switch v := value.(type) {
		case string:
			f.Details[key] = e.clean(v)
		case []string:
			list := make([]string, len(v))
			for i := range v {
				list[i] = e.clean(v[i])
			}
			f.Details[key] = list
		}
	}
	e.report.Findings = append(e.report.Findings, f)
}

func (e *exam) ok(id string, details Details, format string, args ...any) {
	e.add(Finding{ID: id, Status: OK, Title: fmt.Sprintf(format, args...), Details: details})
}

func (e *exam) skip(id, why string) {
	if why == "" {
		why = "an earlier check left nothing to see"
	}
	e.add(Finding{ID: id, Status: Skip, Title: "not checked: " + why})
}

// clean makes a text that may hold foreign words fit to be shown.
func (e *exam) clean(s string) string {
	// Very short tokens are left alone here: to replace every "a" in our own words would give the token away.
	if t := strings.TrimSpace(e.token.Value); len(t) >= 6 {
		s = strings.ReplaceAll(s, t, "[token]")
	}
	return printable(s, maxText)
}

// foreign is a text of the server's, which may echo what it was sent.
func (e *exam) foreign(s string) string {
	if t := strings.TrimSpace(e.token.Value); t != "" {
		s = strings.ReplaceAll(s, t, "[token]")
	}
	return printable(strings.TrimSpace(s), 300)
}

func (r *Report) conclude(writes bool) {
	s := &r.Summary
	var bypass, breaks, server bool
	for _, f := range r.Findings {
		nx := strings.HasPrefix(f.ID, "nx.")
		switch f.Status {
		case OK:
			s.OK++
		case Warn:
			s.Warnings++
		case Fail:
			s.Failures++
			server = server || !nx
			breaks = breaks || !nx && !f.mild
		case Skip:
			s.Skipped++
		}
		bypass = bypass || f.bypass
	}
	s.Status = OK
	switch {
	case s.Failures > 0:
		s.Status = Fail
	case s.Warnings > 0:
		s.Status = Warn
	}
	s.Text = sentence(r, breaks, server, bypass, writes)
}

func sentence(r *Report, breaks, server, bypass, writes bool) string {
	switch {
	case r.Server == "":
		return "No server is set: builds from here use no self-hosted cache."
	case breaks:
		return "Builds from here FAIL with this server."
	case server:
		return "Builds from here go on, but this server does not do what a cache must."
	case r.Summary.Failures > 0:
		return "The server is fine, but builds of this workspace do not work with it."
	case bypass && writes:
		return "The server is fine, but builds of this workspace may never ask it."
	case bypass:
		return "Builds of this workspace may never ask this server."
	case writes:
		return "Builds from here will read and write this cache."
	default:
		return "Builds from here go on with this server, but nothing they upload is stored."
	}
}
