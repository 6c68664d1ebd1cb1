package fs

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestOpenTwiceAndAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "open")
	s := open(t, dir)
	open(t, dir)
	put(t, s, storetest.Key("1"), []byte("body"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, body, err := storetest.Get(t.Context(), open(t, dir), storetest.Key("1")); err != nil || string(body) != "body" {
		t.Errorf("opened again: got %q, %v", body, err)
	}
	if got := names(t, dir); strings.Join(got, " ") != "FORMAT damaged entries tmp" {
		t.Errorf("the directory has %v", got)
	}
}

// TestOpenLeavesNothing but what is meant to stay: nothing of the probe.
func TestOpenLeavesNothing(t *testing.T) {
	s := open(t, t.TempDir())
	if got := append(names(t, s.entries), names(t, s.damaged)...); len(got) != 0 {
		t.Errorf("%v are left of the probe", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, s.tmp); len(got) != 0 {
		t.Errorf("%v are left after Close", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range []struct {
		name, want string
		prepare    func(dir string) error
	}{
		{"a later format", "another version of bezoar", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("bezoar-store 2\n"), fileMode)
		}},
		{"a cut format", "another version of bezoar", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "FORMAT"), nil, fileMode)
		}},
		{"a file for entries/", "a file lies where a directory belongs", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "entries"), nil, fileMode)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.prepare(dir); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, Options{})
			if err == nil {
				_ = s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want an error that names the directory and says %q", err, c.want)
			}
		})
	}
}

// TestTroubleIsNoMiss has the place of an entry unreachable.
func TestTroubleIsNoMiss(t *testing.T) {
	s := open(t, t.TempDir())
	key := storetest.Key("1")
	scope := filepath.Dir(filepath.Dir(s.path(key)))
	if err := os.MkdirAll(filepath.Dir(scope), dirMode); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(scope, nil, fileMode); err != nil {
		t.Fatal(err)
	}
	want := func(doing string, err error) {
		t.Helper()
		if err == nil || isFree(err) || errors.Is(err, cache.ErrExist) {
			t.Errorf("%s: got %v, want trouble", doing, err)
		} else if !strings.Contains(err.Error(), "move it away") || !strings.Contains(err.Error(), scope) {
			t.Errorf("%s: %q does not say what to do to what", doing, err)
		}
	}
	_, err := s.Open(t.Context(), key)
	want("open", err)
	_, err = s.Create(t.Context(), key)
	want("create", err)
	want("delete", s.Delete(t.Context(), key))
	for _, err := range s.List(t.Context(), "") {
		want("list", err)
	}
}

func TestHints(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "make room",
		syscall.EDQUOT: "quota",
		syscall.EACCES: "own the directory",
		syscall.EROFS:  "read-only",
		syscall.EIO:    "kernel's log",
		syscall.ESTALE: "mount it again",
		syscall.EMFILE: "LimitNOFILE",
		syscall.EXDEV:  "one file system",
	} {
		got := trouble("write", &os.PathError{Op: "write", Path: "/x", Err: err})
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: got %q, which should say %q", err, got, want)
		}
	}
	if got := linkTrouble("/x", syscall.EPERM); !strings.Contains(got.Error(), "no hard links") {
		t.Errorf("link: got %q", got)
	}
}

// TestLinkLies has link(2) report failures of what it did, as NFS does when an answer is lost.
func TestLinkLies(t *testing.T) {
	for _, lie := range []error{syscall.EEXIST, syscall.EIO, syscall.ENOENT} {
		s := open(t, t.TempDir())
		put(t, s, storetest.Key("0"), nil)
		if err := os.MkdirAll(filepath.Dir(s.path(storetest.Key("1"))), dirMode); err != nil {
			t.Fatal(err)
		}
		s.link = func(from, to string) error {
			if err := os.Link(from, to); err != nil {
				return err
			}
			return &os.LinkError{Op: "link", Old: from, New: to, Err: lie}
		}
		put(t, s, storetest.Key("1"), []byte("body"))
		if _, body, err := storetest.Get(t.Context(), s, storetest.Key("1")); err != nil || string(body) != "body" {
			t.Errorf("%v: got %q, %v", lie, body, err)
		}
	}
}

// TestLinkFails has commits fail for good. Nothing is visible, and nothing stays.
func TestLinkFails(t *testing.T) {
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO, syscall.ENOENT, syscall.EPERM} {
		s := open(t, t.TempDir())
		s.link = func(from, to string) error { return &os.LinkError{Op: "link", Old: from, New: to, Err: fault} }
		err := storetest.Put(t.Context(), s, storetest.Key("1"), []byte("body"))
		if !errors.Is(err, fault) || errors.Is(err, cache.ErrExist) || isFree(err) {
			t.Errorf("%v: got %v", fault, err)
		}
		if _, err := s.Open(t.Context(), storetest.Key("1")); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("%v: open: got %v, want a miss", fault, err)
		}
		if got := names(t, s.session.dir); len(got) != 1 {
			t.Errorf("%v: %v are left", fault, got)
		}
	}
}

// TestUploadLost has somebody remove the file of an upload under way.
func TestUploadLost(t *testing.T) {
	s := open(t, t.TempDir())
	draft, err := s.Create(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.tmp); err != nil {
		t.Fatal(err)
	}
	err = draft.Commit(t.Context(), storetest.Record(nil))
	if err == nil || !strings.Contains(err.Error(), "removed by somebody") || isFree(err) {
		t.Errorf("got %v", err)
	}
	put(t, s, storetest.Key("1"), []byte("the store makes tmp/ anew"))
}

// TestEmptyDirectoriesGo keeps scopes that are purged from leaving their directories.
func TestEmptyDirectoriesGo(t *testing.T) {
	s := open(t, t.TempDir())
	for _, scope := range []cache.Scope{"pr/1", "pr/2"} {
		put(t, s, cache.Key{Workspace: "web", Scope: scope, Hash: "1"}, nil)
	}
	for i, want := range []int{1, 0} {
		if err := s.Delete(t.Context(), cache.Key{Workspace: "web", Scope: cache.Scope("pr/" + strconv.Itoa(i+1)), Hash: "1"}); err != nil {
			t.Fatal(err)
		}
		if got := names(t, s.entries); len(got) != want {
			t.Errorf("entries/ has %v, want %d workspaces", got, want)
		}
	}
	stat(t, s.entries)
}

// readerFrom is a connection as io.Copy sees it.
type readerFrom struct{ got io.Reader }

func (*readerFrom) Write([]byte) (int, error) { return 0, errors.New("copied by hand") }

func (w *readerFrom) ReadFrom(r io.Reader) (int64, error) {
	w.got = r
	return io.Copy(io.Discard, r)
}

// TestBodyIsAFile sees that a connection gets the file itself, limited to the body, which sendfile needs.
func TestBodyIsAFile(t *testing.T) {
	s := open(t, t.TempDir())
	put(t, s, storetest.Key("1"), storetest.Body(1, 100_000))
	forget(s) // verifying must not move the file's offset
	object, err := s.Open(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	var w readerFrom
	if n, err := io.Copy(&w, object.Body); n != 100_000 || err != nil {
		t.Fatalf("copied %d bytes, %v", n, err)
	}
	limited, ok := w.got.(*io.LimitedReader)
	if !ok {
		t.Fatalf("the connection gets a %T", w.got)
	}
	if _, ok := limited.R.(*os.File); !ok {
		t.Errorf("the connection gets a limited %T", limited.R)
	}
}

// tcpListener counts connections' calls of ReadFrom with a file: where the net package uses sendfile.
type tcpListener struct {
	net.Listener
	files atomic.Int64
}

type tcpConn struct {
	*net.TCPConn
	l *tcpListener
}

func (l *tcpListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tcpConn{TCPConn: c.(*net.TCPConn), l: l}, nil
}

func (c *tcpConn) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			c.l.files.Add(1)
		}
	}
	return c.TCPConn.ReadFrom(r)
}

// TestHTTPSendsTheFile does as the server does, and sees the file arrive at the TCP connection.
func TestHTTPSendsTheFile(t *testing.T) {
	s := open(t, t.TempDir())
	body := storetest.Body(1, 300_000)
	put(t, s, storetest.Key("1"), body)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		object, err := s.Open(r.Context(), storetest.Key("1"))
		if err != nil {
			t.Error(err)
			return
		}
		defer object.Close()
		w.Header().Set("Content-Length", strconv.FormatInt(object.Record.Size, 10))
		if _, err := io.Copy(w, object.Body); err != nil {
			t.Error(err)
		}
	}))
	listener := &tcpListener{Listener: server.Listener}
	server.Listener = listener
	server.Start()
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	if n := listener.files.Load(); n != 1 {
		t.Errorf("the connection was handed a file %d times, want once", n)
	}
}

// TestBodyCut truncates a file while it is read: the reader must not take what it got for all.
func TestBodyCut(t *testing.T) {
	for name, read := range map[string]func(*cache.Object) error{
		"read":   func(o *cache.Object) error { _, err := io.ReadAll(struct{ io.Reader }{o.Body}); return err },
		"copied": func(o *cache.Object) error { _, err := io.Copy(io.Discard, o.Body); return err },
	} {
		s := open(t, t.TempDir())
		put(t, s, storetest.Key("1"), storetest.Body(1, 100_000))
		object, err := s.Open(t.Context(), storetest.Key("1"))
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		if err := os.Truncate(s.path(storetest.Key("1")), 50_000); err != nil {
			t.Fatal(err)
		}
		if err := read(object); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: got %v, want io.ErrUnexpectedEOF", name, err)
		}
	}
}

// TestNoFileLeak counts the process's open files around everything that can go well or wrong.
func TestNoFileLeak(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts files in /proc")
	}
	before := len(names(t, "/proc/self/fd"))
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	key := storetest.Key("1")
	for i := range 20 {
		put(t, s, key, storetest.Body(uint64(i), 1000))
		if _, _, err := storetest.Get(t.Context(), s, key); err != nil {
			t.Fatal(err)
		}
		if err := storetest.Put(t.Context(), s, key, nil); !errors.Is(err, cache.ErrExist) {
			t.Fatal(err)
		}
		for range s.List(t.Context(), "") {
			break
		}
		if err := os.Truncate(s.path(key), 500); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Fatal(err)
		}
		if err := os.MkdirAll(s.path(key), dirMode); err != nil {
			t.Fatal(err)
		}
		for range s.List(t.Context(), "") {
		}
		a, errA := s.Create(t.Context(), key)
		b, errB := s.Create(t.Context(), key)
		c, errC := s.Create(t.Context(), key)
		if err := errors.Join(errA, errB, errC, a.Commit(t.Context(), storetest.Record(nil))); err != nil {
			t.Fatal(err)
		}
		if err := b.Commit(t.Context(), storetest.Record(nil)); !errors.Is(err, cache.ErrExist) {
			t.Fatal(err)
		}
		c.Abort()
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after := len(names(t, "/proc/self/fd")); after != before {
		t.Errorf("%d files are open, %d were", after, before)
	}
}
