//go:build e2e

package replicas_test

import (
	"fmt"
	"net"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
	"github.com/bezoar-cache/bezoar/test/postgres"
)

// front is a fleet as a company runs it: a bucket, a ledger in PostgreSQL, and nginx as deploy/nginx.conf has it. Its servers can be killed and started
// again where they were, with what is on their disks.
type front struct {
	fleet
	bucket emulator.S3
	nginx  *emulator.Nginx
	places []place
	args   []string
	token  string // of a CI
}

// place is where a server runs, again and again.
type place struct{ addr, data string }

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{fleet: fleet{database: postgres.New(t), binary: bezoar.Build(t), data: t.TempDir()}, bucket: emulator.MinIO(t)}
	f.ledger = f.database.NewDatabase(t)
	key := f.binary.AddKey(t)
	f.binary = f.binary.With(append(f.bucket.Environ(),
		"BEZOAR_LEDGER="+f.ledger, "PGPASSWORD="+postgres.Password, "BEZOAR_SEAL_KEY_FILE="+key,
		"BEZOAR_STORE=s3://"+f.bucket.NewBucket(t)+"/cache?endpoint="+f.bucket.Endpoint+"&path_style=true&region="+f.bucket.Region)...)
	f.token = f.createToken(t, "ci").Secret // before the servers: without any token they are open
	// Shorter than the defaults, so that a bucket that hangs for seconds does what one does that hangs for minutes.
	f.args = []string{"--store-timeout", "3s", "--write-wait", "1s", "--breaker-probe", "1s"}
	f.servers = make([]*bezoar.Server, 3)
	var wg sync.WaitGroup
	for i := range f.servers {
		f.places = append(f.places, newPlace(t, i))
		wg.Go(func() { f.start(t, i) })
	}
	wg.Wait()
	f.nginx = emulator.StartNginx(t, f.addresses()...)
	return f
}

// newPlace has an address that nobody takes while its server is down: connections of this machine come from 127.0.0.1.
func newPlace(t *testing.T, i int) place {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.1.%d:0", i+1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return place{addr: l.Addr().String(), data: t.TempDir()}
}

func (f *front) addresses() (list []string) {
	for _, p := range f.places {
		list = append(list, p.addr)
	}
	return list
}

// start starts a server where it was before.
func (f *front) start(t *testing.T, i int) {
	t.Helper()
	p := f.places[i]
	f.servers[i] = f.binary.ServeAt(t, p.addr, p.data, append(slices.Clone(f.args), "--tier-dir", p.data+"/tier")...)
}

// add starts one server more, and has nginx know of it.
func (f *front) add(t *testing.T) {
	t.Helper()
	f.places = append(f.places, newPlace(t, len(f.places)))
	f.servers = append(f.servers, nil)
	f.start(t, len(f.servers)-1)
	f.nginx.Reload(t, f.addresses()...)
}

// hang stops a server without ending it: connections to it are taken by the kernel, and nothing answers.
func hang(t *testing.T, s *bezoar.Server) {
	t.Helper()
	if err := syscall.Kill(s.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
}

// await waits until something holds that a broken fleet never comes to.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.After(2 * time.Minute); !holds(); {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for this: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// queued is how many acknowledged uploads a server has on its disk alone.
func queued(t *testing.T, s *bezoar.Server) int { return int(s.Metric(t, "bezoar_spool_entries")) }
