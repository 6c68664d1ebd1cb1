package fs

import (
	"context"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestMain is also the main of the child processes that some tests start.
func TestMain(m *testing.M) {
	if role := os.Getenv(childEnv); role != "" {
		runChild(context.Background(), role)
		return
	}
	goleak.VerifyTestMain(m)
}

func TestContract(t *testing.T) {
	storetest.Run(t,
		func(t *testing.T) cache.Store { return open(t, t.TempDir()) },
		storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store { return open(t, first.(*Store).Dir()) }),
		storetest.Abilities(),
	)
}

// open opens a store that ends with the test.
func open(t testing.TB, dir string) *Store {
	t.Helper()
	return openWith(t, dir, Options{})
}

func openWith(t testing.TB, dir string, options Options) *Store {
	t.Helper()
	if options.Logger == nil {
		options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func put(t testing.TB, s cache.Store, key cache.Key, body []byte) {
	t.Helper()
	if err := storetest.Put(context.Background(), s, key, body); err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}
