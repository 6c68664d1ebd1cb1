package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a file and what was reported of it.
type watched struct {
	t      *testing.T
	path   string
	seen   []string
	closed chan struct{}
	cancel context.CancelFunc
}

// start watches a file, in a bubble of synctest.
func start(t *testing.T, path string) *watched {
	t.Helper()
	f, _, err := Open(path, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{t: t, path: path, closed: make(chan struct{}), cancel: cancel}
	go func() {
		defer close(w.closed)
		f.Run(ctx, func(data []byte, err error) {
			if err != nil {
				w.seen = append(w.seen, "error: "+kind(err))
			} else {
				w.seen = append(w.seen, string(data))
			}
		})
	}()
	synctest.Wait()
	return w
}

func kind(err error) string {
	for _, known := range []error{fs.ErrNotExist, ErrTooLarge, ErrNotRegular} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

// looks lets a number of looks pass.
func (w *watched) looks(n int) {
	<-time.After(time.Duration(n) * Interval)
	synctest.Wait()
}

// want ends the watch and checks what was reported.
func (w *watched) want(reports ...string) {
	w.t.Helper()
	w.cancel()
	<-w.closed
	if !slices.Equal(w.seen, reports) {
		w.t.Errorf("reported %q, want %q", w.seen, reports)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNothingNewIsReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		w.looks(3)
		write(t, path, "a") // written again
		w.looks(5)
		w.want()
	})
}

func TestEachContentIsReportedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		write(t, path, "b")
		w.looks(5)
		write(t, path, "a")
		w.looks(5)
		w.want("b", "a")
	})
}

// TestHalfAFileIsNotReported: what changes from one look to the next is still being written.
func TestHalfAFileIsNotReported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		for _, content := range []string{"", "h", "ha", "half", "half a", "whole"} {
			write(t, path, content)
			w.looks(1)
		}
		w.looks(1)
		w.want("whole")
	})
}

func TestRenamedOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		write(t, filepath.Join(dir, "new"), "b")
		if err := os.Rename(filepath.Join(dir, "new"), path); err != nil {
			t.Fatal(err)
		}
		w.looks(3)
		w.want("b")
	})
}

// TestSwappedLinks does what the kubelet does to a mounted ConfigMap: f -> ..data/f, ..data -> a directory that is swapped whole.
func TestSwappedLinks(t *testing.T) {
	dir := t.TempDir()
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for version, content := range map[string]string{"v1": "a", "v2": "b"} {
		if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "f"), content)
	}
	link("v1", "..data")
	link("..data/f", "f")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, filepath.Join(dir, "f"))
		link("v2", "..tmp")
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		w.looks(3)
		w.want("b")
	})
}

func TestGoneForAMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		os.Remove(path)
		w.looks(1)
		write(t, path, "a")
		w.looks(3)
		os.Remove(path)
		w.looks(1)
		write(t, path, "b")
		w.looks(3)
		w.want("b")
	})
}

// TestGoneForGood is reported once, and so is what comes back, even if nothing changed.
func TestGoneForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		os.Remove(path)
		w.looks(9)
		write(t, path, "a")
		w.looks(3)
		w.want("error: "+fs.ErrNotExist.Error(), "a")
	})
}

func TestWhatIsNoFileToRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "a")
	synctest.Test(t, func(t *testing.T) {
		w := start(t, path)
		write(t, path, strings.Repeat("x", 1<<10+1))
		w.looks(3)
		os.Remove(path)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		w.looks(3)
		w.want("error: "+ErrTooLarge.Error(), "error: "+ErrNotRegular.Error())
	})
	for name, want := range map[string]error{"missing": fs.ErrNotExist, "f": ErrNotRegular} {
		if _, _, err := Open(filepath.Join(filepath.Dir(path), name), 1); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
