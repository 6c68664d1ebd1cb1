package audit

import "github.com/prometheus/client_golang/prometheus"

// Names of the metrics.
const (
	// QueueName is the gauge of the events that wait for the ledger.
	QueueName = "bezoar_audit_queue"
	// EventsName is the counter of events by "result": written, or lost because too many waited or the server ended.
	EventsName = "bezoar_audit_events_total"
	// FailuresName is the counter of writes that failed. They are tried again.
	FailuresName = "bezoar_audit_write_failures_total"
	// SealedName is the gauge of the time of the last seal that this server made or verified.
	SealedName = "bezoar_audit_sealed_timestamp_seconds"
	// BrokenName is the gauge that is 1 once this server found the chain broken.
	BrokenName = "bezoar_audit_broken"
)

type metrics struct {
	written, lost, failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, waiting func() float64) *metrics {
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: QueueName, Help: "Events that wait to be written to the audit log."}, waiting)
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: EventsName, Help: "Events of the audit log by what became of them: written, or lost because too many waited or the server ended.",
	}, []string{"result"})
	failures := prometheus.NewCounter(prometheus.CounterOpts{Name: FailuresName, Help: "Writes to the audit log that failed and are tried again."})
	if reg != nil {
		reg.MustRegister(queue, events, failures)
	}
	return &metrics{written: events.WithLabelValues("written"), lost: events.WithLabelValues("lost"), failures: failures}
}
