package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	storefs "github.com/bezoar-cache/bezoar/internal/store/fs"
)

// openFinder opens the storage of a server.
func openFinder(ctx context.Context, cfg *config.Config) (f admin.Finder, closeFinder func() error, err error) {
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

func (d inDirectory) Look(ctx context.Context, key cache.Key) (*admin.Sight, error) {
	found, err := d.Reader.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &admin.Sight{Entry: found.Entry, Place: found.Path, Damage: found.Damage, Body: found.Body, Close: found.Close}, nil
}

type inBucket struct{ *bucket.Store }

func (b inBucket) Look(ctx context.Context, key cache.Key) (*admin.Sight, error) {
	found, err := b.Store.Look(ctx, key)
	if err != nil {
		return nil, err
	}
	return &admin.Sight{Entry: found.Entry, Place: b.URL() + " " + found.Name, Damage: found.Damage, Body: found.Body, Close: found.Close}, nil
}

// onItsWay finds what was acknowledged and waits for the bucket, and else what the bucket has.
type onItsWay struct {
	spool inDirectory
	admin.Finder
}

func (o onItsWay) Look(ctx context.Context, key cache.Key) (*admin.Sight, error) {
	found, err := o.spool.Look(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return o.Finder.Look(ctx, key)
	}
	return found, err
}
