package server

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestEachRequestHasItsLine(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(200, "PUT", "/v1/cache/77", body)
	f.want(200, "GET", "/v1/cache/77", nil, "Authorization", "Bearer secret-of-mine")
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/"} {
		f.want(200, "GET", path, nil)
	}
	f.waitForLog(2, `"msg":"request"`)
	log := f.log.String()
	for _, want := range []string{`"result":"stored"`, `"result":"hit"`, `"workspace":"default"`, `"scope":"trusted"`, `"hash":"77"`, fmt.Sprintf(`"bytes":%d`, len(body))} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s:\n%s", want, log)
		}
	}
	if n := strings.Count(log, `"msg":"request"`); n != 2 {
		t.Errorf("%d lines for 2 requests for artifacts", n)
	}
	for line := range strings.Lines(log) {
		if n := strings.Count(line, `"time":`); n != 1 {
			t.Errorf("a line says %d times what time it is: %s", n, line)
		}
	}
	if strings.Contains(log, "secret-of-mine") {
		t.Error("the log holds a credential")
	}
}

func TestHealth(t *testing.T) {
	f := newFixture(t)
	f.store.set(func(string) error { return errors.New("down") })
	f.want(200, "GET", "/livez", nil)
	f.want(200, "GET", "/readyz", nil)
}

// TestNotReadyBeforeTheEnd: while balancers may notice that a server is going to end, it serves.
func TestNotReadyBeforeTheEnd(t *testing.T) {
	f := newFixture(t)
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	ctx, endDelay := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.server.Shutdown(ctx, time.Hour, time.Minute) }()
	deadline := time.After(30 * time.Second)
	for resp, _ := f.do("GET", "/readyz", nil); resp.StatusCode != 503; resp, _ = f.do("GET", "/readyz", nil) {
		select {
		case <-deadline:
			t.Fatal("the server stays ready")
		default:
		}
	}
	f.want(200, "GET", "/livez", nil)
	f.want(200, "GET", "/v1/cache/1", nil)
	endDelay()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestMetricsCanBeGuarded(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.MetricsToken = "s3cret" })
	f.want(401, "GET", "/metrics", nil)
	f.want(401, "GET", "/metrics", nil, "Authorization", "Bearer s3cre")
	f.want(200, "GET", "/metrics", nil, "Authorization", "Bearer s3cret")
	f = newFixture(t, func(o *Options) { o.ServeMetrics = false })
	f.want(404, "GET", "/metrics", nil)
}

func TestMetricsCountByResult(t *testing.T) {
	f := newFixture(t)
	body := artifacttest.Typical(1)
	f.want(404, "GET", "/v1/cache/1", nil)
	f.want(200, "PUT", "/v1/cache/1", body)
	f.want(200, "GET", "/v1/cache/1", nil)
	f.want(409, "PUT", "/v1/cache/1", body)
	f.want(403, "PUT", "/v1/cache/2", []byte("no gzip"))
	f.auth.set(&trust.DeniedError{Err: trust.ErrExpired, Reason: "expired"})
	f.want(404, "GET", "/v1/cache/1", nil)
	f.waitForLog(6, `"msg":"request"`)
	got := string(f.want(200, "GET", "/metrics", nil))
	for _, want := range []string{
		`bezoar_requests_total{cause="",method="GET",result="hit"} 1`,
		`bezoar_requests_total{cause="",method="GET",result="miss"} 1`,
		`bezoar_requests_total{cause="",method="PUT",result="stored"} 1`,
		`bezoar_requests_total{cause="",method="PUT",result="exists"} 1`,
		`bezoar_requests_total{cause="artifact",method="PUT",result="refused"} 1`,
		`bezoar_requests_total{cause="expired",method="GET",result="denied"} 1`,
		fmt.Sprintf(`bezoar_artifact_bytes_total{direction="out"} %d`, len(body)),
		`bezoar_requests_in_flight{method="GET"} 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
