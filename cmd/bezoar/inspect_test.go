package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// hostileOutput would colour a terminal, write over a line, and turn text around.
const hostileOutput = "> nx run web:build\r\n\x1b[31mred\x1b[0m\tdone\rover\u202etxt.exe\u0085\u009b2J\x07\nlast line"

const (
	inspectKey   = "bzk_0100000000000000000000000000000000000000000000000000000000000000"
	inspectOther = "bzk_0200000000000000000000000000000000000000000000000000000000000000"
)

// inspectDir makes a data directory with entries of all kinds, and a running store over it.
func inspectDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "seal.key")
	if err := os.WriteFile(path, []byte(inspectKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := fs.Open(filepath.Join(dir, "store"), fs.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := plain.Close(); err != nil {
			t.Error(err)
		}
	})
	sealed := seal.New(plain, ring.Derive("seal"), seal.Options{})
	foreign := seal.New(plain, keyring.New([32]byte{2}).Derive("seal"), seal.Options{})

	// Stored and not compressed, so that its digest does not depend on the compressor.
	body := artifacttest.GzipLevel(artifacttest.Tar(
		artifacttest.Dir("dist"),
		artifacttest.File("dist/main.js", "console.log(1)\n"),
		artifacttest.Member{Name: "dist/run.sh", Body: []byte("#!/bin/sh\n"), Mode: 0o755},
		artifacttest.Symlink("dist/latest", "main.js"),
		artifacttest.File("dist/\x1b[2Jcleared\u202e\nx\xff", ""),
		artifacttest.Symlink("dist/\u009b1A", "\x1b]0;title\x07"),
		artifacttest.TerminalOutput(hostileOutput),
		artifacttest.Code(1),
	), gzip.NoCompression)
	summary, err := artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	record := cache.Record{
		Size: summary.Size, SHA256: summary.SHA256, Content: summary.Content, Inflated: summary.Inflated, Members: summary.Members,
		Created: time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC),
		Producer: cache.Producer{
			Kind: "ci", Provider: "github", Issuer: "https://token.actions.githubusercontent.com", Repository: "acme/web", RepositoryID: "456789",
			Event: "push", Ref: "refs/heads/\x1b[31mfeat", RunID: "1658821493", RunAttempt: "2", Actor: "octo", ActorID: "583231",
		},
	}
	put := func(store cache.Store, scope cache.Scope, hash cache.Hash, body []byte, record cache.Record) {
		t.Helper()
		draft, err := store.Create(t.Context(), cache.Key{Workspace: "web", Scope: scope, Hash: hash})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := draft.Write(body); err != nil {
			t.Fatal(err)
		}
		if err := draft.Commit(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	put(sealed, cache.Trusted, "1", body, record)
	put(sealed, "pr/17", "1", body, record)
	put(plain, cache.Trusted, "unsealed", body, record)
	put(foreign, cache.Trusted, "foreign", body, record)
	object, err := plain.Open(t.Context(), cache.Key{Workspace: "web", Scope: cache.Trusted, Hash: "1"})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	put(plain, cache.Trusted, "moved", body, object.Record)
	refused := []byte("no archive at all")
	odd := cache.Record{Size: int64(len(refused)), SHA256: summary.SHA256}
	put(sealed, cache.Trusted, "damaged", refused, odd)
	odd.SHA256, odd.Opaque = sum(refused), true
	put(sealed, cache.Trusted, "opaque", refused, odd)
	return dir
}

func sum(body []byte) artifact.Digest {
	summary, err := artifact.Check(bytes.NewReader(body), artifact.Limits{AllowUnknown: true})
	if err != nil {
		panic(err)
	}
	return summary.SHA256
}

// inspect runs the command and returns what it wrote, with the directory's name left out.
func inspect(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = run(t.Context(), append([]string{"inspect", "--data", dir}, args...),
		&environment{Environ: []string{"HOME=" + dir}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut})
	return status, strings.ReplaceAll(out.String(), dir, "DIR"), strings.ReplaceAll(errOut.String(), dir, "DIR")
}

func TestInspectGolden(t *testing.T) {
	dir := inspectDir(t)
	before := pathsBelow(t, dir)
	for name, c := range map[string]struct {
		args   string
		status int
	}{
		"good":     {"web trusted 1 --output", exitOK},
		"json":     {"web trusted 1 --output --json", exitOK},
		"in-toto":  {"web trusted 1 --in-toto", exitOK},
		"few":      {"web pr/17 1 --members 2", exitOK},
		"unsealed": {"web trusted unsealed --members 0", exitFailure},
		"foreign":  {"web trusted foreign --members 0", exitFailure},
		"moved":    {"web trusted moved --members 0", exitFailure},
		"damaged":  {"web trusted damaged", exitFailure},
		"opaque":   {"web trusted opaque", exitOK},
		"unkeyed":  {"web trusted 1 --members 0 --seal-key-file " + filepath.Join(dir, "none.key"), exitOK},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := inspect(t, dir, strings.Fields(c.args)...)
			if status != c.status || stderr != "" {
				t.Errorf("status %d, %s", status, stderr)
			}
			wantHarmless(t, stdout)
			path := filepath.Join("testdata", "inspect", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(stdout), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), stdout); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (name == "json" || name == "in-toto") && !json.Valid([]byte(stdout)) {
				t.Error("it is no JSON")
			}
		})
	}
	if diff := cmp.Diff(before, pathsBelow(t, dir)); diff != "" {
		t.Errorf("inspecting changed the directory (-before +after):\n%s", diff)
	}
}

// wantHarmless fails if text has what a terminal would heed.
func wantHarmless(t *testing.T, text string) {
	t.Helper()
	for _, bad := range []string{"\x1b", "\r", "\x07", "\u0085", "\u009b", "\u202e", "\xff"} {
		if strings.Contains(text, bad) {
			t.Errorf("the output has %q", bad)
		}
	}
}

func pathsBelow(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestInspectRaw(t *testing.T) {
	status, stdout, _ := inspect(t, inspectDir(t), "web", "trusted", "1", "--members", "0", "--output", "--raw")
	if status != exitOK || !strings.HasSuffix(stdout, "\nTerminal output (69 bytes)\n"+hostileOutput+"\n") {
		t.Errorf("status %d, %q", status, stdout)
	}
}

func TestInspectRefuses(t *testing.T) {
	dir := inspectDir(t)
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"web dev/x 1", exitFailure, "there is no entry 1 in scope dev/x of workspace web; there is one in pr/17, trusted\n"},
		{"web trusted 2", exitFailure, "there is no entry 2 in scope trusted of workspace web, nor in another scope of it\n"},
		{"api trusted 1", exitFailure, "nor in another scope"},
		{"web trusted 1 --store file://" + filepath.Join(dir, "none"), exitFailure, "DIR/none is no store: it has no file FORMAT"},
		{"web trusted", exitUsage, "give the workspace, the scope and the hash"},
		{"Web trusted 1", exitUsage, "the name of a workspace"},
		{"web bad 1", exitUsage, "a scope is"},
		{"web trusted a.b", exitUsage, "a hash has"},
		{"web trusted 1 --members -1", exitUsage, "--members is 0 to"},
		{"web trusted moved --in-toto", exitFailure, "nothing is stated of it: its seal is broken"},
		{"web trusted unsealed --in-toto", exitFailure, "its seal is missing"},
		{"web trusted damaged --in-toto", exitFailure, "nothing is stated of it"},
		{"web trusted 1 --in-toto --seal-key-file " + filepath.Join(dir, "none.key"), exitFailure, "its seal is unchecked"},
		{"web trusted 1 --in-toto --json", exitUsage, "leave --json"},
		{"web trusted 1 --raw", exitUsage, "--raw goes with --output"},
		{"web trusted 1 --raw --output --json", exitUsage, "--raw goes with --output"},
	} {
		status, stdout, stderr := inspect(t, dir, strings.Fields(c.args)...)
		if status != c.status || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: status %d, %q, %q", c.args, status, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store was made: %v", err)
	}
	// A key file that says something else is trouble, and not a bad seal.
	if err := os.WriteFile(filepath.Join(dir, "seal.key"), []byte(inspectOther[:20]), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := inspect(t, dir, "web", "trusted", "1")
	if status != exitFailure || stdout != "" || !strings.Contains(stderr, "line 1 is no key") {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}

// TestInspectAfterRotation also has the other key verify what it did not make.
func TestInspectAfterRotation(t *testing.T) {
	dir := inspectDir(t)
	if err := os.WriteFile(filepath.Join(dir, "seal.key"), []byte(inspectOther+"\n"+inspectKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for hash, id := range map[string]string{"1": "22cca6cbc352", "foreign": "f132d5d2e717"} {
		status, stdout, stderr := inspect(t, dir, "web", "trusted", hash, "--members", "0")
		if status != exitOK || stderr != "" || !strings.Contains(stdout, "good, by the key "+id) {
			t.Errorf("%s: status %d, %s %s", hash, status, stdout, stderr)
		}
	}
}

func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"plain ä日🙂":          "plain ä日🙂",
		"\x1b[31m\a\b\x7f":   `\x1b[31m\a\b\x7f`,
		"a\r\n\tb":           `a\r` + "\n\tb",
		"\u202e\u2066\u200b": `\u202e\u2066\u200b`,
		"\u0085\u009b":       `\u0085\u009b`,
		"\xff\xc0\x80":       `\xff\xc0\x80`,
		"\ufffd":             "\ufffd",
		"\U000e0041":         `\U000e0041`,
	} {
		if got := harmless(text, "\n\t"); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	var out bytes.Buffer
	if err := writeOutput(&out, strings.Repeat("x", maxInspectOutput), maxInspectOutput+1, false); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "x\n(the first 1048576 bytes)\n") {
		t.Errorf("it ends with %q", out.String()[out.Len()-50:])
	}
}
