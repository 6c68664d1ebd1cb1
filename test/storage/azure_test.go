//go:build e2e

package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"

	"github.com/bezoar-cache/bezoar/internal/store/azure"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/buckettest"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// TestAzure holds Azure Blob Storage to the contract, as far as azurite keeps its promises; see the documentation of internal/store/azure.
func TestAzure(t *testing.T) {
	const blocksAt, blockSize = 1 << 20, 300 << 10
	server := emulator.Azurite(t)
	t.Setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName="+server.Account+";AccountKey="+server.Key+";BlobEndpoint="+server.Endpoint)
	handle := func(t *testing.T, name string) bucket.Bucket {
		b, err := azure.Open(t.Context(), azure.Options{Container: name, Prefix: "cache/nx", BlocksAt: blocksAt, BlockSize: blockSize})
		return opened(t, b, err)
	}
	names := make(map[bucket.Bucket]string)
	buckettest.Run(t, func(t *testing.T) bucket.Bucket {
		name := server.NewContainer(t)
		b := handle(t, name)
		names[b] = name
		return b
	}, buckettest.SecondHandle(func(t *testing.T, first bucket.Bucket) bucket.Bucket {
		return handle(t, names[first])
	}), buckettest.Parts(blocksAt, blockSize))
}

// TestAzureRefuses tells what is missing from what is not there.
func TestAzureRefuses(t *testing.T) {
	server := emulator.Azurite(t)
	name := server.NewContainer(t)
	t.Setenv("AZURE_STORAGE_ACCOUNT", server.Account)
	open := func(name, key string) bucket.Bucket {
		t.Setenv("AZURE_STORAGE_KEY", key)
		b, err := azure.Open(t.Context(), azure.Options{Container: name, Endpoint: server.Endpoint})
		return opened(t, b, err)
	}
	refuses(t, "no container", open("nowhere", server.Key), "head", "get", "put", "put in parts", "delete", "list")
	refuses(t, "a wrong key", open(name, "d3Jvbmc="), "head", "get", "put", "put in parts", "delete", "list")
}

// TestAzureWithSAS works with a signature in place of a key, and can sign nothing then.
func TestAzureWithSAS(t *testing.T) {
	server := emulator.Azurite(t)
	name := server.NewContainer(t)
	credential, err := azblob.NewSharedKeyCredential(server.Account, server.Key)
	if err != nil {
		t.Fatal(err)
	}
	permissions := sas.ContainerPermissions{Read: true, Create: true, Write: true, Delete: true, List: true}
	query, err := sas.BlobSignatureValues{
		ContainerName: name, Permissions: permissions.String(), ExpiryTime: time.Now().Add(time.Hour), Protocol: sas.ProtocolHTTPSandHTTP,
	}.SignWithSharedKey(credential)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "?"+query.Encode())
	b, err := azure.Open(t.Context(), azure.Options{Container: name, Prefix: "cache", Account: server.Account, Endpoint: server.Endpoint})
	if err := bucket.Check(t.Context(), opened(t, b, err)); err != nil {
		t.Error(err)
	}
	if _, err := b.Presign(t.Context(), "a", time.Minute); !errors.Is(err, bucket.ErrRefused) {
		t.Errorf("presign: got %v, want %v", err, bucket.ErrRefused)
	}
}

// refuses fails the test unless these operations say that the bucket refuses.
func refuses(t *testing.T, what string, b bucket.Bucket, ops ...string) {
	t.Helper()
	small := bucket.Content{Body: strings.NewReader("body"), Size: 4}
	parts := small
	parts.InParts = true
	all := map[string]func(ctx context.Context) error{
		"head": func(ctx context.Context) error { _, err := b.Head(ctx, "a"); return err },
		"get": func(ctx context.Context) error {
			_, body, err := b.Get(ctx, "a", 0, "")
			if err == nil {
				body.Close()
			}
			return err
		},
		"put":          func(ctx context.Context) error { return b.Put(ctx, "a", small, bucket.IfAbsent) },
		"put in parts": func(ctx context.Context) error { return b.Put(ctx, "a", parts, bucket.IfAbsent) },
		"delete":       func(ctx context.Context) error { return b.Delete(ctx, "a", "") },
		"list": func(ctx context.Context) error {
			for _, err := range b.List(ctx, "") {
				return err
			}
			return nil
		},
	}
	for _, op := range ops {
		if err := all[op](t.Context()); !errors.Is(err, bucket.ErrRefused) {
			t.Errorf("%s, %s: got %v, want %v", what, op, err, bucket.ErrRefused)
		}
	}
}
