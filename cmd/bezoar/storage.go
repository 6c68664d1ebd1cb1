package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/aead"
	"github.com/bezoar-cache/bezoar/internal/store/azure"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/gcs"
	"github.com/bezoar-cache/bezoar/internal/store/s3"
)

// openBucket opens the bucket that --store names. It asks nothing of it yet.
func openBucket(ctx context.Context, store config.StoreURL, log *slog.Logger) (bucket.Bucket, error) {
	o := store.Options
	roots, err := readRoots(o.CAFile)
	if err != nil {
		return nil, err
	}
	customerKey, err := readCustomerKey(o.CustomerKeyFile())
	if err != nil {
		return nil, err
	}
	switch store.Scheme {
	case config.SchemeS3:
		return s3.Open(ctx, s3.Options{
			Bucket: store.Bucket, Prefix: store.Prefix,
			Region: o.Region, Endpoint: o.Endpoint, PathStyle: o.PathStyle, Profile: o.Profile,
			SSE:    map[string]string{config.SSES3: s3.SSES3, config.SSEKMS: s3.SSEKMS, config.SSEKMSDSSE: s3.SSEKMSDSSE}[o.SSE],
			KMSKey: o.KMSKey, BucketKey: o.BucketKey, CustomerKey: customerKey, StorageClass: o.StorageClass,
			RootCAs: roots, Checksums: o.Checksums, Logger: log,
		})
	case config.SchemeGS:
		return gcs.Open(ctx, gcs.Options{
			Bucket: store.Bucket, Prefix: store.Prefix, Endpoint: o.Endpoint,
			KMSKey: o.KMSKey, CustomerKey: customerKey, StorageClass: o.StorageClass, RootCAs: roots,
		})
	case config.SchemeAzblob:
		return azure.Open(ctx, azure.Options{
			Container: store.Bucket, Prefix: store.Prefix, Account: o.Account, Endpoint: o.Endpoint,
			EncryptionScope: o.EncryptionScope, CustomerKey: customerKey, AccessTier: o.AccessTier, RootCAs: roots,
		})
	}
	return nil, fmt.Errorf("no backend is known for the store %s", store)
}

// openBucketStore opens the entries in the bucket, for servers and for commands beside them. Files that nobody else sees go to the directory temp.
func openBucketStore(ctx context.Context, cfg *config.Config, ring *keyring.Ring, temp string, log *slog.Logger) (bucket.Bucket, *bucket.Store, error) {
	options := bucket.Options{Logger: log, TempDir: temp, Stall: max(cfg.StoreTimeout, bucket.DefaultStall), MinRate: int64(cfg.MinRate)}
	if cfg.Seal == config.SealAEAD {
		cipher, err := aead.New(ring.Derive("aead"))
		if err != nil {
			return nil, nil, err
		}
		options.Cipher = cipher
	}
	if cfg.Redirect == config.RedirectOn {
		options.Redirect = cfg.RedirectTTL
	}
	b, err := openBucket(ctx, cfg.Store, log)
	if err != nil {
		return nil, nil, fmt.Errorf("open the store %s: %w", cfg.Store, err)
	}
	store, err := bucket.Open(ctx, b, options)
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return b, store, nil
}

// readRoots returns the system's authorities and those of the file, or nil for the system's alone.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the certificates that --store names as ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s, which --store names as ca_file, holds no certificate in PEM", file)
	}
	return roots, nil
}

// readCustomerKey reads the key that goes along with each request (SSE-C, CSEK, CPK): 32 bytes, as they are or in base64.
func readCustomerKey(file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key that --store names: %w", err)
	}
	if len(raw) == 32 {
		return raw, nil
	}
	text := strings.TrimSpace(string(raw))
	if key, err := base64.StdEncoding.DecodeString(text); err == nil && len(key) == 32 {
		return key, nil
	}
	return nil, fmt.Errorf("%s holds no key: it has to be 32 bytes, as they are or in base64 (make one: openssl rand -base64 32)", file)
}
