//go:build faults || e2e

package faults_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
	"github.com/bezoar-cache/bezoar/test/emulator"
	"github.com/bezoar-cache/bezoar/test/postgres"
)

// kind is what a server is set up with.
type kind string

const (
	plain     kind = "plain"     // the ledger in SQLite, as bezoar serve has it
	database  kind = "database"  // the ledger in PostgreSQL, behind a proxy
	trusting  kind = "trusting"  // a policy, with issuers
	activated kind = "activated" // on a socket that is held by its parent
	clocks    kind = "clock"     // a wall clock that can be set
	small     kind = "small"     // bounds of a few connections and transfers
	scarce    kind = "scarce"    // 64 descriptors
	ahead     kind = "ahead"     // verify-ahead: all
)

// shelf is where artifacts are kept.
type shelf string

const (
	onDisk     shelf = "fs"
	s3         shelf = "S3"
	s3WithTier shelf = "S3 with tier"
)

// Times of a server are made shorter than their defaults, so that the whole takes minutes: an operator's figures are in docs/deadlines.md.
var shortened = []string{"--store-timeout", "3s", "--breaker-probe", "1s", "--stall-timeout", "10s", "--scrub-rate", "0", "--memory-cache", "0"}

// patience bounds the time in which a server is well again after a fault has ended.
const patience = 60 * time.Second

// house is what all servers of a shelf share.
type house struct {
	t      *testing.T
	shelf  shelf
	binary bezoar.Binary
	// clocked builds the binary with a clock, at the first use.
	clocked func() bezoar.Binary
	// bucket is nil on a disk.
	bucket *bucket
	worlds int
}

// bucket is a storage server, an injector before it, and a proxy before that.
type bucket struct {
	storage  emulator.S3
	name     string
	injector *injector
	tcp      *emulator.TCP
	key      string
	feeder   *bezoar.Server
}

func newHouse(t *testing.T, on shelf, binary bezoar.Binary, withClock func() bezoar.Binary) *house {
	h := &house{t: t, shelf: on, binary: binary, clocked: withClock}
	if on == onDisk {
		return h
	}
	storage := emulator.Versity(t)
	b := &bucket{storage: storage, name: storage.NewBucket(t), key: binary.AddKey(t)}
	b.injector = newInjector(t, storage.Endpoint)
	b.tcp = emulator.Toxiproxy(t, b.injector.addr)
	h.bucket = b
	b.feeder = binary.With(storage.Environ()...).Serve(t, t.TempDir(), "--store", b.url(storage.Addr), "--seal-key-file", b.key, "--scrub-rate", "0")
	return h
}

func (b *bucket) url(addr string) string {
	return "s3://" + b.name + "/cache?endpoint=http://" + addr + "&path_style=true&region=" + b.storage.Region
}

// world is a server and what it depends on.
type world struct {
	*house
	kind   kind
	gate   *gate
	server *bezoar.Server
	// start starts the server anew, after it was killed.
	start func(under ...string) *bezoar.Server

	data   string // the directory of the ledger
	disk   string // that of the store, or of spool and tier
	ledger *postgres.Server
	wire   *emulator.TCP // to the ledger
	name   string        // of the database
	clock  *clock
	issuers
	stop func()
}

// open sets up a server.
func (h *house) open(kind kind) *world {
	h.worlds++
	w := &world{house: h, kind: kind}
	dir := filepath.Join(h.t.TempDir(), "world")
	w.gate = newGate(h.t)
	w.data = faulty.Mounted(h.t, filepath.Join(dir, "data"), "size=64m,nr_inodes=2000")
	w.disk = faulty.Mounted(h.t, filepath.Join(dir, "disk"), "size=600m,nr_inodes=4000")
	args := append(slices.Clone(shortened), "--max-artifact-size", "32MiB")
	binary := h.binary
	if b := h.bucket; b == nil {
		args = append(args, "--store", "file://"+filepath.Join(w.disk, "store"), "--min-free", "0")
	} else {
		binary = binary.With(b.storage.Environ()...)
		args = append(args, "--store", b.url(b.tcp.In), "--seal-key-file", b.key, "--spool-dir", filepath.Join(w.disk, "spool"), "--spool-size", "128MiB")
		if h.shelf == s3WithTier {
			args = append(args, "--tier-dir", filepath.Join(w.disk, "tier"), "--tier-size", "300MiB")
		}
	}
	var socket *os.File
	switch kind {
	case plain:
	case database:
		w.ledger = postgres.New(h.t)
		url := w.ledger.NewDatabase(h.t)
		w.name = strings.TrimSuffix(url[strings.LastIndex(url, "/")+1:], "?sslmode=disable")
		w.wire = emulator.Toxiproxy(h.t, fmt.Sprintf("127.0.0.1:%d", w.ledger.Port))
		binary = binary.With("PGPASSWORD=" + postgres.Password)
		args = append(args, "--ledger", "postgres://"+postgres.Role+"@"+w.wire.In+"/"+w.name+"?sslmode=disable")
	case trusting:
		args = append(args, "--policy", w.issue(h.t))
	case clocks:
		w.clock = newClock(h.t)
		c := h.clocked()
		binary = binary.At(c.Path()).With(clockVariable + "=" + w.clock.file)
	case small:
		args = append(args, "--max-connections", "16", "--max-uploads", "4", "--max-downloads", "4", "--slot-wait", "500ms")
	case ahead:
		args = append(args, "--verify-ahead", "all")
	case scarce:
		binary = binary.Under("prlimit", "--nofile=64")
	case activated:
		l := freeListener(h.t)
		var err error
		if socket, err = l.File(); err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(func() { socket.Close() })
		w.gate.leadTo("http://" + l.Addr().String())
	}
	w.start = func(under ...string) *bezoar.Server {
		b := binary
		if len(under) > 0 {
			b = b.Under(under...)
		}
		if socket != nil {
			return b.ServeOn(h.t, socket, w.data, args...)
		}
		s := b.Serve(h.t, w.data, args...)
		w.gate.leadTo(s.URL)
		return s
	}
	w.server = w.start()
	if kind == trusting {
		w.login(h.t)
	}
	w.stop = func() { w.server.Stop(h.t) }
	return w
}

// feed is the URL of a server that stores what is to be a hit: with a bucket another one, so that nothing of it is on the disk of the server under test.
func (w *world) feed() string {
	if w.bucket != nil && w.kind != trusting {
		return w.bucket.feeder.URL
	}
	return w.gate.url
}

// fed waits until the bucket has what was fed.
func (w *world) fed() error {
	if w.bucket == nil || w.kind == trusting {
		return nil
	}
	return w.await("the feeder to have sent all", func(ctx context.Context) error { return sent(ctx, w.bucket.feeder.URL, "") })
}

func (w *world) await(what string, is func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for {
		err := is(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var errNotStored = errors.New("the cache does not work yet")

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: 20 * time.Second}

// sent reports that the spool of a server is empty and no circuit of it open.
func sent(ctx context.Context, url, token string) error {
	_, text, err := ask(ctx, http.MethodGet, url+"/metrics", token, nil)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if (name == "bezoar_spool_entries" || strings.HasPrefix(name, "bezoar_breaker_open{")) && value != "0" {
			return errors.New(strings.TrimSpace(line))
		}
	}
	return nil
}

func ask(ctx context.Context, method, url, token string, body []byte) (int, []byte, error) {
	return askWith(ctx, client, method, url, token, body)
}

// well waits until the server stores and serves again, by the way on which builds reach it.
func (w *world) well() error {
	n := 0
	return w.await("the server to be well again", func(ctx context.Context) error {
		n++
		path := fmt.Sprintf("%s/v1/cache/well%d%d", w.gate.url, time.Now().UnixNano(), n)
		for _, method := range []string{http.MethodPut, http.MethodGet} {
			status, text, err := ask(ctx, method, path, w.session, artifacttest.Typical(1))
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("%s: %d %s: %w", method, status, text, cmp.Or(err, errNotStored))
			}
		}
		return sent(ctx, w.server.URL, "")
	})
}

// poke asks for something and stores something, as another build does, and does not care for answers.
func (w *world) poke() {
	for n := range 8 {
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		path := fmt.Sprintf("%s/v1/cache/poke%d%d", w.gate.url, time.Now().UnixNano(), n)
		_, _, _ = ask(ctx, http.MethodGet, path, w.session, nil)
		_, _, _ = ask(ctx, http.MethodPut, path, w.session, artifacttest.Typical(uint64(n)))
		cancel()
	}
}

// dial opens a connection to the server that says nothing.
func (w *world) dial() (net.Conn, error) {
	return net.DialTimeout("tcp", strings.TrimPrefix(w.server.URL, "http://"), 10*time.Second)
}
