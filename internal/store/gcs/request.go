package gcs

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// attempts bounds how often a request is made. Few and short: whoever calls has its own ways to go on.
const attempts = 3

// firstDelay is the pause before the second attempt; it doubles then. Up to half of it is left out, at random.
const firstDelay = 200 * time.Millisecond

// call is a request to the service.
type call struct {
	method, url string
	header      http.Header
	body        func() io.Reader // anew for each attempt; nil: there is none
	size        int64            // of the body
	accept      []int            // which statuses are success
	// careful says that a request that broke off is not made again: it may have been done.
	careful bool
}

// do makes a call. Its error is a [*failure] if the service answered and it was no success; repeated says that there was an earlier
// attempt, which may have been done although its answer said otherwise. The caller closes the body of the response.
func (b *Bucket) do(ctx context.Context, c call) (resp *http.Response, repeated bool, err error) {
	for n := 1; ; n++ {
		resp, err := b.once(ctx, c)
		if err == nil || n == attempts || ctx.Err() != nil || !again(err, c.careful) {
			return resp, n > 1, err
		}
		if err := b.pause(ctx, n); err != nil {
			return nil, n > 1, err
		}
	}
}

func (b *Bucket) once(ctx context.Context, c call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, nil)
	if err != nil {
		return nil, withoutURL(err)
	}
	maps.Copy(req.Header, c.header)
	req.Header.Set("User-Agent", "bezoar")
	if b.creds != nil {
		token, err := b.creds.get(ctx)
		if err != nil {
			return nil, &lineError{err: err}
		}
		req.Header.Set("Authorization", "Bearer "+token)
		if project := b.creds.file.QuotaProject; project != "" {
			req.Header.Set("X-Goog-User-Project", project)
		}
	}
	if c.body != nil {
		req.ContentLength = c.size
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(c.body()), nil }
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
		if c.size == 0 {
			req.Body = http.NoBody
		}
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, &lineError{withoutURL(err), true}
	}
	if !slices.Contains(c.accept, resp.StatusCode) {
		defer resp.Body.Close()
		return nil, b.readFailure(resp)
	}
	return resp, nil
}

// pause waits before attempt n+1.
func (b *Bucket) pause(ctx context.Context, n int) error {
	delay := b.delay << (n - 1)
	timer := time.NewTimer(delay - rand.N(delay/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// object is the URL of an object in the JSON API, with a query of pairs of names and values. Empty values are left out.
func (b *Bucket) object(name string, query ...string) string {
	return b.objects("/storage/v1") + "/" + url.PathEscape(b.prefix+name) + encodeQuery(query)
}

// objects is the URL of the bucket's objects in the JSON API.
func (b *Bucket) objects(api string, query ...string) string {
	return fmt.Sprintf("%s%s/b/%s/o%s", b.endpoint, api, url.PathEscape(b.opts.Bucket), encodeQuery(query))
}

// path is that of an object in the XML API and in signed URLs: all but "/" and unreserved characters is escaped.
func (b *Bucket) path(name string) string {
	parts := strings.Split(b.opts.Bucket+"/"+b.prefix+name, "/")
	for i, part := range parts {
		parts[i] = strings.ReplaceAll(url.QueryEscape(part), "+", "%20")
	}
	return "/" + strings.Join(parts, "/")
}

func encodeQuery(pairs []string) string {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			query.Set(pairs[i], pairs[i+1])
		}
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}
