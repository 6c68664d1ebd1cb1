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
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// verifiedPlace is a directory or bucket that is read through.
type verifiedPlace struct {
	cache.Walker
	// look reads and verifies an entry, and keeps nothing of its body.
	look func(ctx context.Context, key cache.Key) (*admin.Sight, error)
	// store sets aside what is damaged; nil if nothing is to be.
	store cache.Store
}

// setAside takes an entry out of the way, unless another one has taken its place.
func (p *verifiedPlace) setAside(ctx context.Context, key cache.Key, record cache.Record, why error) error {
	obj, err := p.store.Open(ctx, key)
	if errors.Is(err, cache.ErrDamaged) || errors.Is(err, cache.ErrNotExist) && !errors.Is(err, seal.ErrUnknownKey) {
		return nil // the store has done it, or somebody else
	}
	if err != nil {
		return err
	}
	defer obj.Close()
	if obj.Record.SHA256 != record.SHA256 || obj.Record.Seal != record.Seal || !obj.Record.Created.Equal(record.Created) {
		return nil
	}
	return obj.SetAside(why.Error())
}

// openPlaces opens the storage of a server; for changes only if something is to be set aside.
func openPlaces(ctx context.Context, cfg *config.Config, ring *keyring.Ring, setAside bool) (places []*verifiedPlace, closePlaces func() error, err error) {
	if !cfg.Store.IsBucket() {
		place, closePlace, err := openDirectoryPlace(cfg.Store.Path, ring, setAside)
		return []*verifiedPlace{place}, closePlace, err
	}
	b, remote, err := openBucketStore(ctx, cfg, ring, os.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	inBucket := &verifiedPlace{
		Walker: remote,
		look:   func(ctx context.Context, key cache.Key) (*admin.Sight, error) { return lookThrough(ctx, remote, key) },
	}
	if setAside {
		inBucket.store = seal.New(readOnly{remote.WithBodies()}, ring.Derive("seal"), seal.Options{})
	}
	spooled, closeSpool, err := openDirectoryPlace(string(cfg.SpoolDir), ring, setAside)
	if errors.Is(err, fs.ErrNotExist) {
		return []*verifiedPlace{inBucket}, b.Close, nil
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	// As for the ledger: an entry goes from the one to the other.
	return []*verifiedPlace{spooled, inBucket}, func() error { return errors.Join(closeSpool(), b.Close()) }, nil
}

func lookThrough(ctx context.Context, remote *bucket.Store, key cache.Key) (*admin.Sight, error) {
	found, err := remote.Verify(ctx, key)
	if err != nil {
		return nil, err
	}
	return &admin.Sight{Entry: found.Entry, Place: remote.URL() + " " + found.Name, Damage: found.Damage, Close: found.Close}, nil
}

func openDirectoryPlace(dir string, ring *keyring.Ring, setAside bool) (place *verifiedPlace, closePlace func() error, err error) {
	reader, err := storefs.OpenReader(dir)
	if err != nil {
		return nil, nil, err
	}
	place, closePlace = &verifiedPlace{Walker: reader, look: inDirectory{reader}.Look}, func() error { return nil }
	if setAside {
		store, err := storefs.Open(dir, storefs.Options{})
		if err != nil {
			return nil, nil, err
		}
		place.Walker, closePlace = store, store.Close
		place.store = seal.New(store.Unverified(), ring.Derive("seal"), seal.Options{})
	}
	return place, closePlace, nil
}
