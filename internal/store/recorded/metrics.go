package recorded

import "github.com/prometheus/client_golang/prometheus"

// Names of the metrics.
const (
	// QueueName is the gauge of the changes that wait for the ledger.
	QueueName = "bezoar_ledger_queue"
	// ChangesName is the counter of changes by "result": recorded, forgotten, and dropped, which the ledger does not know of until it is rebuilt.
	ChangesName = "bezoar_ledger_changes_total"
	// FailuresName is the counter of writes that failed. They are tried again.
	FailuresName = "bezoar_ledger_write_failures_total"
)

type metrics struct {
	recorded, forgotten, dropped, failures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, waiting func() float64) *metrics {
	queue := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: QueueName, Help: "Changes of entries that wait to be written to the ledger.",
	}, waiting)
	changes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: ChangesName,
		Help: "Changes of entries, by what became of them in the ledger: recorded, forgotten, or dropped because too many waited; 'bezoar ledger rebuild' learns those.",
	}, []string{"result"})
	failures := prometheus.NewCounter(prometheus.CounterOpts{
		Name: FailuresName, Help: "Writes of changes to the ledger that failed and are tried again.",
	})
	if reg != nil {
		reg.MustRegister(queue, changes, failures)
	}
	return &metrics{
		recorded: changes.WithLabelValues("recorded"), forgotten: changes.WithLabelValues("forgotten"), dropped: changes.WithLabelValues("dropped"), failures: failures,
	}
}
