package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// verify runs the command and returns what it wrote, with the directory's name left out.
func verify(t *testing.T, dir string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	status = run(t.Context(), append([]string{"verify", "--data", dir}, args...),
		&environment{Environ: []string{"HOME=" + dir}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errOut})
	return status, strings.ReplaceAll(out.String(), dir, "DIR"), strings.ReplaceAll(errOut.String(), dir, "DIR")
}

// verifyDir is inspectDir with a file that nobody wrote.
func verifyDir(t *testing.T) string {
	t.Helper()
	dir := inspectDir(t)
	place := filepath.Join(dir, "store", "entries", "web", "trusted", "00")
	if err := os.MkdirAll(place, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(place, "for\x1beign"), bytes.Repeat([]byte("x"), 5000), 0o640); err != nil {
		t.Fatal(err)
	}
	return dir
}

func found(t *testing.T, text string) (report verifyReport, hashes []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	for _, f := range report.Found {
		hashes = append(hashes, f.Scope+" "+string(f.Hash))
	}
	slices.Sort(hashes)
	return report, hashes
}

func TestVerifyTellsAndChangesNothing(t *testing.T) {
	dir := verifyDir(t)
	before := pathsBelow(t, dir)
	status, stdout, stderr := verify(t, dir, "--json")
	report, hashes := found(t, stdout)
	if diff := cmp.Diff([]string{" ", "trusted damaged", "trusted foreign", "trusted moved", "trusted unsealed"}, hashes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if status != exitFailure || stderr != "" || report.Entries != 3 || report.Damaged != 5 || report.Errors != 0 || report.Bytes == 0 {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	wantHarmless(t, stdout)
	status, stdout, _ = verify(t, dir)
	wantHarmless(t, stdout)
	if status != exitFailure || strings.Count(stdout, "DAMAGED ") != 5 || !strings.Contains(stdout, "Damaged                 5\n") {
		t.Errorf("status %d, %s", status, stdout)
	}
	if diff := cmp.Diff(before, pathsBelow(t, dir)); diff != "" {
		t.Errorf("verifying changed the directory (-before +after):\n%s", diff)
	}
	for args, want := range map[string]int{
		"web pr/17":           exitOK,
		"web pr/17 1":         exitOK,
		"web trusted 1":       exitOK,
		"web trusted none":    exitOK,
		"other":               exitOK,
		"web trusted damaged": exitFailure,
		"web trusted":         exitFailure,
		"web":                 exitFailure,
		"WEB":                 exitUsage,
		"web x":               exitUsage,
		"web trusted a/b":     exitUsage,
		"web trusted 1 2":     exitUsage,
	} {
		if status, stdout, stderr := verify(t, dir, strings.Fields(args)...); status != want {
			t.Errorf("%s: status %d, want %d: %s%s", args, status, want, stdout, stderr)
		}
	}
}

func TestVerifySetsAside(t *testing.T) {
	dir := verifyDir(t)
	if status, stdout, stderr := verify(t, dir, "web", "trusted", "damaged", "--set-aside"); status != exitFailure || strings.Count(stdout, "SET ASIDE") != 1 {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	status, stdout, stderr := verify(t, dir, "--set-aside", "--json")
	report, _ := found(t, stdout)
	if status != exitFailure || report.Damaged != 4 || report.Errors != 0 {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	for _, f := range report.Found {
		if !f.SetAside {
			t.Errorf("%+v", f)
		}
	}
	if kept, err := os.ReadDir(filepath.Join(dir, "store", "damaged")); err != nil || len(kept) != 5 {
		t.Errorf("%d were kept, %v", len(kept), err)
	}
	status, stdout, stderr = verify(t, dir)
	if status != exitOK || !strings.Contains(stdout, "Entries that are whole  3\n") {
		t.Errorf("afterwards: status %d, %s%s", status, stdout, stderr)
	}
}

// TestVerifyNeedsTheKey: without it, all would be taken for forged.
func TestVerifyNeedsTheKey(t *testing.T) {
	dir := verifyDir(t)
	status, stdout, stderr := verify(t, dir, "--set-aside", "--seal-key-file", filepath.Join(dir, "none.key"))
	if status != exitFailure || stdout != "" || !strings.Contains(stderr, "there is no key file") {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
}

// TestVerifyWithAnotherKey sets nothing aside that the store's own key has sealed.
func TestVerifyWithAnotherKey(t *testing.T) {
	dir := verifyDir(t)
	mark := filepath.Join(dir, "store", "MARK-SEALED-BY")
	if err := os.WriteFile(mark, []byte("bezoar seal key 1 0123456789ab\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(dir, "other.key")
	if err := os.WriteFile(other, []byte(strings.Replace(inspectKey, "01", "07", 1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := verify(t, dir, "web", "trusted", "1", "--set-aside", "--seal-key-file", other)
	if status != exitFailure || strings.Contains(stdout, "SET ASIDE") || stderr == "" {
		t.Errorf("status %d, %s%s", status, stdout, stderr)
	}
	if status, stdout, stderr := verify(t, dir, "web", "trusted", "1"); status != exitOK || !strings.Contains(stdout, "whole  1\n") {
		t.Errorf("with its own key: status %d, %s%s", status, stdout, stderr)
	}
}
