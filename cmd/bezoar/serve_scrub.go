package main

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/scrub"
	"github.com/bezoar-cache/bezoar/internal/store/recorded"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// openScrub makes what reads all that is stored, below spool and tier. What it finds is judged by its seal, buried and noted in the ledger like what a
// request finds.
func (a *app) openScrub(walker cache.Walker, bodies cache.Store, marks cache.Marker, ring *keyring.Ring) {
	if a.cfg.ScrubRate == 0 {
		return
	}
	holder := rand.Text()
	options := scrub.Options{
		Walker: walker,
		Store:  seal.New(bodies, ring.Derive("seal"), seal.Options{Logger: a.log, Registerer: a.registry, Now: time.Now, Graves: a.graves}),
		Lease: func(ctx context.Context, ttl time.Duration) (bool, error) {
			return a.ledger.Lease(ctx, "scrub", holder, ttl)
		},
		Marks: marks, Rate: int64(a.cfg.ScrubRate), Every: a.cfg.ScrubEvery,
		Logger: a.log, Registerer: a.registry, Now: time.Now,
	}
	a.scrub = scrub.New(options)
	a.causes.Add("scrub", a.scrub.Degraded)
}

// readOnly is a [cache.Store] for those who make no entries.
type readOnly struct{ recorded.Remote }

// Create implements [cache.Store].
func (readOnly) Create(context.Context, cache.Key) (cache.Draft, error) {
	return nil, errors.New("entries do not go to the bucket this way")
}
