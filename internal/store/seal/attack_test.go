package seal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// Row 10 of the threat model: somebody with access to the disk. Such a one has a store of his own over the server's directory, one
// that seals nothing: what he writes by it has the format, the key in it and every checksum right.

var (
	victim = storetest.Key("1")
	own    = cache.Key{Workspace: victim.Workspace, Scope: "pr/17", Hash: victim.Hash}
	honest = []byte("what main built, long enough to be edited")
	poison = []byte("what an attacker would have main restore.")
)

// disk is a server's directory with an attacker in it.
type disk struct {
	t      *testing.T
	dir    string
	server cache.Store
	plain  *fs.Store // the attacker's
	log    bytes.Buffer
	reg    *prometheus.Registry
	now    time.Time
}

// newDisk has the victim's entry, and one that the attacker uploaded to his own scope under the same hash, both sealed.
func newDisk(t *testing.T) *disk {
	d := &disk{t: t, dir: t.TempDir(), reg: prometheus.NewRegistry(), now: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)}
	log := slog.New(slog.NewTextHandler(&d.log, nil))
	inner, err := fs.Open(d.dir, fs.Options{Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inner.Close(); err != nil {
			t.Error(err)
		}
	})
	clock := func() time.Time { return d.now }
	graves, err := seal.NewGraveyard(t.Context(), &records{}, seal.GraveyardOptions{Logger: log, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	d.server = distinct{seal.New(inner, ring(1), seal.Options{Logger: log, Registerer: d.reg, Now: clock, Graves: graves}), new(atomic.Int64)}
	d.plain = openFS(t, d.dir)
	d.put(d.server, victim, honest)
	d.put(d.server, own, poison)
	return d
}

func (d *disk) put(store cache.Store, key cache.Key, body []byte) {
	d.t.Helper()
	if err := storetest.Put(d.t.Context(), store, key, body); err != nil {
		d.t.Fatal(err)
	}
}

// record is that of an entry as it lies on the disk.
func (d *disk) record(key cache.Key) cache.Record {
	d.t.Helper()
	entry, _, err := storetest.Get(d.t.Context(), d.plain, key)
	if err != nil {
		d.t.Fatal(err)
	}
	return entry.Record
}

// forge puts an entry in the place of key whose size and digest are right, if change leaves them so.
func (d *disk) forge(key cache.Key, body []byte, record cache.Record, change func(*cache.Record)) {
	d.t.Helper()
	if err := d.plain.Delete(d.t.Context(), key); err != nil && !errors.Is(err, cache.ErrNotExist) {
		d.t.Fatal(err)
	}
	plant(d.t, d.plain, key, body, func(r *cache.Record) {
		record.Size, record.SHA256 = r.Size, r.SHA256
		*r = record
		if change != nil {
			change(r)
		}
	})
}

// file is where the entry of key lies.
func (d *disk) file(key cache.Key) string {
	d.t.Helper()
	scope := strings.ReplaceAll(string(key.Scope), "/", "%2f")
	found, err := filepath.Glob(filepath.Join(d.dir, "entries", string(key.Workspace), scope, "*", string(key.Hash)))
	if err != nil || len(found) != 1 {
		d.t.Fatalf("the files of %q: %v, %v", key, found, err)
	}
	return found[0]
}

// edit changes a file as it lies there: the same inode, and the same time of modification.
func (d *disk) edit(path string, change func([]byte) []byte) {
	d.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		d.t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	err = os.WriteFile(path, change(content), 0)
	if err := errors.Join(err, os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) move(from, to string) {
	d.t.Helper()
	if err := os.Rename(from, to); err != nil {
		d.t.Fatal(err)
	}
}

// attacks change what lies under the victim's key. None may be served.
var attacks = map[string]func(d *disk){
	"files swapped": func(d *disk) {
		a, b, third := d.file(victim), d.file(own), filepath.Join(d.dir, "third")
		d.move(a, third)
		d.move(b, a)
		d.move(third, b)
	},
	"file moved from another scope": func(d *disk) { d.move(d.file(own), d.file(victim)) },
	"moved from another scope":      func(d *disk) { d.forge(victim, poison, d.record(own), nil) },
	"moved from another hash": func(d *disk) {
		other := storetest.Key("2")
		d.put(d.server, other, poison)
		d.forge(victim, poison, d.record(other), nil)
	},
	"moved from another workspace": func(d *disk) {
		other := cache.Key{Workspace: "web", Scope: victim.Scope, Hash: victim.Hash}
		d.put(d.server, other, poison)
		d.forge(victim, poison, d.record(other), nil)
	},
	"body edited in place": func(d *disk) {
		d.edit(d.file(victim), func(content []byte) []byte { return append(bytes.Clone(poison), content[len(poison):]...) })
	},
	"body edited and digest made anew": func(d *disk) { d.forge(victim, poison, d.record(victim), nil) },
	"entry rewritten in place": func(d *disk) {
		record := d.record(victim)
		elsewhere := &disk{t: d.t, dir: d.t.TempDir()}
		elsewhere.plain = openFS(d.t, elsewhere.dir)
		elsewhere.forge(victim, poison, record, nil)
		forged, err := os.ReadFile(elsewhere.file(victim))
		if err != nil {
			d.t.Fatal(err)
		}
		d.edit(d.file(victim), func([]byte) []byte { return forged })
	},
	"body edited, all digests made anew": func(d *disk) {
		d.forge(victim, poison, d.record(victim), func(r *cache.Record) {
			r.Content, r.Inflated, r.Members = sha256.Sum256(poison), 1, 1
		})
	},
	"seal of another entry": func(d *disk) {
		d.forge(victim, poison, d.record(victim), func(r *cache.Record) { r.Seal = d.record(own).Seal })
	},
	"record and seal of another entry, honest body": func(d *disk) { d.forge(victim, honest, d.record(own), nil) },
	"producer edited": func(d *disk) {
		d.forge(victim, honest, d.record(victim), func(r *cache.Record) { r.Producer.RunID = "666" })
	},
	"producer removed": func(d *disk) {
		d.forge(victim, honest, d.record(victim), func(r *cache.Record) { r.Producer = cache.Producer{} })
	},
	"time edited": func(d *disk) {
		d.forge(victim, honest, d.record(victim), func(r *cache.Record) { r.Created = r.Created.Add(1) })
	},
	"opaque edited": func(d *disk) {
		d.forge(victim, honest, d.record(victim), func(r *cache.Record) { r.Opaque = !r.Opaque })
	},
	"seal stripped": func(d *disk) { d.forge(victim, poison, d.record(victim), func(r *cache.Record) { r.Seal = "" }) },
	"seal stripped, honest body": func(d *disk) {
		d.forge(victim, honest, d.record(victim), func(r *cache.Record) { r.Seal = "" })
	},
	"sealed with a key of the attacker's": func(d *disk) {
		if err := d.plain.Delete(d.t.Context(), victim); err != nil {
			d.t.Fatal(err)
		}
		d.put(seal.New(d.plain, ring(66), seal.Options{}), victim, poison)
	},
	"sealed with a key of the attacker's under the name of the server's": func(d *disk) {
		if err := d.plain.Delete(d.t.Context(), victim); err != nil {
			d.t.Fatal(err)
		}
		d.put(seal.New(d.plain, keyring.Keys{{ID: ring(1)[0].ID, Secret: ring(66)[0].Secret}}, seal.Options{}), victim, poison)
	},
	"seal of an earlier version": func(d *disk) {
		d.forge(victim, poison, d.record(victim), func(r *cache.Record) { r.Seal = strings.Replace(r.Seal, "v1", "v0", 1) })
	},
	"cut": func(d *disk) {
		d.edit(d.file(victim), func(content []byte) []byte { return content[:len(content)-1] })
	},
	"cut, all else made anew": func(d *disk) { d.forge(victim, honest[:10], d.record(victim), nil) },
	"emptied":                 func(d *disk) { d.edit(d.file(victim), func([]byte) []byte { return nil }) },
	"extended": func(d *disk) {
		d.edit(d.file(victim), func(content []byte) []byte { return append(content, 0) })
	},
	"extended, all else made anew": func(d *disk) {
		d.forge(victim, append(bytes.Clone(honest), poison...), d.record(victim), nil)
	},
	"a link to the attacker's entry": func(d *disk) {
		path := d.file(victim)
		if err := errors.Join(os.Remove(path), os.Symlink(d.file(own), path)); err != nil {
			d.t.Fatal(err)
		}
	},
}

func TestAttacksOnTheDisk(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			for _, known := range []bool{false, true} {
				d := newDisk(t)
				if known { // the server has served the entry before
					if _, _, err := storetest.Get(t.Context(), d.server, victim); err != nil {
						t.Fatal(err)
					}
				}
				attack(d)
				d.wantRefused(victim)
			}
		})
	}
}

// TestPlanted: an entry that the server never made.
func TestPlanted(t *testing.T) {
	d := newDisk(t)
	free := storetest.Key("2")
	d.forge(free, poison, d.record(own), nil)
	d.wantRefused(free)
}

// wantRefused fails unless what lies under key is a miss, set aside and alarmed of, and the key can be used anew.
func (d *disk) wantRefused(key cache.Key) {
	t := d.t
	t.Helper()
	before := d.aside()
	if _, body, err := storetest.Get(t.Context(), d.server, key); !errors.Is(err, cache.ErrDamaged) {
		t.Fatalf("got %q, %v, want ErrDamaged", body, err)
	}
	if n := d.aside() - before; n != 1 {
		t.Errorf("%d files were set aside", n)
	}
	if !strings.Contains(d.log.String(), "level=ERROR") || strings.Count(d.log.String(), "\n") != 1 {
		t.Errorf("want one line of alarm, the log says:\n%s", &d.log)
	}
	if got := counts(t, d.reg); (strings.Contains(d.log.String(), "seal") || strings.Contains(d.log.String(), "was deleted")) != (got["broken"]+got["missing"]+got["unknown_key"]+got["rolled_back"] == 1) {
		t.Errorf("counted %v, logged %s", got, &d.log)
	}
	if _, _, err := storetest.Get(t.Context(), d.server, key); !errors.Is(err, cache.ErrNotExist) {
		t.Fatalf("afterwards: got %v, want ErrNotExist", err)
	}
	d.put(d.server, key, honest)
	if _, body, err := storetest.Get(t.Context(), d.server, key); err != nil || !bytes.Equal(body, honest) {
		t.Fatalf("uploaded anew: got %q, %v", body, err)
	}
}

func (d *disk) aside() int {
	d.t.Helper()
	files, err := os.ReadDir(filepath.Join(d.dir, "damaged"))
	if err != nil {
		d.t.Fatal(err)
	}
	return len(files)
}

// TestAttacksBeforeAnUpload: what was done to the disk does not keep an upload out either.
func TestAttacksBeforeAnUpload(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			attack(d)
			d.put(d.server, victim, honest)
			if _, body, err := storetest.Get(t.Context(), d.server, victim); err != nil || !bytes.Equal(body, honest) {
				t.Errorf("got %q, %v", body, err)
			}
		})
	}
}

// TestAttacksOnATrustedBuild: through the cache, a build whose grant is to read and write trusted entries misses, and stores its own.
func TestAttacksOnATrustedBuild(t *testing.T) {
	grant := cache.Grant{Workspace: victim.Workspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted, Producer: cache.Producer{Kind: "ci", RunID: "1"}}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			attack(d)
			c := cache.New(d.server, cache.Options{Limits: artifact.Limits{AllowUnknown: true}, Now: time.Now})
			if _, err := c.Get(t.Context(), grant, victim.Hash); !errors.Is(err, cache.ErrDamaged) {
				t.Fatalf("got %v, want ErrDamaged", err)
			}
			if _, err := c.Put(t.Context(), grant, cache.Upload{Hash: victim.Hash, Size: int64(len(honest)), Body: bytes.NewReader(honest)}); err != nil {
				t.Fatal(err)
			}
			obj, err := c.Get(t.Context(), grant, victim.Hash)
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			if body, err := io.ReadAll(obj.Body); err != nil || !bytes.Equal(body, honest) || obj.Record.Producer != grant.Producer {
				t.Errorf("got %q by %+v, %v", body, obj.Record.Producer, err)
			}
		})
	}
}

// TestAttacksAreListed: each is an error to who lists, and none an entry in good standing.
func TestAttacksAreListed(t *testing.T) {
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			attack(d)
			failed := false
			for entry, err := range d.server.List(t.Context(), "") {
				if err != nil {
					failed = true
				} else if entry.Key == victim && name != "body edited in place" { // listing reads no bodies
					t.Errorf("listed as good: %+v", entry)
				}
			}
			if !failed && name != "body edited in place" {
				t.Error("the listing has no error")
			}
		})
	}
}

// TestRollback puts an entry back that was good under its key until it was deleted, or set aside by who uses the store.
func TestRollback(t *testing.T) {
	remove := map[string]func(d *disk) error{
		"deleted": func(d *disk) error { return d.server.Delete(d.t.Context(), victim) },
		"set aside": func(d *disk) error {
			obj, err := d.server.Open(d.t.Context(), victim)
			if err != nil {
				return err
			}
			defer obj.Close()
			return obj.SetAside("purged")
		},
	}
	for name, remove := range remove {
		for _, what := range []string{"into the free place", "in place of a later one", "before an upload"} {
			t.Run(name+", put back "+what, func(t *testing.T) {
				d := newDisk(t)
				path := d.file(victim)
				old, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := remove(d); err != nil {
					t.Fatal(err)
				}
				d.put(d.server, victim, []byte("a later build"))
				if _, body, err := storetest.Get(t.Context(), d.server, victim); err != nil || string(body) != "a later build" {
					t.Fatalf("the later one: got %q, %v", body, err)
				}
				if what == "in place of a later one" {
					d.edit(path, func([]byte) []byte { return old })
				} else {
					err := d.server.Delete(t.Context(), victim)
					if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, old, 0o600)); err != nil {
						t.Fatal(err)
					}
				}
				d.now = d.now.Add(time.Hour)
				if what == "before an upload" {
					d.put(d.server, victim, honest)
					if _, body, err := storetest.Get(t.Context(), d.server, victim); err != nil || !bytes.Equal(body, honest) {
						t.Errorf("got %q, %v", body, err)
					}
					return
				}
				d.wantRefused(victim)
				if got := counts(t, d.reg); got["rolled_back"] != 1 || !strings.Contains(d.log.String(), "reason=rolled_back") {
					t.Errorf("counted %v, logged %s", got, &d.log)
				}
			})
		}
	}
}

// TestRollbackOfAnother: what is buried is one entry, not its key, its body, or those that carry its seal without a right to.
func TestRollbackOfAnother(t *testing.T) {
	d := newDisk(t)
	d.forge(storetest.Key("2"), poison, d.record(victim), nil) // the victim's seal
	if err := d.server.Delete(t.Context(), storetest.Key("2")); err != nil {
		t.Fatal(err)
	}
	d.forge(storetest.Key("3"), poison, d.record(victim), nil)
	if _, _, err := storetest.Get(t.Context(), d.server, storetest.Key("3")); !errors.Is(err, cache.ErrDamaged) {
		t.Fatalf("got %v", err)
	}
	if err := d.server.Delete(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	d.now = d.now.Add(time.Hour)
	if _, body, err := storetest.Get(t.Context(), d.server, victim); err != nil || !bytes.Equal(body, honest) {
		t.Errorf("got %q, %v", body, err)
	}
}

// TestPretendedLaterRelease: it hides the entry, as its removal would, and is not served.
func TestPretendedLaterRelease(t *testing.T) {
	d := newDisk(t)
	d.forge(victim, poison, d.record(victim), func(r *cache.Record) { r.Seal = "v2" + r.Seal[2:] })
	if _, _, err := storetest.Get(t.Context(), d.server, victim); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if !strings.Contains(d.log.String(), "later release") || counts(t, d.reg)["later_release"] != 1 {
		t.Errorf("the log says %s", &d.log)
	}
}
