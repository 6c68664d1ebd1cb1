// Package bezoar runs the built bezoar command for tests: it builds it, starts and ends servers, makes tokens, and reads
// what a server says in its log and metrics.
//
//	binary := bezoar.Build(t)
//	server := binary.Serve(t, t.TempDir())
//	… server.URL …
//	server.Stop(t)
package bezoar

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BinaryVariable names the environment variable with the path of a binary to test instead of a fresh build.
const BinaryVariable = "BEZOAR_BINARY"

// commandTimeout bounds commands that end by themselves.
const commandTimeout = time.Minute

// Binary is a built bezoar command.
type Binary struct {
	path    string
	environ []string
	under   []string // see Under
}

// With returns the binary with more in its environment, as NAME=value, such as the credentials of a storage.
func (b Binary) With(environ ...string) Binary {
	b.environ = append(slices.Clip(b.environ), environ...)
	return b
}

// Build builds the command from this source, or takes the one that $BEZOAR_BINARY names.
func Build(tb testing.TB) Binary {
	tb.Helper()
	if path := os.Getenv(BinaryVariable); path != "" {
		abs, err := filepath.Abs(path)
		if err != nil {
			tb.Fatal(err)
		}
		return Binary{path: abs}
	}
	path := filepath.Join(tb.TempDir(), "bezoar")
	build := exec.CommandContext(tb.Context(), "go", "build", "-o", path, "github.com/bezoar-cache/bezoar/cmd/bezoar")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	return Binary{path: path}
}

// Command is a command of bezoar that knows nothing of the machine's settings.
func (b Binary) Command(ctx context.Context, args ...string) *exec.Cmd {
	line := slices.Concat(b.under, []string{b.path}, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}, b.environ...)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// AddKey makes a key file, as servers that share a store need it, and returns its path.
func (b Binary) AddKey(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "seal.key")
	b.Output(tb, "key", "add", "--seal-key-file", path)
	return path
}

// Output runs a command to its end, which must be a good one, and returns what it printed.
func (b Binary) Output(tb testing.TB, args ...string) []byte {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), commandTimeout)
	defer cancel()
	out, err := b.Command(ctx, args...).Output()
	if err != nil {
		var stderr []byte
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // never wrapped by os/exec
			stderr = exit.Stderr
		}
		tb.Fatalf("bezoar %v: %v\n%s", args, err, stderr)
	}
	return out
}

// Token is a static token.
type Token struct {
	// ID stands for the token in lists and logs.
	ID string `json:"id"`
	// Secret is the token itself.
	Secret string `json:"token"`
}

// CreateToken makes a token of the workspace "default" on the data directory of a server, which may be running. The name
// must be unique in it; access is read, isolated or trusted.
func (b Binary) CreateToken(tb testing.TB, data, name, access string) Token {
	tb.Helper()
	out := b.Output(tb, "token", "create", "--data", data, "--workspace", "default", "--name", name, "--access", access, "--json")
	var token Token
	if err := json.Unmarshal(out, &token); err != nil || token.ID == "" || token.Secret == "" {
		tb.Fatalf("bezoar token create --json printed no id and token (%v):\n%s", err, out)
	}
	return token
}

// RevokeToken revokes a token for good.
func (b Binary) RevokeToken(tb testing.TB, data string, token Token) {
	tb.Helper()
	b.Output(tb, "token", "revoke", "--data", data, token.ID)
}
