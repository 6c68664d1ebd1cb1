package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/doctor"
)

// examine runs "bezoar doctor" against a server and returns its report and exit status.
func examine(t *testing.T, stdin string, args ...string) (*doctor.Report, int) {
	t.Helper()
	var stdout, stderr strings.Builder
	status := run(t.Context(), append([]string{"doctor", "--json", "--samples", "2", "--size", "2MiB"}, args...),
		&environment{Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
	var r doctor.Report
	if err := json.Unmarshal([]byte(stdout.String()), &r); err != nil {
		t.Fatalf("exit status %d, %v: %s%s", status, err, stdout.String(), stderr.String())
	}
	return &r, status
}

// unwell lists the findings that are neither ok nor skipped.
func unwell(r *doctor.Report) string {
	var list []string
	for _, f := range r.Findings {
		if f.Status == doctor.Warn || f.Status == doctor.Fail {
			list = append(list, f.ID+"="+string(f.Status)+" "+f.Title)
		}
	}
	return strings.Join(list, "\n")
}

// TestDoctorMeetsServe shows that the server satisfies the strictest client that there is.
func TestDoctorMeetsServe(t *testing.T) {
	data := t.TempDir()
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	defer s.stop()
	url := "http://" + s.addr
	for _, path := range []string{"", "/", "/some/prefix"} {
		if r, status := examine(t, "", url+path, "--strict"); status != 0 || r.Summary.Text != "Builds from here will read and write this cache." {
			t.Errorf("open server, path %q: exit status %d\n%s", path, status, unwell(r))
		}
	}
}

func TestDoctorTellsWhatATokenMayDo(t *testing.T) {
	data := t.TempDir()
	tokens := map[string]string{}
	for _, access := range []string{"read", "trusted"} {
		var stdout, stderr strings.Builder
		if status := run(t.Context(), []string{"token", "create", "--data", data, "--name", access, "--access", access},
			&environment{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr}); status != 0 {
			t.Fatalf("token create: %s", stderr.String())
		}
		tokens[access] = filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(tokens[access], []byte(stdout.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	defer s.stop()
	url := "http://" + s.addr
	tests := []struct {
		name, stdin string
		args        []string
		status      int
		unwell      string
	}{
		{name: "trusted", args: []string{"--token-file", tokens["trusted"], "--strict"}},
		{name: "read", args: []string{"--token-file", tokens["read"]}, unwell: "token.access=warn the token may not write (403)"},
		{name: "read, strictly", args: []string{"--token-file", tokens["read"], "--strict"}, status: 1, unwell: "token.access=warn the token may not write (403)"},
		{name: "none", unwell: "token.access=warn anybody, without a credential, may not write (403)"},
		{name: "forged", stdin: "bzr_forged-token\n", args: []string{"--token-file", "-"}, status: 1, unwell: "token.access=fail the server refuses the credential (401)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, status := examine(t, test.stdin, append(test.args, url)...)
			if status != test.status || unwell(r) != test.unwell {
				t.Errorf("exit status %d, want %d; findings\n%s", status, test.status, unwell(r))
			}
		})
	}
}
