// Package healing_test damages what is stored, in each place and in each way, and shows that it heals: no wrong byte is ever served for whole, then
// there is a miss, and then a fresh upload is kept and read back.
package healing_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/scrub"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parts are what an entry is where it lies: in a file one behind the other, in a bucket an object and what is beside it.
type parts struct {
	body   []byte
	record []byte
	behind []byte // what follows the entry
}

// damages are what can become of an entry; another is an entry of another key.
var damages = map[string]func(is, another parts) parts{
	"cut body":                      func(is, _ parts) parts { is.body = is.body[:len(is.body)/2]; return is },
	"cut, and what follows is gone": func(is, _ parts) parts { return parts{body: is.body[:len(is.body)*2/3]} },
	"cut by one byte":               func(is, _ parts) parts { is.body = is.body[:len(is.body)-1]; return is },
	"flipped byte at the begin":     func(is, _ parts) parts { return flip(is, 0) },
	"flipped byte in the middle":    func(is, _ parts) parts { return flip(is, len(is.body)/2) },
	"flipped byte at the end":       func(is, _ parts) parts { return flip(is, len(is.body)-1) },
	"a page of zeros": func(is, _ parts) parts {
		is.body = slices.Concat(is.body[:100], make([]byte, 300), is.body[400:])
		return is
	},
	"flipped byte in the record": func(is, _ parts) parts {
		is.record = bytes.Clone(is.record)
		is.record[len(is.record)/2] ^= 1
		return is
	},
	"empty":                 func(parts, parts) parts { return parts{} },
	"foreign bytes":         func(parts, parts) parts { return parts{body: storetest.Body(77, 3000)} },
	"foreign body":          func(is, _ parts) parts { is.body = storetest.Body(77, len(is.body)); return is },
	"foreign record":        func(is, another parts) parts { is.record = another.record; return is },
	"another entry":         func(_, another parts) parts { return another },
	"record without a body": func(is, _ parts) parts { is.body = nil; return is },
	"body without a record": func(is, _ parts) parts { is.record = nil; return is },
	"trailing bytes":        func(is, _ parts) parts { is.behind = []byte("x"); return is },
	"twice": func(is, _ parts) parts {
		is.behind = slices.Concat(is.body, is.record)
		return is
	},
}

func flip(is parts, at int) parts {
	is.body = bytes.Clone(is.body)
	is.body[at] ^= 1
	return is
}

// read opens and reads an entry to its end. Without an error, all of it must be what was put.
func read(t *testing.T, store cache.Store, key cache.Key, want []byte) error {
	t.Helper()
	obj, err := store.Open(t.Context(), key)
	if err != nil {
		return err
	}
	defer obj.Close()
	got, err := io.ReadAll(obj.Body)
	if err == nil && !bytes.Equal(got, want) {
		t.Fatalf("wrong bytes were served for whole: %d of them, SHA-256 %x", len(got), sha256.Sum256(got))
	}
	if err != nil && len(got) >= len(want) {
		t.Errorf("all %d bytes of a damaged entry were given out before the error", len(got))
	}
	return err
}

// victim is an entry that is damaged, with one beside it.
type victim struct {
	*place
	key, other cache.Key
	before     []byte // the body of key
	beside     []byte // that of other
}

// find reads the entry until its damage shows: whoever comes while a download of it is about to end joins that, and has the bytes from before.
func (v *victim) find(t *testing.T) error {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := read(t, v.store, v.key, v.before)
		if err != nil || v.copied {
			return err
		}
		if !v.shared || time.Now().After(deadline) {
			t.Fatal("the damage was not seen")
		}
	}
}

// healed fails the test unless the key is a miss, or has what it had where there is a second copy of it, and takes a fresh upload.
func healed(t *testing.T, v *victim) {
	t.Helper()
	err := read(t, v.store, v.key, v.before)
	if err == nil && v.copied {
		return
	}
	if !errors.Is(err, cache.ErrNotExist) {
		t.Fatalf("afterwards: %v, want a miss", err)
	}
	fresh := storetest.Body(3, len(v.before)+1)
	if err := storetest.Put(t.Context(), v.store, v.key, fresh); err != nil {
		t.Fatalf("a fresh upload: %v", err)
	}
	for range 2 {
		if err := read(t, v.store, v.key, fresh); err != nil {
			t.Fatalf("the fresh upload, read: %v", err)
		}
	}
}

// TestDamageHeals by being read: at the start of a reading or in its course.
func TestDamageHeals(t *testing.T) {
	each(t, func(t *testing.T, v *victim) {
		switch err := v.find(t); {
		case err == nil, errors.Is(err, cache.ErrDamaged), errors.Is(err, cache.ErrNotExist):
		default:
			t.Fatalf("reading: %v, want damage", err)
		}
		healed(t, v)
	})
}

// TestDamageHealsUnread: an upload that comes before any reading finds its way, save over damage that only the body shows: there, the key counts as
// taken until somebody reads it.
func TestDamageHealsUnread(t *testing.T) {
	each(t, func(t *testing.T, v *victim) {
		fresh := storetest.Body(3, len(v.before)+1)
		switch err := storetest.Put(t.Context(), v.store, v.key, fresh); {
		case err == nil:
			if err := read(t, v.store, v.key, fresh); err != nil {
				t.Fatalf("the fresh upload, read: %v", err)
			}
		case errors.Is(err, cache.ErrExist):
			_ = v.find(t) // what it is, the other test tells
			healed(t, v)
		default:
			t.Fatalf("a fresh upload: %v", err)
		}
	})
}

// TestScrubHeals what nobody reads.
func TestScrubHeals(t *testing.T) {
	each(t, func(t *testing.T, v *victim) {
		if v.walker == nil {
			return // nothing scrubs copies; a reading heals them, as above
		}
		found := 0
		for step, err := range v.walker.Walk(t.Context(), cache.Part{}, "", cache.SetAside) {
			if err != nil || step.Stuck != nil {
				t.Fatalf("walk: %v %v", err, step.Stuck)
			}
			if step.Damage != nil || !verify(t, v.scrubbed, step.Key) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%d entries were found damaged", found)
		}
		healed(t, v)
		if err := read(t, v.store, v.other, v.beside); err != nil {
			t.Errorf("the entry beside it: %v", err)
		}
	})
}

func verify(t *testing.T, store cache.Store, key cache.Key) (whole bool) {
	t.Helper()
	obj, err := store.Open(t.Context(), key)
	if errors.Is(err, cache.ErrDamaged) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	err = scrub.Verify(obj, func(int) error { return nil })
	if err == nil {
		return true
	}
	if !errors.Is(err, cache.ErrDamaged) {
		t.Fatal(err)
	}
	if err := obj.SetAside(err.Error()); err != nil {
		t.Fatal(err)
	}
	return false
}

// each runs a test over each place, damage and size. The cases of a place come one after the other in one storage.
func each(t *testing.T, test func(t *testing.T, v *victim)) {
	for where, open := range places {
		t.Run(where, func(t *testing.T) {
			p, n := open(t), 0
			for what, damage := range damages {
				for _, size := range []int{500, 150_000} {
					n++
					hash := fmt.Sprintf("1277728951136799%d", n)
					t.Run(what, func(t *testing.T) {
						v := &victim{place: p, key: storetest.Key(hash), before: storetest.Body(1, size), beside: storetest.Body(2, size+7)}
						v.other = v.key
						v.other.Scope = "pr/17"
						for key, body := range map[cache.Key][]byte{v.key: v.before, v.other: v.beside} {
							if err := storetest.Put(t.Context(), p.store, key, body); err != nil {
								t.Fatal(err)
							}
							if err := read(t, p.store, key, body); err != nil {
								t.Fatal(err)
							}
						}
						p.damage(t, v.key, v.other, damage)
						test(t, v)
					})
				}
			}
		})
	}
}
