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
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// lister is the part of a [cache.Store] that lists its entries.
type lister interface {
	List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error]
}

// openStoreForReading opens the storage of a server for its listing, as it lies there: seals are not checked.
func openStoreForReading(ctx context.Context, cfg *config.Config, ring *keyring.Ring) (store lister, closeStore func() error, err error) {
	if !cfg.Store.IsBucket() {
		return openDirectoryForReading(cfg.Store.Path)
	}
	b, remote, err := openBucketStore(ctx, cfg, ring, os.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	spooled, closeSpool, err := openDirectoryForReading(string(cfg.SpoolDir))
	if errors.Is(err, fs.ErrNotExist) {
		return remote, b.Close, nil
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	// What is in neither when it is looked at has come since: an entry goes from the one to the other.
	return inTurn{spooled, remote}, func() error { return errors.Join(closeSpool(), b.Close()) }, nil
}

// openDirectoryForReading opens a directory that holds entries already: in the place of a slip of the keyboard there would be an empty one.
func openDirectoryForReading(dir string) (store lister, closeStore func() error, err error) {
	if _, err := storefs.OpenReader(dir); err != nil {
		return nil, nil, err
	}
	opened, err := storefs.Open(dir, storefs.Options{})
	if err != nil {
		return nil, nil, err
	}
	return opened, opened.Close, nil
}

// inTurn lists what is in several places, one after the other.
type inTurn []lister

func (l inTurn) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for _, place := range l {
			for entry, err := range place.List(ctx, workspace) {
				if !yield(entry, err) {
					return
				}
			}
		}
	}
}

// openRing reads the key file, which must be there: without it, nothing tells records of the server's from others.
func openRing(cfg *config.Config) (*keyring.Ring, error) {
	ring, err := keyring.Open(string(cfg.SealKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no key file %s, and without it forged records cannot be told from others: give the server's (--seal-key-file)", cfg.SealKeyFile)
	}
	return ring, err
}

// verified is a listing in which an entry whose seal is not good comes with an error, also one that a later release seems to have sealed: what
// that one's record is worth, this release cannot tell.
func verified(listing iter.Seq2[cache.Entry, error], keys keyring.Keys) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for entry, err := range listing {
			if err == nil {
				if flaw := seal.Verify(keys, entry.Key, entry.Record); flaw != nil {
					err = fmt.Errorf("the entry %q is not recorded: %w", entry.Key, flaw)
				}
			}
			if !yield(entry, err) {
				return
			}
		}
	}
}
