package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// collector takes spans in OTLP.
type collector struct {
	mu     sync.Mutex
	raw    []byte
	names  []string
	refuse bool
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var sent tracepb.TracesData
	if r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &sent) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.raw = append(c.raw, body...)
	for _, resource := range sent.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				c.names = append(c.names, span.Name)
			}
		}
	}
}

// TestTraces: a server whose environment says so exports a span for each request and what the store does in it, and no credential.
func TestTraces(t *testing.T) {
	c := &collector{}
	receiver := httptest.NewServer(c)
	defer receiver.Close()
	ci := newCI(t)
	s := startServeIn(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL}, "--data", ci.data, "--listen", "127.0.0.1:0", "--policy", ci.policy)
	session := s.session(ci.token("github/push-main", nil))
	s.want(404, "GET", "1", session, nil)
	s.want(200, "PUT", "1", session, artifacttest.Typical(1))
	s.want(200, "GET", "1", session, nil)
	if s.stop() != 0 {
		t.Error(s.stderr)
	}
	slices.Sort(c.names)
	// A PUT first looks whether its bearer sees the hash already.
	want := "GET artifact,GET artifact,POST session,PUT artifact,store.commit,store.create,store.open,store.open"
	if got := strings.Join(slices.DeleteFunc(slices.Clone(c.names), func(name string) bool { return name == "store.open" }), ","); got != strings.ReplaceAll(want, ",store.open", "") {
		t.Errorf("%q", c.names)
	}
	if n := strings.Count(strings.Join(c.names, ","), "store.open"); n < 2 {
		t.Errorf("%q", c.names)
	}
	if bytes.Contains(c.raw, []byte(session)) || bytes.Contains(c.raw, []byte("eyJ")) {
		t.Error("there is a credential in the spans")
	}
}

// TestTracesThatCannotBeExportedCostNothing but a warning.
func TestTracesThatCannotBeExportedCostNothing(t *testing.T) {
	c := &collector{refuse: true}
	receiver := httptest.NewServer(c)
	defer receiver.Close()
	s := startServeIn(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL}, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	s.want(200, "PUT", "1", "", artifacttest.Typical(1))
	if s.stop() != 0 || strings.Count(s.stderr.String(), "spans cannot be exported to "+receiver.URL) == 0 {
		t.Error(s.stderr)
	}
	s = startServeIn(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + receiver.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "--data", t.TempDir(), "--listen", "127.0.0.1:0")
	s.want(200, "PUT", "1", "", artifacttest.Typical(1))
	if s.stop() != 0 || !strings.Contains(s.stderr.String(), "there are no traces") || !strings.Contains(s.stderr.String(), "not built in") {
		t.Error(s.stderr)
	}
}
