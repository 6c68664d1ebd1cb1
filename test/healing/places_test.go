package healing_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/aead"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/membucket"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/spool"
	"github.com/bezoar-cache/bezoar/internal/store/tier"
)

// place is somewhere where entries lie.
type place struct {
	// store is what serves them.
	store cache.Store
	// copied says that what is damaged is a copy of something that is whole.
	copied bool
	// shared says that readers share downloads.
	shared bool
	// walker and scrubbed are what a scrub sees; nil if it does not look there.
	walker   cache.Walker
	scrubbed cache.Store
	// damage changes the entry of key.
	damage func(t *testing.T, key, other cache.Key, how func(is, another parts) parts)
}

var places = map[string]func(t *testing.T) *place{
	"fs": func(t *testing.T) *place {
		dir := t.TempDir()
		store := directory(t, dir)
		return &place{store: sealed(store), walker: store, scrubbed: sealed(store.Unverified()), damage: inDirectory(dir)}
	},
	"bucket": func(t *testing.T) *place { return inBucket(t, membucket.New(), false, nil) },
	"bucket that lists records": func(t *testing.T) *place {
		b := membucket.New()
		b.Listed = true
		return inBucket(t, b, false, nil)
	},
	"bucket, encrypted": func(t *testing.T) *place { return inBucket(t, membucket.New(), true, nil) },
	"bucket behind a tier": func(t *testing.T) *place {
		return inBucket(t, membucket.New(), false, func(s cache.Store) cache.Store { return tiered(t, s, nil, -1) })
	},
	"bucket behind a tier that lets bodies flow": func(t *testing.T) *place {
		return inBucket(t, membucket.New(), false, func(s cache.Store) cache.Store { return tiered(t, s, nil, 1000) })
	},
	"bucket, encrypted, behind a tier": func(t *testing.T) *place {
		return inBucket(t, membucket.New(), true, func(s cache.Store) cache.Store { return tiered(t, s, nil, -1) })
	},
	"copy in a tier": func(t *testing.T) *place {
		dir := t.TempDir()
		p := inBucket(t, membucket.New(), false, func(s cache.Store) cache.Store { return tiered(t, s, directory(t, dir), -1) })
		damage := inDirectory(dir)
		return &place{store: p.store, copied: true, damage: func(t *testing.T, key, other cache.Key, how func(is, another parts) parts) {
			for _, key := range []cache.Key{key, other} {
				kept(t, p.store, dir, key)
			}
			damage(t, key, other, how)
		}}
	},
	"spool, while the bucket is down": func(t *testing.T) *place {
		b := membucket.New()
		b.Fault = func(op, name string) error {
			if op == "put" && strings.HasPrefix(name, "entries/") {
				return errors.New("the bucket is down")
			}
			return nil
		}
		dir := t.TempDir()
		return &place{store: sealed(spooled(t, remote(t, b, false), directory(t, dir), 0)), damage: inDirectory(dir)}
	},
}

var ring = keyring.New([32]byte{31: 1})

func sealed(inner cache.Store) cache.Store {
	return seal.New(inner, ring.Derive("seal"), seal.Options{})
}

func directory(t *testing.T, dir string) *fs.Store {
	t.Helper()
	s, err := fs.Open(dir, fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func remote(t *testing.T, b bucket.Bucket, encrypted bool) *bucket.Store {
	t.Helper()
	options := bucket.Options{TempDir: t.TempDir()}
	if encrypted {
		cipher, err := aead.New(ring.Derive("aead"))
		if err != nil {
			t.Fatal(err)
		}
		options.Cipher = cipher
	}
	s, err := bucket.Open(t.Context(), b, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func spooled(t *testing.T, remote *bucket.Store, local *fs.Store, wait time.Duration) cache.Store {
	t.Helper()
	s, err := spool.Open(remote, local, spool.Options{Wait: wait, Backoff: time.Hour, MaxBackoff: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(t.Context()) }) // it has ended: nothing is waited for
	return s
}

// tiered keeps nothing without a directory.
func tiered(t *testing.T, inner cache.Store, local *fs.Store, ahead int64) cache.Store {
	t.Helper()
	options := tier.Options{TempDir: t.TempDir(), VerifyAhead: ahead}
	var dir cache.Store
	if local != nil {
		dir, options.Size = local, 1<<30
	}
	s, err := tier.Open(inner, dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.Store()
}

// inBucket puts entries into a bucket, and something over it if over is not nil.
func inBucket(t *testing.T, b *membucket.Bucket, encrypted bool, over func(cache.Store) cache.Store) *place {
	t.Helper()
	store := remote(t, b, encrypted)
	isTier := over != nil
	whole := spooled(t, store, directory(t, t.TempDir()), spool.Forever)
	if isTier {
		whole = over(whole)
	}
	root := map[bool]string{false: "entries", true: "sealed"}[encrypted]
	name := func(k cache.Key) string {
		return strings.Join([]string{root, string(k.Workspace), layout.FileName(string(k.Scope)), layout.FileName(string(k.Hash))}, "/")
	}
	return &place{
		store: sealed(whole), shared: isTier, walker: store, scrubbed: sealed(bodies{store}),
		damage: func(_ *testing.T, key, other cache.Key, how func(is, another parts) parts) {
			var another parts
			b.Edit(name(other), func(body []byte, meta string) ([]byte, string) {
				another = parts{body: body, record: []byte(meta)}
				return body, meta
			})
			b.Edit(name(key), func(body []byte, meta string) ([]byte, string) {
				is := how(parts{body: body, record: []byte(meta)}, another)
				return append(append([]byte{}, is.body...), is.behind...), string(is.record)
			})
		},
	}
}

// bodies makes no entries.
type bodies struct{ *bucket.Store }

func (bodies) Create(context.Context, cache.Key) (cache.Draft, error) {
	return nil, errors.New("nothing is made here")
}

// inDirectory changes the file of an entry.
func inDirectory(dir string) func(t *testing.T, key, other cache.Key, how func(is, another parts) parts) {
	return func(t *testing.T, key, other cache.Key, how func(is, another parts) parts) {
		t.Helper()
		path, otherPath := file(t, dir, key), file(t, dir, other)
		is := how(split(t, path), split(t, otherPath))
		if err := os.WriteFile(path, bytes.Join([][]byte{is.body, is.record, is.behind}, nil), 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func file(t *testing.T, dir string, k cache.Key) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "entries", string(k.Workspace), layout.FileName(string(k.Scope)), "*", layout.FileName(string(k.Hash))))
	if err != nil || len(found) > 1 {
		t.Fatalf("the file of %q: %v, %v", k, found, err)
	}
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

func split(t *testing.T, path string) parts {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := binary.BigEndian.Uint64(whole[len(whole)-16:])
	return parts{body: whole[:size:size], record: whole[size:]}
}

// kept waits until the tier has a copy of an entry: it keeps none before it has looked through its directory.
func kept(t *testing.T, store cache.Store, dir string, k cache.Key) {
	t.Helper()
	deadline := time.After(time.Minute)
	for file(t, dir, k) == "" {
		obj, err := store.Open(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		obj.Close()
		select {
		case <-deadline:
			t.Fatal("the tier keeps nothing")
		case <-time.After(time.Millisecond):
		}
	}
}
