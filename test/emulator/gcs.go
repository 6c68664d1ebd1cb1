package emulator

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// GCSServer is a fake-gcs-server.
type GCSServer struct {
	*Server
	// Endpoint is its URL, without a slash at its end. The JSON API lies under /storage/v1/.
	Endpoint string
	// Host is the server as the variable STORAGE_EMULATOR_HOST wants it: without a scheme.
	Host string
}

// GCS starts a fake-gcs-server over a directory. It takes every credential and none.
func GCS(tb testing.TB, list ...Option) GCSServer {
	tb.Helper()
	o := optionsOf(tb, list)
	if o.tls {
		tb.Fatal("fake-gcs-server is not started with TLS here")
	}
	binary := build(tb, "fake-gcs-server", "github.com/fsouza/fake-gcs-server", "github.com/fsouza/fake-gcs-server")
	home := tb.TempDir()
	s := &Server{
		Dir:  o.dir,
		name: "fake-gcs-server",
		command: func(host, port string) *exec.Cmd {
			addr := host + ":" + port
			cmd := exec.Command(binary, "-scheme", "http", "-host", host, "-port", port, "-backend", "filesystem", "-filesystem-root", o.dir,
				"-public-host", addr, "-external-url", "http://"+addr)
			cmd.Dir, cmd.Env = home, environment(home)
			return cmd
		},
		health: func(addr string) string { return "http://" + addr + "/_internal/healthcheck" },
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	s.start(tb)
	return GCSServer{Server: s, Endpoint: "http://" + s.Addr, Host: s.Addr}
}

// NewBucket makes a bucket of the test's own and returns its name.
func (s GCSServer) NewBucket(tb testing.TB) string {
	tb.Helper()
	name := uniqueName()
	body, err := json.Marshal(map[string]string{"name": name})
	if err != nil {
		tb.Fatal(err)
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, s.Endpoint+"/storage/v1/b?project=test", bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		tb.Fatalf("fake-gcs-server: make the bucket %s: %v", name, err)
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)); resp.StatusCode != http.StatusOK {
		tb.Fatalf("fake-gcs-server: make the bucket %s: %s\n%s", name, resp.Status, answer)
	}
	return name
}

// uniqueName is a valid name for a bucket or container everywhere.
func uniqueName() string { return "bezoar-" + strings.ToLower(rand.Text()) }
