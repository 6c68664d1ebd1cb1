package mem_test

import (
	"io"
	"testing"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return mem.New() }, storetest.Abilities())
}

func TestBodyIsWriterTo(t *testing.T) {
	store := mem.New()
	if err := storetest.Put(t.Context(), store, storetest.Key("1"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	object, err := store.Open(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if _, ok := object.Body.(io.WriterTo); !ok {
		t.Error("the body is no io.WriterTo")
	}
}
