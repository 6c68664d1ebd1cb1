package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/purge"
	"github.com/bezoar-cache/bezoar/internal/store/breaker"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/hot"
	storemetrics "github.com/bezoar-cache/bezoar/internal/store/metrics"
	"github.com/bezoar-cache/bezoar/internal/store/prompt"
	"github.com/bezoar-cache/bezoar/internal/store/recorded"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/spool"
	"github.com/bezoar-cache/bezoar/internal/store/tier"
	"github.com/bezoar-cache/bezoar/internal/store/traced"
	"github.com/bezoar-cache/bezoar/internal/store/watched"
)

// startupCheck bounds the tries on the bucket at the start.
const startupCheck = time.Minute

// openStore seals what the backend keeps, and measures from outside, so that a broken seal shows as damage.
func (a *app) openStore(ctx context.Context, ring *keyring.Ring) (_ cache.Store, err error) {
	if a.graves, err = seal.NewGraveyard(ctx, a.ledger, seal.GraveyardOptions{Logger: a.log, Registerer: a.registry, Now: time.Now}); err != nil {
		return nil, err
	}
	a.causes.Add("graves", a.graves.Degraded)
	rules, err := purge.LoadRules(ctx, a.ledger, a.log, a.registry, time.Now)
	if err != nil {
		return nil, err
	}
	recording := recorded.Options{Logger: a.log, Registerer: a.registry, Now: time.Now}
	if !a.cfg.Ledger.IsPostgres() {
		recording.Left = a.bury // of several servers one may note late what another one has undone
	}
	recorder := recorded.Start(a.ledger, recording)
	// Opened before the backend, it ends after it: what a spool sends at the end is noted, too.
	a.atEnd(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), recordingEnd)
		defer cancel()
		if err := recorder.Close(ctx); err != nil {
			a.log.Warn("'bezoar ledger rebuild' brings the ledger up to date", "error", err)
		}
		return nil
	})
	a.causes.Add("entries", recorder.Degraded)
	backend, quarantine, err := a.openBackend(ctx, ring, recorder, rules)
	if err != nil {
		return nil, err
	}
	a.purges = purge.NewKeeper(rules, purge.NewEngine(a.ledger, quarantine, newHolder(), purge.NewMetrics(a.registry), time.Now), a.log)
	a.causes.Add("purges", a.purges.Degraded)
	sealing := seal.Options{
		Logger: a.log, Registerer: a.registry, Now: time.Now, Graves: a.graves, Purges: a.purges,
	}
	sealed := seal.New(backend, ring.Derive("seal"), sealing)
	if a.direct == nil {
		a.openDivergences(sealed)
	} else {
		a.openDivergences(seal.New(a.direct, ring.Derive("seal"), sealing))
	}
	whole := storemetrics.New(sealed, a.registry)
	if a.traces != nil {
		whole = traced.New(whole)
	}
	seen := watched.New(a.keepBounds(whole, sealed), time.Now)
	a.causes.Add("store", func() error { return errors.Join(a.breaker.Degraded(), seen.Degraded()) })
	if a.cfg.MemoryCache == 0 {
		return a.noteUses(seen.Whole()), nil
	}
	return a.noteUses(hot.New(seen.Whole(), hot.Options{
		Size: int64(a.cfg.MemoryCache), MaxBody: largestInMemory, Files: hot.DefaultFiles(), Registerer: a.registry, Now: time.Now,
		Gone: func(e cache.Entry) bool {
			_, buried := a.graves.Buried(seal.GraveID(e.Key, e.Record))
			return buried || a.purges.Purged(&e)
		},
	})), nil
}

// largestInMemory is the largest artifact that is kept there, in bytes. With larger ones it matters little how they are opened.
const largestInMemory = 32 << 10

// bury keeps entries that are no more from being put back: also those that somebody with the storage took away, for whose key there is another one
// since. All that the ledger knows was sealed here. Trouble shows in the graveyard itself.
func (a *app) bury(ctx context.Context, entries []cache.Entry) {
	ids := make([][16]byte, len(entries))
	for i, e := range entries {
		ids[i] = seal.GraveID(e.Key, e.Record)
	}
	if err := a.graves.Bury(ctx, ids...); err != nil {
		a.log.Debug("entries are buried, which is not recorded yet", "entries", len(ids), "error", err)
	}
}

// openBackend opens what --store names, for entries that are sealed, and has noted what it holds. Of the storage that all servers share it returns what purges need.
func (a *app) openBackend(ctx context.Context, ring *keyring.Ring, recorder *recorded.Recorder, rules *purge.Rules) (cache.Store, cache.Quarantiner, error) {
	if a.cfg.Store.IsBucket() {
		return a.openBucketBackend(ctx, ring, recorder, rules)
	}
	a.place = a.cfg.Store.Path
	dir, err := a.openDirectory(a.place, fs.Options{})
	if err != nil {
		return nil, nil, err
	}
	if err := seal.Claim(ctx, dir, ring.Derive("seal")); err != nil {
		return nil, nil, err
	}
	if err := a.openBreaker(); err != nil {
		return nil, nil, err
	}
	a.openScrub(dir, recorder.Over(dir.Unverified()), dir, ring)
	a.dir = dir
	return recorder.Over(a.breaker.Over(prompt.Drafts(dir, max(a.cfg.StoreTimeout, leastDiskWait)))), dir, nil
}

// newHolder names this process among all that work on one ledger.
func newHolder() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	return fmt.Sprintf("%s %d %s", host, os.Getpid(), rand.Text()[:8])
}

// openBreaker makes the circuits of what holds the entries in the end: copies in a tier and uploads in a spool go on while that is down.
func (a *app) openBreaker() (err error) {
	failures := a.cfg.BreakerFailures
	if failures == 0 {
		failures = math.MaxInt32 // it still leaves calls behind that hang
	}
	// Requests wait for store-timeout, and no circuit may take a wait to its end for a client who left.
	a.breaker, err = breaker.New(breaker.Options{
		Failures: failures, Probe: a.cfg.BreakerProbe, Patience: a.cfg.StoreTimeout / 2, Registerer: a.registry,
	})
	return err
}

// openDirectory opens a directory that holds entries, until the server's end. Those of spool and tier are for one server alone: two would take each
// other's uploads for lost, and serve what the other one deleted.
func (a *app) openDirectory(dir string, options fs.Options) (*fs.Store, error) {
	options.Logger, options.Now = a.log, time.Now
	store, err := fs.Open(dir, options)
	if err != nil {
		return nil, err
	}
	a.atEnd(store.Close)
	return store, nil
}

// openBucketBackend puts spool and tier in front of a bucket. Without a directory for it, the tier keeps nothing, and verifies and shares downloads
// all the same.
func (a *app) openBucketBackend(ctx context.Context, ring *keyring.Ring, recorder *recorded.Recorder, rules *purge.Rules) (cache.Store, cache.Quarantiner, error) {
	a.place = a.cfg.Store.String()
	temp := filepath.Join(string(a.cfg.SpoolDir), "scratch")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, nil, err
	}
	remote, err := a.openRemote(ctx, ring, temp)
	if err != nil {
		return nil, nil, err
	}
	keys := ring.Derive("seal")
	if err := seal.Claim(ctx, remote, keys); err != nil { // before the spool sends anything
		return nil, nil, err
	}
	if err := a.openBreaker(); err != nil {
		return nil, nil, err
	}
	good := func(e cache.Entry) bool { return seal.Verify(keys, e.Key, e.Record) == nil }
	a.openScrub(remote, readOnly{recorder.OverRemote(remote.WithBodies(), good)}, remote, ring)
	noted := recorder.OverRemote(a.breaker.OverRemote(remote), good)
	queued, err := a.openSpool(purge.Guard(noted, remote, rules, keys))
	if err != nil {
		return nil, nil, err
	}
	a.direct = queued
	if a.cfg.Redirect == config.RedirectOn {
		plain := *a.cfg
		plain.Redirect = config.RedirectOff
		b, direct, err := openBucketStore(ctx, &plain, ring, temp, a.log)
		if err != nil {
			return nil, nil, err
		}
		a.atEnd(b.Close)
		a.direct = inBody{queued, direct}
		return queued, remote, nil // no body passes through here
	}
	front, err := a.openTier(queued, temp)
	return front, remote, err
}

// diskWait is for how long a call of a local disk in front of a bucket may show no progress. A request may come across three such calls before it knows that
// the disk hangs, and has to get through to the bucket within store-timeout all the same.
func (a *app) diskWait() time.Duration { return max(a.cfg.StoreTimeout/5, leastDiskWait) }

// leastDiskWait is more than a call of a disk takes that is merely busy.
const leastDiskWait = time.Second

// giveWay has the tier give up copies when the disk is full that it shares with the spool: an upload is worth more than a copy.
func (a *app) giveWay() {
	if front := a.tier.Load(); front != nil {
		front.GiveWay()
	}
}

func (a *app) openRemote(ctx context.Context, ring *keyring.Ring, temp string) (*bucket.Store, error) {
	check, cancel := context.WithTimeout(ctx, cmp.Or(a.checking, startupCheck))
	defer cancel()
	b, remote, err := openBucketStore(check, a.cfg, ring, temp, a.log)
	if err == nil {
		a.atEnd(b.Close)
		err = bucket.Check(check, b)
	}
	if err == nil && a.cfg.Redirect == config.RedirectOn {
		if _, err = b.Presign(check, "check", a.cfg.RedirectTTL); err != nil {
			err = fmt.Errorf("redirect is on, and no URL can be signed, so that each read would fail: %w", err)
		}
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, bucket.ErrRefused) && !errors.Is(err, bucket.ErrNotOnce) {
		err = fmt.Errorf("%w\nIf the bucket cannot be reached from here, see to --store (its region and endpoint) and to the network, and start again", err)
	}
	return remote, err
}

func (a *app) openSpool(remote spool.Remote) (*spool.Store, error) {
	local, err := a.openDirectory(string(a.cfg.SpoolDir), fs.Options{Alone: true, Full: a.giveWay})
	if err != nil {
		return nil, err
	}
	a.spool = local
	wait, limited := a.cfg.WriteWait.Limit()
	if !limited {
		wait = spool.Forever
	}
	// What the spool had committed after all, it takes over as what it finds.
	queued, err := spool.Open(remote, prompt.New(local, prompt.Options{Wait: a.diskWait(), SyncWait: max(a.cfg.StoreTimeout, leastDiskWait), Gather: true}), spool.Options{
		Wait: wait, MaxBytes: int64(a.cfg.SpoolSize), MaxAge: a.cfg.SpoolAge,
		Logger: a.log, Registerer: a.registry, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	a.atEnd(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), a.cfg.SpoolDrain)
		defer cancel()
		return queued.Close(ctx)
	})
	a.causes.Add("spool", queued.Degraded)
	return queued, nil
}

func (a *app) openTier(inner cache.Store, temp string) (cache.Store, error) {
	options := tier.Options{
		TempDir: temp, TempWait: a.diskWait(), VerifyAhead: max(1, int64(a.cfg.VerifyAhead)), // zero would be the default, and no body is smaller
		Logger: a.log, Registerer: a.registry, Now: time.Now,
	}
	if a.cfg.VerifyAhead == config.All {
		options.VerifyAhead = -1
	}
	var local cache.Store
	isShared := false
	if a.cfg.TierDir != "" {
		dir, err := a.openDirectory(string(a.cfg.TierDir), fs.Options{Alone: true})
		if err != nil {
			return nil, err
		}
		options.Size = int64(a.cfg.TierSize)
		local = prompt.New(dir, prompt.Options{Wait: a.diskWait(), Late: func(key cache.Key) {
			_ = dir.Delete(context.Background(), key) // the tier does not know of it; one that stays is found at the next start
		}})
		isShared = dir.SharesDisk(a.spool)
	}
	front, err := tier.Open(inner, local, options)
	if err != nil {
		return nil, err
	}
	a.atEnd(front.Close)
	if isShared {
		a.tier.Store(front)
	}
	a.causes.Add("tier", front.Degraded)
	return front.Store(), nil
}

// atEnd has something closed when the server ends, before what was opened earlier.
func (a *app) atEnd(closeIt func() error) { a.closers = append(a.closers, closeIt) }

func (a *app) closeAll() error {
	var errs []error
	for _, closeIt := range slices.Backward(a.closers) {
		errs = append(errs, closeIt())
	}
	return errors.Join(errs...)
}
