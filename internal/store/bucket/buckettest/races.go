package buckettest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func testSecondHandle(t *testing.T, s *suite) {
	first := s.open(t)
	second := s.second(t, first)
	put(t, first, "a", []byte("first"), "1", bucket.IfAbsent)
	version := wantObject(t, second, "a", []byte("first"), "1")
	if err := tryPut(t.Context(), second, "a", contentOf([]byte("second"), ""), bucket.IfAbsent); !errors.Is(err, bucket.ErrExist) {
		t.Errorf("put through the other handle: got %v, want ErrExist", err)
	}
	put(t, second, "a", []byte("second"), "2", bucket.Replace)
	wantObject(t, first, "a", []byte("second"), "2")
	if _, _, err := get(t.Context(), first, "a", 0, version); !errors.Is(err, bucket.ErrChanged) && !errors.Is(err, bucket.ErrNotExist) {
		t.Errorf("get the replaced version: got %v, want ErrChanged", err)
	}
	if err := del(t.Context(), first, "a", ""); err != nil {
		t.Fatal(err)
	}
	wantAbsent(t, second, "a")
}

// writers is how many write one object at once.
const writers = 50

func testRaceSmall(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []bucket.Bucket{first, s.second(t, first)}
	for round, size := range []int{0, 100, 10_000, 100_000, 1 << 20, 10_000} {
		race(t, handles, fmt.Sprintf("round-%d", round), writers, size, false)
	}
}

func testRaceLarge(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []bucket.Bucket{first, s.second(t, first)}
	for round := range 2 {
		race(t, handles, fmt.Sprintf("large-%d", round), 6, int(s.threshold)+1, false)
	}
	for round := range 3 {
		race(t, handles, fmt.Sprintf("parts-%d", round), writers/2, 1000, true)
	}
}

// race lets writers with different bodies and lengths write one object at once, each told by its metadata. Exactly one is told that it won, unless the answers
// of some were lost; what is there is one's, and it is the winner's if there is one.
func race(t *testing.T, handles []bucket.Bucket, name string, n, size int, inParts bool) {
	t.Helper()
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = Body(uint64(i), size+i)
	}
	errs := make([]error, n)
	start := make(chan struct{})
	var done sync.WaitGroup
	for i := range n {
		done.Go(func() {
			<-start
			content := contentOf(bodies[i], fmt.Sprint("writer-", i))
			content.InParts = inParts
			errs[i] = tryPut(t.Context(), handles[i%len(handles)], name, content, bucket.IfAbsent)
		})
	}
	close(start)
	done.Wait()

	there := settle(t, handles, name, bodies)
	lost := 0
	for i, err := range errs {
		switch {
		case err == nil && i != there:
			t.Errorf("%s: writer %d was told that it won; what is there is of writer %d", name, i, there)
		case err == nil:
		case errors.Is(err, bucket.ErrExist) && i == there:
			t.Errorf("%s: writer %d won and was told that it did not: %v", name, i, err)
		case errors.Is(err, bucket.ErrExist):
		case errors.Is(err, bucket.ErrRefused), errors.Is(err, bucket.ErrNotExist), errors.Is(err, bucket.ErrChanged), errors.Is(err, context.Canceled):
			t.Errorf("%s: writer %d: %v", name, i, err)
		default:
			lost++ // the answer
		}
	}
	if errs[there] != nil {
		t.Logf("%s: the winner's answer was lost: %v", name, errs[there])
	}
	if lost > 0 {
		t.Logf("%s: the answers of %d of %d writers were lost", name, lost, n)
	}
}

// settle looks at the object through every handle, and returns whose it is. It must be whole and somebody's.
func settle(t *testing.T, handles []bucket.Bucket, name string, bodies [][]byte) int {
	t.Helper()
	there := -1
	for _, handle := range handles {
		info, body, err := get(t.Context(), handle, name, 0, "")
		if err != nil {
			t.Fatalf("%s: after the race: %v", name, err)
		}
		var writer int
		if _, err := fmt.Sscanf(info.Meta, "writer-%d", &writer); err != nil || writer < 0 || writer >= len(bodies) {
			t.Fatalf("%s: after the race it has the metadata %q", name, info.Meta)
		}
		if !bytes.Equal(body, bodies[writer]) {
			t.Fatalf("%s: after the race it has the metadata of writer %d and %d bytes that are not its %d", name, writer, len(body), len(bodies[writer]))
		}
		if there >= 0 && there != writer {
			t.Fatalf("%s: one handle sees the object of writer %d, the other that of %d", name, there, writer)
		}
		there = writer
	}
	return there
}

func testManyObjects(t *testing.T, s *suite) {
	first := s.open(t)
	handles := []bucket.Bucket{first, s.second(t, first)}
	var group errgroup.Group
	for i := range 64 {
		group.Go(func() error {
			name, body := fmt.Sprint("many/", i), Body(uint64(i), 1000*i)
			if err := tryPut(t.Context(), handles[i%2], name, contentOf(body, ""), bucket.IfAbsent); err != nil {
				return fmt.Errorf("put %s: %w", name, err)
			}
			_, got, err := get(t.Context(), handles[(i+1)%2], name, 0, "")
			if err != nil || !bytes.Equal(got, body) {
				return fmt.Errorf("get %s: %d bytes, %w", name, len(got), err)
			}
			return del(t.Context(), handles[i%2], name, "")
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wantList(t, first, "")
}
