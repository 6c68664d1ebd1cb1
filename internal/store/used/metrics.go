package used

import "github.com/prometheus/client_golang/prometheus"

// Names of the metrics.
const (
	// WaitingName is the gauge of the uses that wait for the ledger.
	WaitingName = "bezoar_ledger_uses_waiting"
	// UsesName is the counter of uses by "result": recorded, and dropped because too many waited.
	UsesName = "bezoar_ledger_uses_total"
	// FailuresName is the counter of writes that failed. They are tried again.
	FailuresName = "bezoar_ledger_use_write_failures_total"
)

type metrics struct {
	recorded, dropped, failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, waiting func() float64) *metrics {
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: WaitingName, Help: "Uses of entries that wait to be written to the ledger."}, waiting)
	uses := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: UsesName,
		Help: "Uses of entries, each counted about once an hour for an entry that is read, by what became of them: recorded in the ledger, or dropped because too many waited.",
	}, []string{"result"})
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: FailuresName, Help: "Writes of uses to the ledger that failed and are tried again.",
	})
	if reg != nil {
		reg.MustRegister(gauge, uses, failures)
	}
	return &metrics{recorded: uses.WithLabelValues("recorded"), dropped: uses.WithLabelValues("dropped"), failures: failures}
}
