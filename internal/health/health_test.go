package health

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part is one that can be in trouble.
type part struct{ trouble atomic.Pointer[error] }

func (p *part) set(err error) { p.trouble.Store(&err) }
func (p *part) Degraded() error {
	if err := p.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

func TestTroubleIsToldWhenItBeginsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer // written by the watcher alone, read while that waits
		causes := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: prometheus.NewRegistry()})
		var policy, tokens part
		causes.Add("policy", policy.Degraded)
		causes.Add("tokens", tokens.Degraded)
		policy.set(errors.New("line 3 is refused"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); causes.Run(ctx) }()
		after := func(d time.Duration) string {
			time.Sleep(d) //nolint:forbidigo // in a bubble
			synctest.Wait()
			defer log.Reset()
			return log.String()
		}
		synctest.Wait()
		if got := after(time.Minute); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, `cause=policy error="line 3 is refused"`) || strings.Contains(got, "tokens") {
			t.Errorf("in a minute of trouble: %s", got)
		}
		policy.set(errors.New("line 4 is refused"))
		if got := after(time.Minute); got != "" {
			t.Errorf("of trouble that goes on: %s", got)
		}
		policy.set(nil)
		if got := after(time.Minute); strings.Count(got, "\n") != 1 || !strings.Contains(got, "works again") || !strings.Contains(got, "cause=policy") {
			t.Errorf("at its end: %s", got)
		}
		policy.set(errors.New("once more"))
		if got := after(time.Minute); strings.Count(got, "\n") != 1 || !strings.Contains(got, "once more") {
			t.Errorf("the second time: %s", got)
		}
		cancel()
		<-done
	})
}

func TestGaugeAndListAgree(t *testing.T) {
	reg := prometheus.NewRegistry()
	causes := New(Options{Logger: slog.New(slog.DiscardHandler), Registerer: reg})
	var tokens, policy, odd part
	causes.Add("tokens", tokens.Degraded)
	causes.Add("policy", policy.Degraded)
	causes.Add("odd", odd.Degraded)
	policy.set(errors.New("policy.yaml:3:1: no\n  such\x1b[31m setting\r\nready"))
	odd.set(errors.New("\n"))
	var got []string
	for name, text := range causes.All() {
		got = append(got, name+"="+text)
	}
	if want := "tokens=|policy=policy.yaml:3:1: no such [31m setting ready|odd=trouble without a description"; strings.Join(got, "|") != want {
		t.Errorf("%q", got)
	}
	for range causes.All() {
		break
	}
	policy.set(nil)
	odd.set(errors.New(strings.Repeat("é", maxText)))
	for name, text := range causes.All() {
		if name == "odd" && (len(text) > maxText+len("…") || !strings.HasSuffix(text, "é…")) {
			t.Errorf("%d bytes of text", len(text))
		}
	}
	err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP bezoar_degraded `+help+`
# TYPE bezoar_degraded gauge
bezoar_degraded{cause="odd"} 1
bezoar_degraded{cause="policy"} 0
bezoar_degraded{cause="tokens"} 0
`))
	if err != nil {
		t.Error(err)
	}
}
