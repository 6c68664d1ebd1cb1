package main

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestWhatDoesNotWorkIsTold in the gauge, at /readyz?verbose, and in the log once when it begins and once when it ends.
func TestWhatDoesNotWorkIsTold(t *testing.T) {
	c := newCI(t)
	s := c.serve()
	verbose := func() string {
		status, got := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/readyz?verbose", nil)
		if status != 200 {
			t.Errorf("not ready: %d", status)
		}
		return string(got)
	}
	const well = "ready\ntokens ok\npolicy ok\nissuer ok\naudit ok\naudit_chain ok\ngraves ok\nentries ok\nscrub ok\npurges ok\ndivergences ok\nretention ok\nstore ok\nuses ok\noverload ok\n"
	waitFor(t, "the start to be over", func() bool { return verbose() == well })
	c.write("version: 1\n")
	waitFor(t, "the broken policy to be told", func() bool { return strings.HasPrefix(verbose(), "ready, degraded\n") })
	if got := verbose(); !regexp.MustCompile(`(?m)^policy degraded: \S.*$`).MatchString(got) || !strings.Contains(got, "\ntokens ok\n") {
		t.Errorf("%s", got)
	}
	waitFor(t, "the log", func() bool { return strings.Contains(s.stderr.String(), "does not work as it should") })
	c.write(c.rules("off"))
	waitFor(t, "its end in the log", func() bool { return strings.Contains(s.stderr.String(), "works again") })
	if n := strings.Count(s.stderr.String(), "does not work as it should"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.stderr)
	}
	if !s.metric(`bezoar_degraded{cause="policy"} 0`) {
		t.Error("the gauge says otherwise")
	}
	s.stop()
}

// TestProfilesOfAServer: on the listener of the metrics alone, with their token.
func TestProfilesOfAServer(t *testing.T) {
	token := t.TempDir() + "/token"
	if err := os.WriteFile(token, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--metrics-token-file", token)
	m := regexp.MustCompile(`, (\S+) \(metrics\)`).FindStringSubmatch(s.banner)
	if m == nil {
		t.Fatalf("no address of the metrics: %s", s.banner)
	}
	get := func(addr, path, token string) int {
		status, _ := call(t, "GET", "http://"+addr+path, token, nil)
		return status
	}
	for path, want := range map[string][3]int{
		"/debug/pprof/heap": {404, 401, 200}, "/metrics": {404, 401, 200}, "/readyz?verbose": {200, 200, 200},
	} {
		if got := [3]int{get(s.addr, path, "s3cret"), get(m[1], path, "no"), get(m[1], path, "s3cret")}; got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	s.stop()
}
