package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// command runs one command line and returns what it wrote.
func command(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), status
}

func mustCommand(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, status := command(t, args...)
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	return stdout
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

func TestTokenJSON(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now().Truncate(time.Millisecond)
	created := decode[admin.CreatedToken](t, mustCommand(t, "token", "create", "--json", "--data", dir,
		"--name", "ci", "--workspace", "web", "--access", "isolated", "--expires", "48h"))
	hash, err := trust.ParseToken(created.Token)
	if err != nil || created.ID != hash.ID() || created.Hash != hash.String() {
		t.Fatalf("%+v: %v", created, err)
	}
	if created.Created.Before(begin) || created.Created.After(time.Now()) || created.Expires == nil || created.Expires.Sub(created.Created) != 48*time.Hour {
		t.Fatalf("%+v", created)
	}
	want := created
	want.Token, want.Hash = "", ""
	if want.Name != "ci" || want.Workspace != "web" || want.Access != "isolated" || want.State != "active" || want.Revoked != nil {
		t.Fatalf("%+v", want)
	}
	list := func() []admin.CreatedToken {
		return decode[[]admin.CreatedToken](t, mustCommand(t, "token", "list", "--json", "--data", dir))
	}
	if diff := cmp.Diff([]admin.CreatedToken{want}, list()); diff != "" {
		t.Fatal(diff)
	}
	revoked := decode[admin.CreatedToken](t, mustCommand(t, "token", "revoke", "--json", "--data", dir, created.ID))
	if revoked.Revoked == nil || revoked.Revoked.Before(created.Created) || revoked.State != "revoked" {
		t.Fatalf("%+v", revoked)
	}
	want.State, want.Revoked = "revoked", revoked.Revoked
	if diff := cmp.Diff(want, revoked); diff != "" {
		t.Fatal(diff)
	}
	again := decode[admin.CreatedToken](t, mustCommand(t, "token", "revoke", "--json", "--data", dir, "ci"))
	if diff := cmp.Diff(want, again); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]admin.CreatedToken{want}, list()); diff != "" {
		t.Fatal(diff)
	}
}

// The fields and their order are what the help promises and scripts read.
func TestTokenJSONForm(t *testing.T) {
	got := mustCommand(t, "token", "create", "--json", "--data", t.TempDir(), "--name", "ci", "--access", "read", "--expires", "never")
	for pattern, with := range map[string]string{
		`bzr_[0-9A-Za-z]{49}`: "TOKEN", `sha256:[0-9a-f]{64}`: "HASH", `"[0-9a-f]{12}"`: `"ID"`, `"20[0-9T:.-]+Z"`: `"TIME"`,
	} {
		got = regexp.MustCompile(pattern).ReplaceAllString(got, with)
	}
	const want = `{
  "id": "ID",
  "token": "TOKEN",
  "hash": "HASH",
  "name": "ci",
  "workspace": "default",
  "access": "read",
  "role": "",
  "developer": "",
  "state": "active",
  "created": "TIME",
  "expires": null,
  "revoked": null
}
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

// A token is seen once, on the standard output of the command that creates it, whatever else is done with it.
func TestTokenIsShownOnce(t *testing.T) {
	dir := t.TempDir()
	text, stderr, status := command(t, "token", "create", "--data", dir, "--name", "ci", "--access", "trusted")
	if status != exitOK {
		t.Fatal(stderr)
	}
	text = strings.TrimSuffix(text, "\n")
	if _, err := trust.ParseToken(text); err != nil {
		t.Fatal(err)
	}
	seen := stderr
	for _, args := range [][]string{
		{"token", "list", "--data", dir},
		{"token", "list", "--data", dir, "--json"},
		{"token", "list", "--data", dir, text},
		{"token", "create", "--data", dir, "--name", text, "--access", "read"},
		{"token", "create", "--data", dir, "--name", "x", "--access", text},
		{"token", "create", "--data", dir, "--name", "x", "--access", "read", "--workspace", text},
		{"token", "create", "--data", dir, "--name", "x", "--access", "read", "--expires", text},
		{"token", "create", "--data", dir, text},
		{"token", text},
		{"token", "revoke", "--data", dir, text + "x"},
		{"token", "revoke", "--data", dir, "x" + text},
		{"token", "revoke", "--data", dir, text[:50]},
		{"token", "revoke", "--data", dir, "ci", "--workspace", text},
		{"token", "revoke", "--data", dir, text, text},
		{"token", "revoke", "--data", dir, text}, // last: this one works
		{"token", "revoke", "--data", dir, text, "--json"},
	} {
		stdout, stderr, _ := command(t, args...)
		if stdout+stderr == "" {
			t.Errorf("nothing said to %q", args[:2])
		}
		seen += stdout + stderr
	}
	for i := len(trust.TokenPrefix); i+12 <= len(text); i++ {
		if strings.Contains(seen, text[i:i+12]) {
			t.Fatalf("a part of the token was shown again in:\n%s", seen)
		}
	}
	list := decode[[]admin.CreatedToken](t, mustCommand(t, "token", "list", "--json", "--data", dir))
	if len(list) != 1 || list[0].State != "revoked" {
		t.Fatalf("the token itself did not stand for its id: %+v", list)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

// A token that nobody saw is of no use, and must not be thought to be.
func TestTokenThatCannotBeShown(t *testing.T) {
	for _, form := range []string{"--json=false", "--json"} {
		dir := t.TempDir()
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"token", "create", "--data", dir, "--name", "ci", "--access", "read", form},
			&environment{Stdin: strings.NewReader(""), Stdout: brokenWriter{}, Stderr: &stderr})
		if status != exitFailure || !strings.Contains(stderr.String(), "revoke it and create another one (broken pipe)") {
			t.Fatalf("status %d: %s", status, &stderr)
		}
	}
}

func TestUsageErrorsHaveAStatusOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	for _, args := range [][]string{
		{"create"}, {"create", "--name", "x", "--access", "y"}, {"create", "--nope"}, {"list", "x"}, {"revoke"}, {"revoke", "x", "--workspace", "X"},
	} {
		if _, stderr, status := command(t, append([]string{"token", "--data", dir}, args...)...); status != exitUsage {
			t.Errorf("%q: status %d: %s", args, status, stderr)
		}
	}
	if _, stderr, status := command(t, "token", "revoke", "x", "--data", dir); status != exitFailure {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// The line for the configuration is one that the configuration takes, for the same token.
func TestConfigurationLineIsTaken(t *testing.T) {
	for _, expires := range []string{"90d", "never"} {
		dir := t.TempDir()
		text, stderr, status := command(t, "token", "create", "--data", dir, "--name", "0x1", "--workspace", "123", "--access", "read", "--expires", expires)
		if status != exitOK {
			t.Fatal(stderr)
		}
		_, yaml, _ := strings.Cut(stderr, "\n  tokens:\n")
		path := writeFile(t, "tokens:\n"+yaml)
		records, err := ledger.OpenExisting(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer records.Close()
		want, err := records.Tokens(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want[0].Created = time.Time{}
		got := loadTokens(t, path)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		if hash, err := trust.ParseToken(strings.TrimSpace(text)); err != nil || got[0].Hash != hash {
			t.Fatal(err)
		}
	}
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bezoar.yaml")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loadTokens reads the tokens of a configuration as the server does.
func loadTokens(t *testing.T, path string) []trust.Token {
	t.Helper()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Flags(flags)
	if err := flags.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(flags, []string{"HOME=/nowhere"}, config.OS{})
	if err != nil {
		t.Fatal(err)
	}
	return fixedTokens(cfg.Tokens)
}
