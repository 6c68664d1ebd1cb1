package fs

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// session of a test: its name, whether it has a lock file, and how long ago it gave a sign of life.
type leftover struct {
	name string
	lock bool
	age  time.Duration
}

func (l leftover) make(t *testing.T, tmp string, now time.Time) {
	t.Helper()
	dir := filepath.Join(tmp, l.name)
	if err := os.Mkdir(dir, dirMode); err != nil {
		t.Fatal(err)
	}
	files := []string{"17"}
	if l.lock {
		files = append(files, lockName)
	}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), nil, fileMode); err != nil {
			t.Fatal(err)
		}
	}
	// The upload's own file is always old: what counts is the sign of life.
	times := map[string]time.Duration{filepath.Join(dir, "17"): 1000 * time.Hour, dir: l.age}
	if l.lock {
		times[filepath.Join(dir, lockName)] = l.age
		times[dir] = 1000 * time.Hour
	}
	for path, age := range times {
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSweep(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	var later atomic.Int64 // how far the store's clock is ahead; its own sweep at the start reads it, too
	s := openWith(t, dir, Options{Now: func() time.Time { return now.Add(time.Duration(later.Load())) }})
	living := open(t, dir)
	put(t, living, storetest.Key("1"), nil)
	draft, err := living.Create(t.Context(), storetest.Key("2"))
	if err != nil {
		t.Fatal(err)
	}
	defer draft.Abort()
	for _, l := range []leftover{
		{name: sessionPrefix() + "1-dead", lock: true},
		{name: sessionPrefix() + "2-young-without-lock", age: deadAfter - time.Minute},
		{name: sessionPrefix() + "3-old-without-lock", age: deadAfter + time.Minute},
		{name: "ffffffffffff-4-other-host", lock: true, age: deadAfter - time.Minute},
		{name: "ffffffffffff-5-other-host-dead", lock: true, age: deadAfter + time.Minute},
		{name: "ffffffffffff-6-other-host-without-lock", age: deadAfter + time.Minute},
		{name: "something", age: deadAfter - time.Minute},
	} {
		l.make(t, s.tmp, now)
	}
	for name, age := range map[string]time.Duration{"young-file": time.Hour, "old-file": deadAfter + time.Minute} {
		path := filepath.Join(s.tmp, name)
		if err := os.WriteFile(path, nil, fileMode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{
		filepath.Base(s.session.dir):             true,
		filepath.Base(living.session.dir):        true,
		sessionPrefix() + "2-young-without-lock": true,
		"ffffffffffff-4-other-host":              true,
		"something":                              true,
		"young-file":                             true,
	}
	got := make(map[string]bool)
	for _, name := range names(t, s.tmp) {
		got[name] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tmp/ after a sweep (-want +got):\n%s", diff)
	}
	if err := draft.Commit(t.Context(), storetest.Record(nil)); err != nil {
		t.Errorf("the draft of a living store: %v", err)
	}

	// With the sign of life of the living store long ago, its lock still protects it.
	later.Store(int64(10 * deadAfter))
	if err := s.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	stat(t, living.session.dir)
	if sign := stat(t, s.session.file(lockName)).ModTime(); s.now().Sub(sign).Abs() > time.Second {
		t.Errorf("the sign of life is of %v, want %v", sign, s.now())
	}
	if err := os.RemoveAll(s.tmp); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.tmp, dirMode); err != nil {
		t.Fatal(err)
	}
	if err := s.sweep(t.Context()); err != nil {
		t.Errorf("after somebody cleared tmp/: %v", err)
	}
}

// TestSweepEveryHour waits for the store's own sweeps, at the start and later.
func TestSweepEveryHour(t *testing.T) {
	dir := t.TempDir()
	tmp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(tmp, dirMode); err != nil {
		t.Fatal(err)
	}
	dead := leftover{name: sessionPrefix() + "1-dead", lock: true}
	dead.make(t, tmp, time.Now())
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		synctest.Wait()
		if got := names(t, tmp); len(got) != 1 {
			t.Errorf("after the start: tmp/ has %v", got)
		}
		dead.make(t, tmp, time.Now())
		<-time.After(sweepEvery + time.Second)
		synctest.Wait()
		if got := names(t, tmp); len(got) != 1 {
			t.Errorf("an hour later: tmp/ has %v", got)
		}
	})
}
