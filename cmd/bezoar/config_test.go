package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// runConfig runs a command line in an environment of its own.
func runConfig(t *testing.T, environ []string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(context.Background(), args, &environment{Environ: environ, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
	return status, out.String(), errs.String()
}

func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	file, again := filepath.Join(dir, "bezoar.yaml"), filepath.Join(dir, "again.yaml")
	if err := os.WriteFile(file, []byte("max-members: 7\nmetrics-token: hunter2-hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	environ := []string{"BEZOAR_CONFIG=" + file, "BEZOAR_LOG_LEVEL=debug", "HOME=" + dir}
	status, stdout, stderr := runConfig(t, environ, "config", "check", "--log-format", "json")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, line := range []string{
		"max-members: 7 # " + file + ":1\n",
		"metrics-token: \"[redacted]\" # " + file + ":2\n",
		"log-level: debug # BEZOAR_LOG_LEVEL\n",
		"log-format: json # --log-format\n",
		"max-path-length: 4096 # default\n",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("there is no line %q in:\n%s", line, stdout)
		}
	}
	if want := "bezoar: warning: " + file + ":2: other users of this machine may read the file"; !strings.HasPrefix(stderr, want) {
		t.Errorf("the warning is %q", stderr)
	}

	// The output is a file, but for the secret that it does not have.
	if err := os.WriteFile(again, []byte(stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr = runConfig(t, []string{"HOME=" + dir}, "config", "check", "--config", again)
	if status != exitFailure || !strings.Contains(stderr, "metrics-token: is [redacted]") || strings.Contains(stderr, "problems") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestConfigCheckInvalid(t *testing.T) {
	status, stdout, stderr := runConfig(t, []string{"BEZOAR_LISTN=x", "HOME=/h"}, "config", "check", "--max-members=many")
	want := "bezoar: the configuration has 2 problems:\n" +
		"  environment variable BEZOAR_LISTN: there is no such setting; did you mean BEZOAR_LISTEN?\n" +
		"  flag --max-members: \"many\" is not a whole number; write for example 250000\n"
	if status != exitFailure || stdout != "" || stderr != want {
		t.Errorf("status %d, stdout %q, stderr:\n%s", status, stdout, stderr)
	}
}

func TestConfigSchema(t *testing.T) {
	status, stdout, stderr := runConfig(t, nil, "config", "schema")
	want, err := os.ReadFile("../../docs/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if status != exitOK || stdout != string(want) {
		t.Errorf("status %d, %s; the schema differs from docs/config.schema.json", status, stderr)
	}
}

// TestConfigCheckTakesFlagsOfServe: what check says holds for serve only if both read the same.
func TestConfigCheckTakesFlagsOfServe(t *testing.T) {
	names := func(fs *pflag.FlagSet) (all string) {
		fs.VisitAll(func(f *pflag.Flag) { all += f.Name + "\n" })
		return all
	}
	env := &environment{}
	if serve, check := names(newServeCmd(env).Flags()), names(newConfigCheckCmd(env).Flags()); serve != check {
		t.Errorf("serve takes\n%s\nconfig check takes\n%s", serve, check)
	}
}
