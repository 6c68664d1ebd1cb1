package buckettest_test

import (
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/buckettest"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/membucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestMemory holds the bucket in memory, which other tests build on, to the contract that real ones keep.
func TestMemory(t *testing.T) {
	var last *membucket.Bucket
	open := func(*testing.T) bucket.Bucket {
		last = membucket.New()
		return last
	}
	// The URLs that it signs lead nowhere: answer in the place of the host.
	browser := &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
		name := strings.TrimPrefix(req.URL.Opaque+req.URL.EscapedPath(), "/")
		info, body, err := last.Get(req.Context(), name, 0, "")
		if err != nil {
			return nil, err
		}
		return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Body: body, ContentLength: info.Size, Request: req}, nil
	})}
	buckettest.Run(t, open, buckettest.Parts(64<<10, 16<<10), buckettest.Browser(browser))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r(req) }
