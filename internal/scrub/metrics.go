package scrub

import "github.com/prometheus/client_golang/prometheus"

// Names of the metrics.
const (
	// EntriesCounter counts entries that the scrub came to, by "result": whole, damaged, gone (deleted meanwhile), error.
	EntriesCounter = "bezoar_scrub_entries_total"
	// BytesCounter counts the bytes of bodies that were read.
	BytesCounter = "bezoar_scrub_bytes_total"
	// CompletedGauge is when the last pass was complete, in seconds since 1970; 0: none was, as far as is known.
	CompletedGauge = "bezoar_scrub_completed_timestamp_seconds"
)

type metrics struct {
	results   *prometheus.CounterVec
	bytes     prometheus.Counter
	completed prometheus.Gauge
}

// newMetrics registers the metrics: one scrub for each registry.
func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		results:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: EntriesCounter, Help: "Entries that the scrub came to, by result."}, []string{"result"}),
		bytes:     prometheus.NewCounter(prometheus.CounterOpts{Name: BytesCounter, Help: "Bytes of bodies that the scrub has read."}),
		completed: prometheus.NewGauge(prometheus.GaugeOpts{Name: CompletedGauge, Help: "When the scrub last had read all that is stored, in seconds since 1970; 0 if that is not known."}),
	}
	for _, result := range []string{"whole", "damaged", "gone", "error"} {
		m.results.WithLabelValues(result) // so that the first one is an increase
	}
	if reg != nil {
		reg.MustRegister(m.results, m.bytes, m.completed)
	}
	return m
}
