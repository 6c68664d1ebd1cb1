package seal_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestClaim(t *testing.T) {
	dir := t.TempDir()
	store := openFS(t, dir)
	note := filepath.Join(dir, "MARK-SEALED-BY")
	claim := func(keys keyring.Keys, want error) {
		t.Helper()
		err := seal.Claim(t.Context(), store, keys)
		if !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
		if want == nil {
			if text, err := os.ReadFile(note); err != nil || string(text) != "bezoar seal key 1 "+keys[0].ID+"\n" {
				t.Errorf("the note says %q, %v", text, err)
			}
		}
	}
	claim(ring(1), nil)
	claim(ring(1), nil)
	claim(ring(2), seal.ErrOtherKey)
	claim(ring(2, 3), seal.ErrOtherKey)
	claim(ring(1, 2), nil) // the key is told to all first
	claim(ring(2, 1), nil) // then it becomes the active one
	claim(ring(1, 2), nil) // on a server that lags behind
	claim(ring(2), seal.ErrOtherKey)
	claim(ring(2, 1), nil)
	claim(ring(2), nil)
	claim(ring(1), seal.ErrOtherKey)

	err := seal.Claim(t.Context(), store, ring(1))
	for _, want := range []string{ring(2)[0].ID, "key file", "bezoar key", "MARK-SEALED-BY"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %q: %v", want, err)
		}
	}
	// To begin anew.
	if err := os.Remove(note); err != nil {
		t.Fatal(err)
	}
	claim(ring(1), nil)
}

func TestClaimDoesNotGuess(t *testing.T) {
	for _, text := range []string{"", "x", "bezoar seal key 2 " + ring(1)[0].ID, "bezoar seal key 1 " + ring(1)[0].ID + "\n\n", "bezoar seal key 1 \x1b[31m"} {
		store := mem.New()
		if err := store.SetMark(t.Context(), "sealed-by", nil, []byte(text)); err != nil {
			t.Fatal(err)
		}
		err := seal.Claim(t.Context(), store, ring(1))
		if err == nil || errors.Is(err, seal.ErrOtherKey) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: got %v", text, err)
		}
		if got, err := store.Mark(t.Context(), "sealed-by"); err != nil || string(got) != text {
			t.Errorf("%q became %q, %v", text, got, err)
		}
	}
}

// TestClaimsAtOnce: of servers with different key files on a new store, those with one key go on.
func TestClaimsAtOnce(t *testing.T) {
	for range 10 {
		store := mem.New()
		refused := make([]bool, 8)
		var group errgroup.Group
		for i := range refused {
			group.Go(func() error {
				err := seal.Claim(t.Context(), store, ring(byte(i%2+1)))
				refused[i] = errors.Is(err, seal.ErrOtherKey)
				if refused[i] {
					err = nil
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for i := range refused {
			if refused[i] != refused[i%2] || refused[0] == refused[1] {
				t.Fatalf("refused: %v", refused)
			}
		}
	}
}

// TestNewKeyTooEarly has one server move on to a key that a running one was not told of: it must not destroy what is sealed with it.
func TestNewKeyTooEarly(t *testing.T) {
	inner := mem.New()
	var log bytes.Buffer
	if err := seal.Claim(t.Context(), inner, ring(1)); err != nil {
		t.Fatal(err)
	}
	lags := seal.New(inner, ring(1), seal.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := seal.Claim(t.Context(), inner, ring(2, 1)); err != nil {
		t.Fatal(err)
	}
	leads := seal.New(inner, ring(2, 1), seal.Options{})
	key := storetest.Key("1")
	if err := storetest.Put(t.Context(), leads, key, []byte("body")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := storetest.Get(t.Context(), lags, key); !errors.Is(err, cache.ErrNotExist) || !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("got %v, want a miss", err)
	}
	if err := storetest.Put(t.Context(), lags, key, []byte("another")); !errors.Is(err, cache.ErrExist) {
		t.Errorf("put: got %v, want ErrExist", err)
	}
	if _, body, err := storetest.Get(t.Context(), leads, key); err != nil || string(body) != "body" {
		t.Errorf("the entry is %q, %v", body, err)
	}
	if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), ring(2)[0].ID) {
		t.Errorf("the log says %s", &log)
	}
	// A key that nobody uses is another matter.
	if err := storetest.Put(t.Context(), seal.New(inner, ring(3), seal.Options{}), storetest.Key("2"), []byte("forged")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := storetest.Get(t.Context(), leads, storetest.Key("2")); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// blind keeps notes that cannot be read.
type blind struct{ *mem.Store }

func (blind) Mark(context.Context, string) ([]byte, error) {
	return nil, errors.New("input/output error")
}

// TestNoteCannotBeRead: then nothing is destroyed, and nothing claimed.
func TestNoteCannotBeRead(t *testing.T) {
	inner := mem.New()
	if err := storetest.Put(t.Context(), seal.New(inner, ring(2), seal.Options{}), storetest.Key("1"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	_, err := seal.New(blind{inner}, ring(1), seal.Options{}).Open(t.Context(), storetest.Key("1"))
	if err == nil || errors.Is(err, cache.ErrDamaged) || errors.Is(err, cache.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if len(inner.Aside()) != 0 {
		t.Error("the entry was set aside")
	}
	if err := seal.Claim(t.Context(), blind{inner}, ring(1)); err == nil {
		t.Error("the store was claimed")
	}
}
