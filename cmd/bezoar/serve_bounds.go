package main

import (
	"fmt"
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/bezoar-cache/bezoar/internal/admit"
)

// memoryShare is how much of its container's memory the server lets its heap have before it collects garbage harder. The rest is for what Go does not
// count.
const memoryShare = 0.9

// limitMemory tells Go of the limit of the container that the server runs in, unless GOMEMLIMIT says otherwise: what is over it is killed, and with
// it every upload.
func (a *app) limitMemory() {
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.FromCgroup))
	switch {
	case err != nil:
		a.log.Debug("the limit of memory is not known", "error", err)
	case limit != math.MaxInt64:
		a.log.Info("garbage is collected so that the server stays below a limit of memory", "bytes", limit)
	}
}

// openSlots makes the slots of one kind of transfer.
func (a *app) openSlots(n int) *admit.Slots {
	return admit.New(admit.Options{Slots: n, Wait: a.cfg.SlotWait, Workspaces: func() int { return len(a.auth.Workspaces()) }})
}

// overloaded says what there was too much of a moment ago, or is nil.
func (a *app) overloaded(uploads, downloads *admit.Slots) error {
	for _, of := range []struct {
		what string
		err  error
	}{{"uploads", uploads.Degraded()}, {"downloads", downloads.Degraded()}, {"connections", a.server.Crowded()}} {
		if of.err != nil {
			return fmt.Errorf("%s: %w", of.what, of.err)
		}
	}
	return nil
}
