package seal_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// entryOf is what a ledger knows of an entry.
func entryOf(t *testing.T, store cache.Store, hash string) cache.Entry {
	t.Helper()
	obj, err := store.Open(t.Context(), storetest.Key(hash))
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	return obj.Entry
}

func put(t *testing.T, store cache.Store, hash, body string) {
	t.Helper()
	if err := storetest.Put(t.Context(), store, storetest.Key(hash), []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// TestDeleteExactly deletes what is meant, and buries that; what is under the key by now, it leaves.
func TestDeleteExactly(t *testing.T) {
	list := &records{}
	graves := yard(t, list, seal.GraveyardOptions{})
	dir := t.TempDir()
	inner := openFS(t, dir)
	sealed := seal.New(inner, ring(1), seal.Options{Graves: graves})
	var count atomic.Int64
	server := distinct{sealed, &count}
	var meant []cache.Entry
	for _, hash := range []string{"plain", "anew", "gone", "forged", "damaged"} {
		put(t, server, hash, hash)
		meant = append(meant, entryOf(t, server, hash))
	}
	// Somebody was there meanwhile.
	for _, hash := range []string{"anew", "gone"} {
		if err := server.Delete(t.Context(), storetest.Key(hash)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, server, "anew", "uploaded anew")
	if err := inner.Delete(t.Context(), storetest.Key("forged")); err != nil {
		t.Fatal(err)
	}
	forged := storetest.Record([]byte("forged"))
	forged.Seal = meant[3].Record.Seal
	draft, err := inner.Create(t.Context(), storetest.Key("forged"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(draft, "forged")
	forged.Producer.RunID = "another"
	if err := draft.Commit(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	cut(t, dir, "damaged")

	errs := sealed.DeleteExactly(t.Context(), meant)
	for i, want := range []error{nil, cache.ErrOther, cache.ErrNotExist, cache.ErrNotExist, cache.ErrNotExist} {
		if !errors.Is(errs[i], want) || want == nil && errs[i] != nil {
			t.Errorf("%s: %v, want %v", meant[i].Key.Hash, errs[i], want)
		}
	}
	if _, body, err := storetest.Get(t.Context(), sealed, storetest.Key("anew")); err != nil || string(body) != "uploaded anew" {
		t.Errorf("what was uploaded since: %q %v", body, err)
	}
	if _, buried := graves.Buried(seal.GraveID(meant[0].Key, meant[0].Record)); !buried {
		t.Error("it could be put back")
	}
	for _, hash := range []string{"plain", "gone", "forged", "damaged"} {
		if _, err := sealed.Open(t.Context(), storetest.Key(hash)); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("%s: %v", hash, err)
		}
	}
}

// cut takes the end of an entry's file away.
func cut(t *testing.T, dir, hash string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "entries"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(filepath.Base(path), hash) {
			return os.Truncate(path, 3)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestManyExactly buries all in one go, and deletes each once.
func TestManyExactly(t *testing.T) {
	list := &records{}
	graves := yard(t, list, seal.GraveyardOptions{})
	sealed := seal.New(mem.New(), ring(1), seal.Options{Graves: graves})
	var meant []cache.Entry
	for i := range 500 {
		put(t, sealed, fmt.Sprint(i), "x")
		meant = append(meant, entryOf(t, sealed, fmt.Sprint(i)))
	}
	for i, err := range sealed.DeleteExactly(t.Context(), meant) {
		if err != nil {
			t.Fatal(i, err)
		}
	}
	if list.calls != 1 {
		t.Errorf("recorded in %d calls", list.calls)
	}
	for i, err := range sealed.DeleteExactly(t.Context(), meant) {
		if !errors.Is(err, cache.ErrNotExist) {
			t.Fatal(i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	put(t, sealed, "left", "x")
	if errs := sealed.DeleteExactly(ctx, []cache.Entry{entryOf(t, sealed, "left")}); !errors.Is(errs[0], context.Canceled) {
		t.Error(errs)
	}
}
