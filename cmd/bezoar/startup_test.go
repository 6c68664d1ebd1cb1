package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

// TestABucketThatDoesNotAnswerAtTheStart ends the start, though not before its time. Who waits gets to know where to look.
func TestABucketThatDoesNotAnswerAtTheStart(t *testing.T) {
	asked, gone := make(chan struct{}, 100), make(chan struct{})
	bucket := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer bucket.Close()
	defer close(gone)
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	a := &app{
		cfg: &config.Config{Store: config.StoreURL{
			Scheme: config.SchemeS3, Bucket: "b", Prefix: "p", Options: config.StoreOptions{Region: "us-east-1", Endpoint: bucket.URL, PathStyle: true},
		}},
		log: slog.New(slog.DiscardHandler), registry: newRegistry(), checking: 300 * time.Millisecond,
	}
	defer func() { _ = a.closeAll() }()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begun := time.Now()
	_, err := a.openRemote(ctx, keyring.New([32]byte{1}), t.TempDir())
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "start again") {
		t.Errorf("after %s: %v", time.Since(begun), err)
	}
	select {
	case <-asked:
	default:
		t.Error("the bucket was not asked")
	}
}
