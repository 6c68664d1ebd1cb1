package buckettest

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// list returns what a listing yields, by name.
func list(t *testing.T, b bucket.Bucket, prefix string) map[string]bucket.Info {
	t.Helper()
	got := make(map[string]bucket.Info)
	for info, err := range b.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("list %q: %v", prefix, err)
		}
		if _, twice := got[info.Name]; twice {
			t.Errorf("list %q: %q comes twice", prefix, info.Name)
		}
		got[info.Name] = info
	}
	return got
}

func wantList(t *testing.T, b bucket.Bucket, prefix string, names ...string) {
	t.Helper()
	got := slices.Sorted(maps.Keys(list(t, b, prefix)))
	want := slices.Clone(names)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
		t.Fatalf("list %q (-want +got):\n%s", prefix, diff)
	}
}

func testList(t *testing.T, s *suite) {
	b := s.open(t)
	wantList(t, b, "")
	for _, name := range []string{"a", "a/b", "a/b/c", "ab", "b/a%2fb", "b/a/b"} {
		if name == "a" || name == "a/b" {
			continue // some servers keep objects as files: one cannot be a folder too
		}
		put(t, b, name, Body(1, len(name)), "note", bucket.IfAbsent)
	}
	wantList(t, b, "", "a/b/c", "ab", "b/a%2fb", "b/a/b")
	wantList(t, b, "a", "a/b/c", "ab")
	wantList(t, b, "a/", "a/b/c")
	wantList(t, b, "a/b", "a/b/c")
	wantList(t, b, "a/b/c", "a/b/c")
	wantList(t, b, "a/b/c/")
	wantList(t, b, "b/a%", "b/a%2fb")
	wantList(t, b, "z")
	for name, listed := range list(t, b, "") {
		described, err := head(t.Context(), b, name)
		if err != nil {
			t.Fatal(err)
		}
		if listed.Size != described.Size || listed.Version != described.Version {
			t.Errorf("%q is listed with %d bytes and version %q; it has %d and %q", name, listed.Size, listed.Version, described.Size, described.Version)
		}
		if listed.HasMeta && listed.Meta != described.Meta {
			t.Errorf("%q is listed with the metadata %q; it has %q", name, listed.Meta, described.Meta)
		}
		if d := listed.Modified.Sub(described.Modified).Abs().Seconds(); d > 1 {
			t.Errorf("%q is listed as of %v; it is of %v", name, listed.Modified, described.Modified)
		}
	}
}

// many is more than any service lists at once (Azure: 5000; the others 1000).
const many = 1203

func testListMany(t *testing.T, s *suite) {
	b := s.open(t)
	var group errgroup.Group
	group.SetLimit(16)
	var names []string
	for i := range many {
		name := fmt.Sprintf("v1/%d/%%2fobject", i)
		names = append(names, name)
		group.Go(func() error { return tryPut(t.Context(), b, name, contentOf([]byte("x"), ""), bucket.IfAbsent) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, b, "v2/other", []byte("x"), "", bucket.IfAbsent)
	wantList(t, b, "v1/", names...)
	wantList(t, b, "v2/", "v2/other")
	wantList(t, b, "", append(names, "v2/other")...)
}

// testListLeft leaves listings early.
func testListLeft(t *testing.T, s *suite) {
	b := s.open(t)
	for i := range 5 {
		put(t, b, fmt.Sprint(i), []byte("x"), "", bucket.IfAbsent)
	}
	for want := range 5 {
		seen := 0
		for _, err := range b.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen > want {
				break
			}
		}
		if seen != want+1 {
			t.Errorf("saw %d, want %d", seen, want+1)
		}
	}
}
