package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	storefs "github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// addStoreFlags lets a command find the storage of a server, beside its ledger.
func addStoreFlags(cmd *cobra.Command, more ...string) {
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range append([]string{"store", "seal", "seal-key-file"}, more...) {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
}

// removal is a server's storage, opened by a command beside servers to delete from it.
type removal struct {
	records *ledger.Ledger
	store   retention.Store
	dir     *storefs.Store // nil for a bucket
}

// withRemoval opens the ledger and the storage. What is deleted is buried: servers serve no copy of it, and nobody can put it back.
func withRemoval(ctx context.Context, env *environment, cfg *config.Config, do func(*removal) error) error {
	return withRecords(ctx, cfg, func(records *ledger.Ledger) (err error) {
		ring, err := openRing(cfg)
		if err != nil {
			return err
		}
		log, flush := newLogger(cfg, env.Stderr)
		defer flush()
		r := &removal{records: records}
		var inner cache.Store
		if cfg.Store.IsBucket() {
			b, remote, errOpen := openBucketStore(ctx, cfg, ring, os.TempDir(), log)
			if errOpen != nil {
				return errOpen
			}
			defer func() { err = errors.Join(err, b.Close()) }()
			inner = deletable{remote}
		} else {
			if _, err := storefs.OpenReader(cfg.Store.Path); err != nil {
				return err // in the place of a slip of the keyboard there would be an empty one
			}
			if r.dir, err = storefs.Open(cfg.Store.Path, storefs.Options{Logger: log, Now: time.Now}); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, r.dir.Close()) }()
			inner = r.dir
		}
		graves, err := seal.NewGraveyard(ctx, records, seal.GraveyardOptions{Logger: log, Now: time.Now})
		if err != nil {
			return err
		}
		rules, err := purge.LoadRules(ctx, records, log, nil, time.Now)
		if err != nil {
			return err
		}
		r.store = seal.New(inner, ring.Derive("seal"), seal.Options{Logger: log, Now: time.Now, Graves: graves, Purges: purged{rules}})
		return do(r)
	})
}

// deletable is a bucket without the spool through which entries come in.
type deletable struct{ *bucket.Store }

func (deletable) Create(context.Context, cache.Key) (cache.Draft, error) {
	return nil, errors.New("entries come into a bucket through a server's spool alone")
}

// purged are the entries that purges have taken, or will: those are left to who purges.
type purged struct{ rules *purge.Rules }

func (p purged) Purged(entry *cache.Entry) bool {
	_, found := p.rules.Find(entry)
	return found
}

func (purged) Clear(context.Context, *cache.Entry) error {
	return errors.New("what is purged is cleared by a server or by 'bezoar purge'")
}
