package breaker

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	refused *prometheus.CounterVec
}

func newMetrics(b *Breaker, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "bezoar_breaker_refused_total",
		Help: "Operations of the store that were not tried because its circuit was open, by operation.",
	}, []string{"op"})}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.refused); err != nil {
		return nil, err
	}
	for _, op := range ops {
		m.refused.WithLabelValues(op)
		gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "bezoar_breaker_open", Help: "1 while an operation of the store is not tried but by probes, because it failed repeatedly, by operation.",
			ConstLabels: prometheus.Labels{"op": op},
		}, b.circuits[op].state)
		if err := reg.Register(gauge); err != nil {
			return nil, err
		}
	}
	return m, nil
}
