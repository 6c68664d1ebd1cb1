//go:build e2e

// Package storage_test runs stores and servers over real storage servers: versitygw and MinIO (S3), fake-gcs-server (Google Cloud Storage),
// azurite (Azure Blob).
package storage_test

import (
	"slices"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/azure"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/gcs"
	"github.com/bezoar-cache/bezoar/internal/store/s3"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// awaitSent waits until the bucket has all that a server acknowledged.
func awaitSent(t *testing.T, s *bezoar.Server) {
	t.Helper()
	s.AwaitMetric(t, "bezoar_spool_entries", "none", func(n float64) bool { return n == 0 })
}

// place is a bucket of its own on a running storage server.
type place struct {
	// url is the setting --store.
	url string
	// key is the key file of all servers over the bucket.
	key string
	// binary is bezoar with the credentials for the bucket.
	binary bezoar.Binary
	// presigns says that the server serves signed URLs.
	presigns bool
	// server can be paused and killed.
	server *emulator.Server
	// open opens the bucket as an attacker with the same credentials does.
	open func(t *testing.T) bucket.Bucket
	// fresh opens another, empty bucket of the server.
	fresh func(t *testing.T) bucket.Bucket
}

// places are the storage servers, by name.
var places = []struct {
	name  string
	start func(t *testing.T, binary bezoar.Binary) place
}{
	{"versitygw", func(t *testing.T, b bezoar.Binary) place { return onS3(t, b, emulator.Versity(t)) }},
	{"MinIO", func(t *testing.T, b bezoar.Binary) place { return onS3(t, b, emulator.MinIO(t)) }},
	{"GCS", onGCS},
	{"Azure", onAzure},
}

// each runs a test on each storage server.
func each(t *testing.T, test func(t *testing.T, p place)) {
	binary := bezoar.Build(t)
	for _, p := range places {
		t.Run(p.name, func(t *testing.T) {
			at := p.start(t, binary)
			at.key = binary.AddKey(t)
			test(t, at)
		})
	}
}

func onS3(t *testing.T, binary bezoar.Binary, s emulator.S3) place {
	s.Setenv(t)
	name := s.NewBucket(t)
	open := func(t *testing.T, name string) bucket.Bucket {
		b, err := s3.Open(t.Context(), s3.Options{Bucket: name, Prefix: "cache", Region: s.Region, Endpoint: s.Endpoint, PathStyle: true})
		return opened(t, b, err)
	}
	return place{
		url:      "s3://" + name + "/cache?endpoint=" + s.Endpoint + "&path_style=true&region=" + s.Region,
		binary:   binary.With(s.Environ()...),
		presigns: true,
		server:   s.Server,
		open:     func(t *testing.T) bucket.Bucket { return open(t, name) },
		fresh:    func(t *testing.T) bucket.Bucket { return open(t, s.NewBucket(t)) },
	}
}

func onGCS(t *testing.T, binary bezoar.Binary) place {
	s := emulator.GCS(t)
	name := s.NewBucket(t)
	open := func(t *testing.T, name string) bucket.Bucket {
		b, err := gcs.Open(t.Context(), gcs.Options{Bucket: name, Prefix: "cache", Endpoint: s.Endpoint})
		return opened(t, b, err)
	}
	return place{
		url:    "gs://" + name + "/cache?endpoint=" + s.Endpoint,
		binary: binary,
		server: s.Server,
		open:   func(t *testing.T) bucket.Bucket { return open(t, name) },
		fresh:  func(t *testing.T) bucket.Bucket { return open(t, s.NewBucket(t)) },
	}
}

func onAzure(t *testing.T, binary bezoar.Binary) place {
	s := emulator.Azurite(t)
	name := s.NewContainer(t)
	environ := []string{"AZURE_STORAGE_ACCOUNT=" + s.Account, "AZURE_STORAGE_KEY=" + s.Key}
	t.Setenv("AZURE_STORAGE_ACCOUNT", s.Account)
	t.Setenv("AZURE_STORAGE_KEY", s.Key)
	open := func(t *testing.T, name string) bucket.Bucket {
		b, err := azure.Open(t.Context(), azure.Options{Container: name, Prefix: "cache", Account: s.Account, Endpoint: s.Endpoint})
		return opened(t, b, err)
	}
	return place{
		url:      "azblob://" + name + "/cache?account=" + s.Account + "&endpoint=" + s.Endpoint,
		binary:   binary.With(environ...),
		presigns: true,
		server:   s.Server,
		open:     func(t *testing.T) bucket.Bucket { return open(t, name) },
		fresh:    func(t *testing.T) bucket.Bucket { return open(t, s.NewContainer(t)) },
	}
}

func opened[B bucket.Bucket](t *testing.T, b B, err error) bucket.Bucket {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// replicas starts servers that share the bucket and nothing else.
func (p place) replicas(t *testing.T, n int, args ...string) []*bezoar.Server {
	t.Helper()
	args = append([]string{"--store", p.url, "--seal-key-file", p.key}, args...)
	servers := make([]*bezoar.Server, n)
	for i := range servers {
		servers[i] = p.binary.Serve(t, t.TempDir(), slices.Clone(args)...)
	}
	return servers
}
