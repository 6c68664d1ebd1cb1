package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	storefs "github.com/bezoar-cache/bezoar/internal/store/fs"
)

// sight is what lies in an entry's place.
type sight struct {
	cache.Entry
	place  string // path or URL
	damage error
	body   io.Reader // nil if there is none to be had
	close  func()
}

// finder looks for entries and changes nothing.
type finder interface {
	// look is [cache.ErrNotExist] if there is nothing under key. The caller closes the sight.
	look(ctx context.Context, key cache.Key) (*sight, error)
	Scopes(ctx context.Context, workspace cache.Workspace, hash cache.Hash, most int) ([]cache.Scope, error)
}

// openFinder opens the storage of a server.
func openFinder(ctx context.Context, cfg *config.Config) (f finder, closeFinder func() error, err error) {
	if !cfg.Store.IsBucket() {
		reader, err := storefs.OpenReader(cfg.Store.Path)
		if err != nil {
			return nil, nil, err
		}
		return inDirectory{reader}, func() error { return nil }, nil
	}
	// The key file decrypts. Where nothing is encrypted there need not be one.
	ring, err := keyring.Open(string(cfg.SealKeyFile))
	if err != nil && (cfg.Seal == config.SealAEAD || !errors.Is(err, fs.ErrNotExist)) {
		return nil, nil, err
	}
	b, store, err := openBucketStore(ctx, cfg, ring, os.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	f = inBucket{store}
	if reader, err := storefs.OpenReader(string(cfg.SpoolDir)); err == nil {
		f = onItsWay{inDirectory{reader}, f}
	}
	return f, b.Close, nil
}

type inDirectory struct{ *storefs.Reader }

func (d inDirectory) look(ctx context.Context, key cache.Key) (*sight, error) {
	found, err := d.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &sight{Entry: found.Entry, place: found.Path, damage: found.Damage, body: found.Body, close: found.Close}, nil
}

type inBucket struct{ *bucket.Store }

func (b inBucket) look(ctx context.Context, key cache.Key) (*sight, error) {
	found, err := b.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &sight{Entry: found.Entry, place: b.URL() + " " + found.Name, damage: found.Damage, body: found.Body, close: found.Close}, nil
}

// onItsWay finds what was acknowledged and waits for the bucket, and else what the bucket has.
type onItsWay struct {
	spool inDirectory
	finder
}

func (o onItsWay) look(ctx context.Context, key cache.Key) (*sight, error) {
	found, err := o.spool.look(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return o.finder.look(ctx, key)
	}
	return found, err
}
