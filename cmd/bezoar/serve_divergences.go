package main

import (
	"context"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// openDivergences makes what looks for divergences. It reads entries past tier and redirects: what a pull request stored must not push out what builds read.
func (a *app) openDivergences(direct cache.Store) {
	a.divergences = divergence.New(a.ledger, direct, divergence.Options{Logger: a.log, Registerer: a.registry, Now: time.Now})
	a.causes.Add("divergences", a.divergences.Degraded)
}

// inBody is a store whose entries come with their bodies, also where clients are sent to the bucket.
type inBody struct {
	cache.Store
	remote *bucket.Store // does not redirect
}

// Open implements [cache.Store].
func (s inBody) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	object, err := s.Store.Open(ctx, key)
	if err != nil || object.URL == "" {
		return object, err
	}
	if err := object.Close(); err != nil {
		return nil, err
	}
	return s.remote.Open(ctx, key)
}
