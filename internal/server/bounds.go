package server

import (
	"cmp"
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/admit"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// acquire takes a slot for what a grant's bearer asks. Who may not write is counted by his credential.
func acquire(ctx context.Context, slots *admit.Slots, grant cache.Grant) (release func(), err error) {
	if slots == nil {
		return func() {}, nil
	}
	p := grant.Producer
	return slots.Acquire(ctx, admit.Who{
		Trusted: grant.Write == cache.Trusted, Workspace: string(grant.Workspace),
		Group: cmp.Or(string(grant.Write), "token "+p.TokenID+" session "+p.Session),
	})
}

// registerBounds shows how much of each bound is used.
func (s *Server) registerBounds(reg prometheus.Registerer) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	counter := func(labels prometheus.Labels, value func() float64) {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "bezoar_overload_total", Help: "What was turned away because there was too much at once, by kind and class.", ConstLabels: labels,
		}, value))
	}
	gauge("bezoar_connections", "Connections of clients that are open.", nil, func() float64 { return float64(s.crowd.open.Load()) })
	counter(prometheus.Labels{"kind": "connection", "class": ""}, func() float64 { return float64(s.crowd.shed.Load()) })
	for kind, slots := range map[string]*admit.Slots{"upload": s.opts.Uploads, "download": s.opts.Downloads} {
		if slots == nil {
			continue
		}
		gauge("bezoar_slots", "Uploads and downloads that may be under way at once.", prometheus.Labels{"kind": kind}, func() float64 { return float64(slots.State().Slots) })
		for class, of := range map[string]func(admit.State) (held int, refused uint64){
			"trusted": func(s admit.State) (int, uint64) { return s.Trusted, s.RefusedTrusted },
			"other":   func(s admit.State) (int, uint64) { return s.Others, s.RefusedOthers },
		} {
			labels := prometheus.Labels{"kind": kind, "class": class}
			gauge("bezoar_slots_used", "Uploads and downloads under way that hold a slot, by class.", labels, func() float64 { held, _ := of(slots.State()); return float64(held) })
			counter(labels, func() float64 { _, refused := of(slots.State()); return float64(refused) })
		}
	}
}
