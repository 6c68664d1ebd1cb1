//go:build e2e

package emulator

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestNginx has nginx stand in front of one server, and then of another one.
func TestNginx(t *testing.T) {
	server := func(name string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	n := StartNginx(t, server("first"))
	ask := func() string {
		resp, err := n.client.Get(n.URL + "/v1/cache/1")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got := ask(); got != "first" {
		t.Errorf("the answer is %q", got)
	}
	n.Reload(t, server("second"))
	for deadline := time.After(30 * time.Second); ask() != "second"; {
		select {
		case <-deadline:
			t.Fatal("the second server is never asked")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if log := n.AccessLog(t); strings.Count(log, "GET /v1/cache/1 200") < 2 {
		t.Errorf("the log of requests is %q", log)
	}
}
