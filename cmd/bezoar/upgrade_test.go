package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

var makeData = flag.String("make-data", "", "make an example of a data directory of this release in this new directory, such as testdata/data-v2")

// example is what is in an example of a data directory beside what its release keeps there: in example.json and body.tgz.
type example struct {
	// Trusted and Isolated are tokens that are good, Revoked is one that is not. They were made for this test and open nothing else.
	Trusted, Isolated, Revoked string
	// Stored is a hash under which body.tgz is, uploaded with Trusted; Own one under which it is for Isolated alone; Deleted one of an entry
	// that lies there again after it was deleted.
	Stored, Own, Deleted string
	// Run is the id of a run that was revoked.
	Run string
}

// TestMakeData is a tool: with -make-data it makes an example of a data directory, with the commands and the server of this release, for
// each release that keeps data otherwise. Without it there is nothing to do.
func TestMakeData(t *testing.T) {
	if *makeData == "" {
		return
	}
	dir := *makeData
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e := example{Stored: "12777289511367993887", Own: "14158217513286446120", Deleted: "9073201338147104530", Run: "17650000001"}
	e.Trusted = strings.TrimSpace(succeed(t, "token", "create", "--data", dir, "--name", "ci", "--access", "trusted", "--expires", "never"))
	e.Isolated = strings.TrimSpace(succeed(t, "token", "create", "--data", dir, "--name", "laptop", "--access", "isolated", "--developer", "jo", "--expires", "never"))
	e.Revoked = strings.TrimSpace(succeed(t, "token", "create", "--data", dir, "--name", "lost", "--access", "read", "--expires", "never"))
	succeed(t, "token", "revoke", "--data", dir, "lost")
	succeed(t, "revoke", "run", "--data", dir, e.Run, "--reason", "an example")
	body := artifacttest.Nx(artifacttest.Dir("dist"), artifacttest.File("dist/main.js", "console.log('kept')\n"))
	s := startServe(t, "--data", dir, "--listen", "127.0.0.1:0")
	s.want(200, "PUT", e.Stored, e.Trusted, body)
	s.want(200, "PUT", e.Own, e.Isolated, body)
	s.want(200, "PUT", e.Deleted, e.Trusted, body)
	kept := entryFile(t, dir, e.Deleted)
	entry, err := os.ReadFile(kept)
	if err != nil {
		t.Fatal(err)
	}
	// The next upload shows the server that it is gone, and it buries what was there.
	if err := os.Remove(kept); err != nil {
		t.Fatal(err)
	}
	s.want(200, "PUT", e.Deleted, e.Trusted, body)
	s.stop()
	buried, err := os.ReadFile(kept)
	if err != nil || bytes.Equal(entry, buried) {
		t.Fatalf("the same entry: %v", err)
	}
	if err := os.WriteFile(kept, entry, 0o600); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(dir, "store", "tmp"))
	text, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"example.json": append(text, '\n'), "body.tgz": body} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDataOfEarlierReleases: whatever a release has written, this one serves.
func TestDataOfEarlierReleases(t *testing.T) {
	dirs, err := filepath.Glob("testdata/data-v*")
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) { serveExample(t, dir) })
	}
}

func serveExample(t *testing.T, from string) {
	dir := t.TempDir()
	copyExample(t, from, dir)
	var e example
	text, err := os.ReadFile(filepath.Join(dir, "example.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(dir, "body.tgz"))
	if err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "--data", dir, "--listen", "127.0.0.1:0")
	get := func(token, hash string) (int, string) {
		return call(t, "GET", "http://"+s.addr+"/v1/cache/"+hash, token, nil)
	}
	if status, got := get(e.Trusted, e.Stored); status != 200 || got != string(body) {
		t.Errorf("the entry: %d, %d bytes", status, len(got))
	}
	if status, got := get(e.Isolated, e.Stored); status != 200 || got != string(body) {
		t.Errorf("the entry, for another: %d, %d bytes", status, len(got))
	}
	if status, got := get(e.Isolated, e.Own); status != 200 || got != string(body) {
		t.Errorf("an own entry: %d, %d bytes", status, len(got))
	}
	s.want(404, "GET", e.Own, e.Trusted, nil)
	s.want(404, "GET", e.Deleted, e.Trusted, nil) // who put it back gets nowhere
	s.want(401, "GET", e.Stored, e.Revoked, nil)
	s.want(409, "PUT", e.Stored, e.Trusted, body)
	s.want(200, "PUT", "1", e.Trusted, body)
	s.want(200, "GET", "1", e.Trusted, nil)
	if strings.Contains(s.banner, "open") {
		t.Errorf("the server is open: %s", s.banner)
	}
	if s.stop() != 0 {
		t.Error(s.stderr)
	}
	if got := succeed(t, "revoke", "list", "--data", dir); !strings.Contains(got, e.Run) {
		t.Errorf("the revocations: %s", got)
	}
	if got := succeed(t, "ledger", "entries", "--data", dir, "--hash", e.Stored); !strings.Contains(got, e.Stored) {
		t.Errorf("the entries: %s", got)
	}
	succeed(t, "inspect", "--data", dir, "default", "trusted", e.Stored)
}

// succeed runs a command that has to end well, and returns what it prints.
func succeed(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), args, &environment{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}); status != exitOK {
		t.Fatalf("%q: exit status %d: %s", args, status, &stderr)
	}
	return stdout.String()
}

func entryFile(t *testing.T, dir, hash string) string {
	t.Helper()
	for _, name := range files(t, filepath.Join(dir, "store", "entries")) {
		if filepath.Base(name) == hash {
			return name
		}
	}
	t.Fatalf("there is no entry %s", hash)
	return ""
}

// copyExample copies a data directory, with the permissions that a server gives: a checkout has others.
func copyExample(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestExamplesAreSmall, and have no file that only a running server has.
func TestExamplesAreSmall(t *testing.T) {
	var size int64
	for _, name := range files(t, "testdata") {
		if !regexp.MustCompile(`/data-v\d+/`).MatchString(filepath.ToSlash(name)) {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if size += info.Size(); strings.HasSuffix(name, "-wal") || strings.HasSuffix(name, "-shm") {
			t.Errorf("%s is of a ledger that was not closed", name)
		}
	}
	if size > 400<<10 {
		t.Errorf("%d bytes", size)
	}
}
