package retention

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of the metrics.
const (
	// EntriesName and BytesName are the counters of what went, by "scope_kind" and "reason".
	EntriesName = "bezoar_retention_removed_entries_total"
	BytesName   = "bezoar_retention_removed_bytes_total"
	// LooksName is the counter of looks by "result": ok and failed.
	LooksName = "bezoar_retention_looks_total"
	// LastName and SecondsName are gauges of the last look of this server: when it ended, as a Unix time, and how long it took.
	LastName    = "bezoar_retention_last_look_timestamp_seconds"
	SecondsName = "bezoar_retention_last_look_seconds"
	// LeftName is the counter of entries that were chosen and stayed, by "why": other, failed.
	LeftName = "bezoar_retention_left_entries_total"
	// LackingName is the gauge of bytes by which the last look left the store beyond the bound for the disk.
	LackingName = "bezoar_retention_lacking_bytes"
)

// maxKinds bounds the kinds of scopes that metrics tell apart: a policy makes few, whatever lies in a ledger.
const maxKinds = 32

type metrics struct {
	entries, bytes  *prometheus.CounterVec
	ok, failedLooks prometheus.Counter
	last, seconds   prometheus.Gauge
	other, failed   prometheus.Counter
	lacking         prometheus.Gauge
	kinds           map[string]struct{} // only the goroutine of a look touches it
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"scope_kind", "reason"}
	looks := prometheus.NewCounterVec(prometheus.CounterOpts{Name: LooksName, Help: "Looks at the store for entries beyond its bounds, by result."}, []string{"result"})
	left := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: LeftName, Help: "Entries that were to go and stayed: the store has another one than the ledger knows (other), or it could not be deleted (failed).",
	}, []string{"why"})
	m := &metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: EntriesName, Help: "Entries that were removed to keep the store within its bounds."}, labels),
		bytes:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: BytesName, Help: "Bytes of entries that were removed to keep the store within its bounds."}, labels),
		last:    prometheus.NewGauge(prometheus.GaugeOpts{Name: LastName, Help: "When this server last looked for entries beyond the bounds."}),
		seconds: prometheus.NewGauge(prometheus.GaugeOpts{Name: SecondsName, Help: "How long that look took, removal included."}),
		lacking: prometheus.NewGauge(prometheus.GaugeOpts{Name: LackingName, Help: "Bytes by which the last look of this server left the store beyond the bound for the disk."}),
		kinds:   make(map[string]struct{}),
	}
	m.ok, m.failedLooks = looks.WithLabelValues("ok"), looks.WithLabelValues("failed")
	m.other, m.failed = left.WithLabelValues("other"), left.WithLabelValues("failed")
	for _, reason := range Reasons {
		m.entries.WithLabelValues("trusted", string(reason)) // so that the first one is an increase
		m.bytes.WithLabelValues("trusted", string(reason))
	}
	if reg != nil {
		reg.MustRegister(m.entries, m.bytes, looks, left, m.last, m.seconds, m.lacking)
	}
	return m
}

func (m *metrics) went(e Entry, reason Reason) {
	kind := e.Key.Scope.Kind()
	if _, known := m.kinds[kind]; !known {
		if len(m.kinds) >= maxKinds {
			kind = "others"
		} else {
			m.kinds[kind] = struct{}{}
		}
	}
	m.entries.WithLabelValues(kind, string(reason)).Inc()
	m.bytes.WithLabelValues(kind, string(reason)).Add(float64(e.Size))
}

func (m *metrics) looked(now time.Time, took time.Duration, report Report, err error) {
	if err != nil {
		m.failedLooks.Inc()
	} else {
		m.ok.Inc()
	}
	m.last.Set(float64(now.Unix()))
	m.seconds.Set(took.Seconds())
	m.other.Add(float64(report.Other))
	m.failed.Add(float64(report.Failed))
	m.lacking.Set(float64(report.Lacking))
}
