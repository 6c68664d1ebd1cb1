package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	storefs "github.com/bezoar-cache/bezoar/internal/store/fs"
)

// purgeStore is the storage that all servers share, as a command works on it beside them.
type purgeStore struct {
	place cache.Quarantiner
	all   lister // with what waits in this machine's spool
	ring  *keyring.Ring
	end   func() error
}

// openPurgeStore opens the storage of a server, which must be there. The key file need be there only where it is asked for: a listing is worth nothing without it.
func openPurgeStore(ctx context.Context, cfg *config.Config) (*purgeStore, error) {
	ring, err := keyring.Open(string(cfg.SealKeyFile))
	if err != nil && (cfg.Seal == config.SealAEAD || !errors.Is(err, fs.ErrNotExist)) {
		return nil, err
	}
	if !cfg.Store.IsBucket() {
		if _, err := storefs.OpenReader(cfg.Store.Path); err != nil {
			return nil, err
		}
		dir, err := storefs.Open(cfg.Store.Path, storefs.Options{})
		if err != nil {
			return nil, err
		}
		return &purgeStore{place: dir, all: dir, ring: ring, end: dir.Close}, nil
	}
	b, remote, err := openBucketStore(ctx, cfg, ring, os.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	s := &purgeStore{place: remote, all: remote, ring: ring, end: b.Close}
	spooled, closeSpool, err := openDirectoryForReading(string(cfg.SpoolDir))
	switch {
	case err == nil:
		s.all, s.end = inTurn{spooled, remote}, func() error { return errors.Join(closeSpool(), b.Close()) }
	case !errors.Is(err, fs.ErrNotExist):
		return nil, errors.Join(err, b.Close())
	}
	return s, nil
}

func (s *purgeStore) close() { _ = s.end() } // nothing is lost by it

// listing lists entries whose seals are good. What is not fit to be served is told, if there is somebody to tell, and left out; anything else that goes wrong hides
// entries, and is an error of the listing.
func (s *purgeStore) listing(ctx context.Context, workspace cache.Workspace, env *environment) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		if s.ring == nil {
			yield(cache.Entry{}, errors.New("the key file is not there, and without it forged records cannot be told from others: give the server's (--seal-key-file)"))
			return
		}
		told := 0
		for entry, err := range verified(s.all.List(ctx, workspace), s.ring.Derive("seal")) {
			if err != nil && (entry.Key != cache.Key{} || errors.Is(err, cache.ErrDamaged)) {
				if told++; env != nil && told <= maxReported {
					fmt.Fprintf(env.Stderr, "bezoar: %s\n", harmless(err.Error(), ""))
				}
				continue
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}
