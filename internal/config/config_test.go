package config

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const printed = `{"listen":["127.0.0.1:8099"],"data":"/d","store":"file:///d/store","ledger":"sqlite","ledger-password":"",` +
	`"write-wait":"2s","spool-dir":"/d/spool","spool-size":"10GiB","spool-age":"24h","spool-drain":"30s","tier-dir":"","tier-size":"20GiB","memory-cache":"32MiB",` +
	`"verify-ahead":"8MiB","seal":"record","redirect":"off","redirect-ttl":"5m","purge-quarantine":"168h","scrub-rate":"4MiB","scrub-every":"720h","max-store-size":"0","min-free":"1GiB","public-url":"","tls-cert":"","tls-key":"",` +
	`"tokens":["ci (workspace default, read, expires 2030-01-01T00:00:00Z)"],"policy":"","seal-key-file":"/d/seal.key","audit-keep":"9600h","metrics-listen":"","metrics-token":"[redacted]",` +
	`"log-format":"text","log-level":"info","max-artifact-size":"2GiB","max-inflated-size":"16GiB","max-inflate-ratio":"200",` +
	`"max-members":"250000","max-path-length":"4096","max-check-memory":"128MiB","unknown-format":"refuse","max-connections":"4096","max-uploads":"128","max-downloads":"512","slot-wait":"1s","on-error":"open","header-timeout":"10s","idle-timeout":"2m",` +
	`"stall-timeout":"30s","min-rate":"1KiB","store-timeout":"10s","breaker-failures":"5","breaker-probe":"5s","drain-timeout":"10m","drain-limit":"2GiB","shutdown-delay":"0s","shutdown-timeout":"30s"}`

func TestForms(t *testing.T) {
	c, _, err := load(t, []string{
		"--data=/d", "--metrics-token=" + planted,
		"--tokens=name=ci;access=read;expires=2030-01-01;hash=sha256:" + strings.Repeat("7", 64),
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c); got != printed {
		t.Errorf("printed as %s", got)
	}
	if got := fmt.Sprintf("%#v", *c); got != "config.Config("+printed+")" {
		t.Errorf("printed with %%#v as %s", got)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("start", "config", c)
	for _, want := range []string{
		`config.listen=[127.0.0.1:8099]`, `config.store=file:///d/store`, `config.metrics-token=[redacted]`, `config.idle-timeout=2m`,
		`config.tokens="[ci (workspace default, read, expires 2030-01-01T00:00:00Z)]"`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log: %s", want, log.String())
		}
	}
}

func TestProblemsAreErrors(t *testing.T) {
	_, _, err := load(t, []string{"--max-members=x", "--log-level=y"}, nil, nil)
	if p, ok := errors.AsType[*Problem](err); !ok || p.Key != "log-level" || p.Source.String() != "--log-level" {
		t.Errorf("the first problem is %+v", p)
	}
	if ps, ok := errors.AsType[Problems](err); !ok || len(ps) != 2 {
		t.Errorf("the problems are %v", ps)
	}
}

func TestTagsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range settings() {
		if s.name == "" || s.help == "" || seen[s.name] || s.metavar() == "" {
			t.Errorf("the setting %q lacks a name of its own, a help or a type: %+v", s.name, s)
		}
		if (s.min == "") != (s.max == "") {
			t.Errorf("%s has one bound only", s.name)
		}
		seen[s.name] = true
		if s.def != "" && !s.list {
			if _, err := s.parse(s.def); err != nil {
				t.Errorf("the default of %s: %v", s.name, err)
			}
		}
	}
}
