package server

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// elsewhere is a store whose entries a client fetches by itself.
type elsewhere struct {
	cache.Store
	url string
}

func (e elsewhere) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := e.Store.Open(ctx, key)
	if err == nil {
		obj.URL = e.url
	}
	return obj, err
}

// TestAHitElsewhere: the client is sent to where the body is, and nobody else learns of the URL.
func TestAHitElsewhere(t *testing.T) {
	const url = "https://bucket.example.com/entries/1?signature=secret"
	f := newFixture(t, func(o *Options) {
		store := mem.New()
		o.Cache = cache.New(elsewhere{store, url}, cache.Options{Limits: artifact.DefaultLimits(), Now: time.Now})
	})
	f.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	f.want(200, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	resp, body := f.do("GET", "/v1/cache/1", nil)
	if resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != url || len(body) > 0 {
		t.Errorf("got %d to %q, %d bytes", resp.StatusCode, resp.Header.Get("Location"), len(body))
	}
	f.want(404, "GET", "/v1/cache/2", nil)
	f.want(409, "PUT", "/v1/cache/1", artifacttest.Typical(1))
	f.waitForLog(1, `"result":"exists"`)
	if strings.Contains(f.log.String(), "secret") {
		t.Errorf("the log has the URL:\n%s", f.log)
	}
}
