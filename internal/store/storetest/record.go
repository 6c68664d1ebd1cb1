package storetest

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// testReadRecord asks for records by [cache.ReadRecord], whether the store is a [cache.RecordReader] or not.
func testReadRecord(t *testing.T, s *suite) {
	first := s.open(t)
	second := s.second(t, first)
	body := Body(1, 150_000)
	wantNone := func() {
		t.Helper()
		for _, store := range []cache.Store{first, second} {
			if record, err := cache.ReadRecord(t.Context(), store, Key("1")); !errors.Is(err, cache.ErrNotExist) {
				t.Errorf("got %+v, %v, want ErrNotExist", record, err)
			}
		}
	}
	wantNone()
	mustPut(t, first, Key("1"), body)
	mustPut(t, first, Key("2"), nil)
	for _, store := range []cache.Store{first, second} {
		record, err := cache.ReadRecord(t.Context(), store, Key("1"))
		if diff := cmp.Diff(Record(body), record); diff != "" || err != nil {
			t.Errorf("%v (-put +got):\n%s", err, diff)
		}
	}
	if err := first.Delete(t.Context(), Key("1")); err != nil {
		t.Fatal(err)
	}
	wantNone()
	wantEntry(t, second, Key("2"), nil)
}
