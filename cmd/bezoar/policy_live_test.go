package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// followers write down what they are told, in order.
type followers struct{ told []string }

func (f *followers) SetPolicy(p *policy.Policy) {
	f.told = append(f.told, fmt.Sprint("policy ", p.Workspaces()))
}

func (f *followers) Configure(audience string, issuers []oidc.Issuer) {
	f.told = append(f.told, fmt.Sprint("issuers ", audience, " ", issuers[0].URL))
}

const onePolicy = `version: 1
audience: https://cache.example.com
workspaces:
  %s:
    github:
      repository_id: 456789
      owner_id: 123456
      repository: acme/web
      trusted: {branches: [main]}
      %s
`

func TestLivePolicy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(path, []byte(fmt.Sprintf(onePolicy, "web", "")), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &lockedBuffer{}
	l, err := openPolicy(path, slog.New(slog.NewJSONHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	f := &followers{}
	l.auth, l.identities = f, f
	first := l.current.Load()

	for name, refused := range map[string]struct {
		data string
		err  error
		want string
	}{
		"does not parse": {data: "version: 9", want: "version"},
		"is not there":   {err: os.ErrNotExist, want: os.ErrNotExist.Error()},
		"is empty":       {data: "", want: "policy.yaml"},
	} {
		log.b.Reset()
		l.take([]byte(refused.data), refused.err)
		if l.Degraded() == nil || l.current.Load() != first || len(f.told) > 0 {
			t.Errorf("a policy that %s: degraded %v, told %v", name, l.Degraded(), f.told)
		}
		if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "the policy before stays in force") ||
			!strings.Contains(got, refused.want) || !strings.Contains(got, first.Fingerprint()) {
			t.Errorf("a policy that %s: the log: %s", name, got)
		}
	}

	// The verifier first, then whoever judges.
	log.b.Reset()
	l.take([]byte(fmt.Sprintf(onePolicy, "shop", "forks: public-read")), nil)
	if want := []string{"issuers https://cache.example.com https://token.actions.githubusercontent.com", "policy [shop]"}; !slices.Equal(f.told, want) {
		t.Errorf("told %q, want %q", f.told, want)
	}
	second := l.current.Load()
	if l.Degraded() != nil || second.Fingerprint() == first.Fingerprint() {
		t.Errorf("degraded %v, %s", l.Degraded(), second.Fingerprint())
	}
	got := log.String()
	for _, want := range []string{`"old":"` + first.Fingerprint() + `"`, `"new":"` + second.Fingerprint() + `"`, `"level":"WARN"`, "github.forks"} {
		if !strings.Contains(got, want) {
			t.Errorf("the log lacks %s: %s", want, got)
		}
	}
}
