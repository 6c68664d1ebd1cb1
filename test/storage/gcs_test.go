//go:build e2e

package storage_test

import (
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/buckettest"
	"github.com/bezoar-cache/bezoar/internal/store/gcs"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// TestGCS holds Google Cloud Storage to the contract, as far as fake-gcs-server keeps its promises; see the documentation of
// internal/store/gcs. It cannot sign URLs, because it is asked without credentials.
func TestGCS(t *testing.T) {
	const resumableAt = 1 << 20
	server := emulator.GCS(t)
	handle := func(t *testing.T, name string) bucket.Bucket {
		b, err := gcs.Open(t.Context(), gcs.Options{Bucket: name, Prefix: "cache/nx", Endpoint: server.Endpoint, ResumableAt: resumableAt})
		return opened(t, b, err)
	}
	names := make(map[bucket.Bucket]string)
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		name := server.NewBucket(t)
		b := handle(t, name)
		names[b] = name
		return b
	}, buckettest.SecondHandle(func(t *testing.T, first bucket.Bucket) bucket.Bucket {
		return handle(t, names[first])
	}), buckettest.Parts(resumableAt, resumableAt), buckettest.NoPresign())
}

// TestGCSRefuses where an object need not be there, so that only the bucket can be missing.
func TestGCSRefuses(t *testing.T) {
	b, err := gcs.Open(t.Context(), gcs.Options{Bucket: "nowhere", Endpoint: emulator.GCS(t).Endpoint})
	refuses(t, "no bucket", opened(t, b, err), "put", "put in parts", "list")
}
