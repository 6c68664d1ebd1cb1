//go:build e2e

package storage_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/buckettest"
	"github.com/bezoar-cache/bezoar/internal/store/s3"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// The least that S3 allows: parts of 5 MiB.
const partSize = 5 << 20

// openS3 opens a bucket on server, below a prefix.
func openS3(t *testing.T, server emulator.S3, options s3.Options) bucket.Bucket {
	t.Helper()
	server.Setenv(t)
	options.Region, options.Endpoint, options.PathStyle, options.RootCAs = server.Region, server.Endpoint, true, server.CA
	options.MultipartFrom, options.PartSize = partSize, partSize
	options.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	b, err := s3.Open(t.Context(), options)
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

// runS3 runs the contract suite on server; half of what races goes through other.
func runS3(t *testing.T, server, other emulator.S3, options s3.Options, more ...buckettest.Option) {
	t.Helper()
	names := make(map[bucket.Bucket]string)
	open := func(t *testing.T) bucket.Bucket {
		options := options
		options.Bucket, options.Prefix = server.NewBucket(t), "team/nx cache"
		b := openS3(t, server, options)
		names[b] = options.Bucket
		return b
	}
	second := func(t *testing.T, first bucket.Bucket) bucket.Bucket {
		options := options
		options.Bucket, options.Prefix = names[first], "team/nx cache"
		return openS3(t, other, options)
	}
	browser := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: server.CA}}}
	all := []buckettest.Option{buckettest.SecondHandle(second), buckettest.Parts(partSize, partSize), buckettest.Browser(browser)}
	buckettest.Run(t, open, append(all, more...)...)
}

func TestVersity(t *testing.T) {
	server := emulator.Versity(t)
	runS3(t, server, server, s3.Options{}, buckettest.Cuts())
}

// TestVersityTwoGateways lets the writers of a race go through two servers, as behind a balancer.
func TestVersityTwoGateways(t *testing.T) {
	server := emulator.Versity(t)
	runS3(t, server, emulator.Versity(t, emulator.Over(server.Dir)), s3.Options{}, buckettest.Cuts())
}

func TestMinIO(t *testing.T) {
	server := emulator.MinIO(t)
	runS3(t, server, server, s3.Options{})
}

// TestMinIOOverTLS sends trailing checksums to a server with a certificate of an authority of its own.
func TestMinIOOverTLS(t *testing.T) {
	server := emulator.MinIO(t, emulator.TLS())
	runS3(t, server, server, s3.Options{})
}

// TestMinIOWithoutChecksums does the same without.
func TestMinIOWithoutChecksums(t *testing.T) {
	server := emulator.MinIO(t, emulator.TLS())
	runS3(t, server, server, s3.Options{Checksums: s3.ChecksumsOff})
}

// TestMinIOCustomerKey has objects encrypted with a key that goes along with each request.
func TestMinIOCustomerKey(t *testing.T) {
	server := emulator.MinIO(t, emulator.TLS())
	runS3(t, server, server, s3.Options{CustomerKey: []byte("0123456789abcdef0123456789abcdef")}, buckettest.NoPresign())
}

// TestMinIOWithSizesOfItsOwn sends, over TLS and with checksums, a body larger than MinIO takes in one chunk, with the sizes that nobody sets.
func TestMinIOWithSizesOfItsOwn(t *testing.T) {
	server := emulator.MinIO(t, emulator.TLS())
	server.Setenv(t)
	b, err := s3.Open(t.Context(), s3.Options{Bucket: server.NewBucket(t), Region: server.Region, Endpoint: server.Endpoint, PathStyle: true, RootCAs: server.CA})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for _, size := range []int{16 << 20, 16<<20 + 1, 65 << 20} {
		body := buckettest.Body(1, size)
		if err := b.Put(t.Context(), "large", bucket.Content{Body: bytes.NewReader(body), Size: int64(size)}, bucket.Replace); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		_, reader, err := b.Get(t.Context(), "large", 0, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(reader)
		reader.Close()
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("get: %d bytes of %d, %v", len(got), size, err)
		}
	}
}
