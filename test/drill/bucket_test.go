//go:build e2e

package drill_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/s3"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
	"github.com/bezoar-cache/bezoar/test/postgres"
)

// newReplicas starts two servers that share a bucket and a PostgreSQL, each with a tier and a spool of its own.
func newReplicas(t *testing.T, args ...string) (*company, emulator.S3) {
	t.Helper()
	storage, database := emulator.Versity(t), postgres.New(t)
	storage.Setenv(t)
	name := storage.NewBucket(t)
	binary := bezoar.Build(t)
	c := &company{keyFile: binary.AddKey(t)}
	records, err := database.MakeDatabase(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.binary = binary.With(append(storage.Environ(),
		"BEZOAR_LEDGER="+database.URL(records), "PGPASSWORD="+postgres.Password, "BEZOAR_SEAL_KEY_FILE="+c.keyFile, "BEZOAR_DATA="+t.TempDir(),
		"BEZOAR_STORE=s3://"+name+"/cache?endpoint="+storage.Endpoint+"&path_style=true&region="+storage.Region,
	)...)
	for range 2 {
		c.servers = append(c.servers, c.binary.Serve(t, t.TempDir(), append([]string{"--tier-dir", t.TempDir()}, args...)...))
	}
	b, err := s3.Open(t.Context(), s3.Options{Bucket: name, Prefix: "cache", Region: storage.Region, Endpoint: storage.Endpoint, PathStyle: true})
	if err != nil {
		t.Fatal(err)
	}
	store, err := bucket.Open(t.Context(), b, bucket.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	c.backend = &written{store}
	if c.records, err = ledger.OpenPostgres(t.Context(), ledger.Postgres{
		Host: "127.0.0.1", Port: uint16(database.Port), User: postgres.Role, Password: postgres.Password, Database: records, SSLMode: "disable",
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := c.records.Close(); err != nil {
			t.Error(err)
		}
	})
	c.desk = newDesk(t, c.binary)
	return c, storage
}

// written is a bucket's store with drafts in files, for seeding.
type written struct{ *bucket.Store }

func (w *written) Create(_ context.Context, key cache.Key) (cache.Draft, error) {
	file, err := os.CreateTemp("", "drill-*")
	if err != nil {
		return nil, err
	}
	return &writtenDraft{File: file, store: w.Store, key: key}, os.Remove(file.Name())
}

type writtenDraft struct {
	*os.File
	store *bucket.Store
	key   cache.Key
}

func (d *writtenDraft) Commit(ctx context.Context, record cache.Record) error {
	return d.store.Put(ctx, cache.Entry{Key: d.key, Record: record}, io.NewSectionReader(d.File, 0, record.Size))
}

func (d *writtenDraft) Abort() { _ = d.Close() }

// TestReplicas is the drill with a bucket, where each server has copies in its tier.
func TestReplicas(t *testing.T) {
	c, _ := newReplicas(t)
	drill(t, c, 2000)
}

// TestWhatWaitsInASpool: the bucket hangs, what a stolen token wrote is on the disk of one server alone, and the ledger knows nothing of it. It is hidden all the same, never comes
// to its key, and comes back when the purge is undone.
func TestWhatWaitsInASpool(t *testing.T) {
	c, storage := newReplicas(t, "--write-wait", "0s")
	reader, victim := c.token(t, "reader", "read"), c.token(t, "laptop", "trusted")
	c.closed(t)
	eventually(t, c.servers, victim, http.StatusNotFound, "nothing")
	bad, holder := hashes("bad", 20), c.servers[:1]
	storage.Pause(t)
	upload(t, holder, victim, bad)
	want(t, holder, reader, http.StatusOK, bad)

	// The command waits for the bucket; the purge does not.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := c.binary.Command(ctx, "purge", "--token", victim.ID, "--revoke", "--yes")
	cmd.Stderr = &said{t: t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, holder, reader, http.StatusNotFound, bad[0])
	want(t, holder, reader, http.StatusNotFound, bad)
	storage.Resume(t)
	if err := cmd.Wait(); err != nil {
		t.Logf("it gave the bucket up: %v", err) // which is good enough: the purge is in force, and servers go on with it
	}
	holder[0].AwaitMetric(t, "bezoar_spool_entries", "none", func(n float64) bool { return n == 0 })
	want(t, c.servers, reader, http.StatusNotFound, bad)
	for entry, err := range c.backend.List(t.Context(), "") {
		t.Errorf("the bucket has %q, %v", entry.Key, err)
	}
	purges, err := c.records.Purges(t.Context())
	if err != nil || len(purges) != 1 {
		t.Fatal(purges, err)
	}
	wantText(t, c.desk.run(t, "undo", "PURGE="+purges[0].ID), `: 20 entries are back\.`)
	eventually(t, c.servers, reader, http.StatusOK, bad[0])
	want(t, c.servers, reader, http.StatusOK, bad)
}

// said logs what a command says.
type said struct{ t *testing.T }

func (s *said) Write(text []byte) (int, error) {
	s.t.Logf("%s", bytes.TrimSpace(text))
	return len(text), nil
}
