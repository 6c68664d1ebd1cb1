package spool

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Names of the metrics.
const (
	// EntriesGauge, BytesGauge and OldestGauge tell of acknowledged entries that the bucket lacks: how many, of how many bytes, and
	// for how many seconds the oldest has been waiting.
	EntriesGauge = "bezoar_spool_entries"
	BytesGauge   = "bezoar_spool_bytes"
	OldestGauge  = "bezoar_spool_oldest_seconds"
	// SendsCounter counts sends by "result": sent; lost_race, when another server was first after the upload was acknowledged; failed, when
	// it was not acknowledged for that; retried, when the entry is tried again; given_up, when it was for too long; damaged, when
	// the local disk did not keep it.
	SendsCounter = "bezoar_spool_sends_total"
	// RefusedCounter counts uploads that were refused because the queue was full.
	RefusedCounter = "bezoar_spool_refused_total"
)

type metrics struct {
	sends   *prometheus.CounterVec
	refused prometheus.Counter
}

// newMetrics registers the metrics of s in reg.
func newMetrics(s *Store, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: SendsCounter,
			Help: "Sends of entries to the bucket, by result.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: RefusedCounter,
			Help: "Uploads that were refused because the spool was full.",
		}),
	}
	for _, result := range []string{"sent", "lost_race", "failed", "retried", "given_up", "damaged"} {
		m.sends.WithLabelValues(result) // so that the first one is an increase
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return value()
		})
	}
	for _, c := range []prometheus.Collector{
		m.sends,
		m.refused,
		gauge(EntriesGauge, "Acknowledged entries that the bucket lacks.", func() float64 { return float64(s.pending.Len()) }),
		gauge(BytesGauge, "Bytes of acknowledged entries that the bucket lacks.", func() float64 { return float64(s.pendingBytes) }),
		gauge(OldestGauge, "Age of the oldest acknowledged entry that the bucket lacks, in seconds.", func() float64 { return s.oldest().Seconds() }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the metrics of the spool: %w", err)
		}
	}
	return m, nil
}
