package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// cancelTimeout bounds the request that gives up a session.
const cancelTimeout = 5 * time.Second

// session is a resumable upload: https://cloud.google.com/storage/docs/performing-resumable-uploads.
type session struct {
	bucket  *Bucket
	content bucket.Content
	url     string // as good as a credential for this one object
	offset  int64  // what the service has
}

func (b *Bucket) putResumable(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	s, err := b.beginSession(ctx, name, content, mode)
	if err != nil {
		return taken(err, mode, false) // a session that was begun twice made no object yet
	}
	if err = taken(s.run(ctx), mode, false); err != nil && !errors.Is(err, bucket.ErrExist) {
		s.cancel(ctx)
	}
	return err
}

func (b *Bucket) beginSession(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) (*session, error) {
	description, err := b.describe(name, content)
	if err != nil {
		return nil, err
	}
	header := http.Header{
		"Content-Type":            {"application/json; charset=UTF-8"},
		"X-Upload-Content-Type":   {contentType},
		"X-Upload-Content-Length": {strconv.FormatInt(content.Size, 10)},
	}
	maps.Copy(header, b.csek)
	resp, _, err := b.do(ctx, call{
		method: http.MethodPost, header: header, accept: []int{http.StatusOK, http.StatusCreated},
		url: b.objects("/upload/storage/v1", "uploadType", "resumable", "name", b.prefix+name, "ifGenerationMatch", condition(mode),
			"kmsKeyName", b.opts.KMSKey),
		body: func() io.Reader { return bytes.NewReader(description) }, size: int64(len(description)),
	})
	if err != nil {
		return nil, err
	}
	drain(resp)
	// The session is asked at the endpoint of the settings, whatever host the answer names: no answer leads credentials elsewhere.
	u, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || u.RawQuery == "" || !strings.HasPrefix(u.Path, "/") {
		return nil, errors.New("the answer names no session to upload in: is the endpoint Google Cloud Storage?")
	}
	return &session{bucket: b, content: content, url: b.endpoint + u.EscapedPath() + "?" + u.RawQuery}, nil
}

// run sends the body, from where the service stands, until it has all. After a step that failed it asks where that is. It gives up after a few failures
// without a step forward.
func (s *session) run(ctx context.Context) error {
	step := s.send
	for failures := 0; ; {
		before := s.offset
		done, err := step(ctx)
		if done || err != nil && (ctx.Err() != nil || !again(err, false)) {
			return err
		}
		switch {
		case s.offset > before:
			failures = 0
		case err != nil:
			failures++
		}
		if failures == attempts {
			return err
		}
		step = s.send
		if err != nil {
			step = s.ask
			if err := s.bucket.pause(ctx, failures); err != nil {
				return err
			}
		}
	}
}

// send sends all that the service does not have.
func (s *session) send(ctx context.Context) (done bool, err error) {
	left := s.content.Size - s.offset
	if left == 0 {
		return s.ask(ctx) // which ends the session of an empty body
	}
	source := &source{inner: s.content.Body}
	done, err = s.exchange(ctx, call{
		header: http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", s.offset, s.content.Size-1, s.content.Size)}, "Content-Type": {contentType}},
		body:   func() io.Reader { return io.NewSectionReader(source, s.offset, left) }, size: left,
	})
	if broken := source.broken.Load(); err != nil && broken != nil {
		return false, fmt.Errorf("read what is to be stored: %w", *broken) // trying again mends nothing
	}
	return done, err
}

// source is a body that remembers why it could not be read.
type source struct {
	inner  io.ReaderAt
	broken atomic.Pointer[error]
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.inner.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.broken.Store(&err)
	}
	return n, err
}

// ask asks what the service has.
func (s *session) ask(ctx context.Context) (done bool, err error) {
	return s.exchange(ctx, call{
		header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", s.content.Size)}},
		body:   func() io.Reader { return http.NoBody },
	})
}

func (s *session) exchange(ctx context.Context, c call) (done bool, err error) {
	c.method, c.url, c.accept = http.MethodPut, s.url, []int{http.StatusOK, http.StatusCreated, http.StatusPermanentRedirect}
	maps.Copy(c.header, s.bucket.csek)
	resp, err := s.bucket.once(ctx, c)
	if f, ok := errors.AsType[*failure](err); ok && (f.status == http.StatusNotFound || f.status == http.StatusGone) {
		return false, errors.New("the service has lost the upload session")
	}
	if err != nil {
		return false, err
	}
	defer drain(resp)
	if resp.StatusCode != http.StatusPermanentRedirect {
		return true, made(resp.Body, s.content.Size)
	}
	offset, err := persisted(resp.Header.Get("Range"))
	switch {
	case err != nil || offset < s.offset || offset >= s.content.Size:
		return false, errors.New("the service contradicts itself about what it has of the body")
	case offset == s.offset && c.size > 0:
		return false, &failure{status: http.StatusServiceUnavailable, message: "nothing of the body was taken"}
	}
	s.offset = offset
	return false, nil
}

// persisted is how many bytes "bytes=0-9" stands for. No header: none.
func persisted(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	last, ok := strings.CutPrefix(text, "bytes=0-")
	if !ok {
		return 0, errors.New("no range from the beginning")
	}
	n, err := strconv.ParseInt(last, 10, 64)
	return n + 1, err
}

// cancel gives the session up, so that it cannot make an object later. If that fails, too, the session lacks a part of
// the body, ends after a week, and costs nothing until then.
func (s *session) cancel(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTimeout)
	defer stop()
	const closedRequest = 499 // the service's word for a session that was given up
	resp, err := s.bucket.once(ctx, call{method: http.MethodDelete, url: s.url, accept: []int{http.StatusOK, http.StatusNoContent, closedRequest}})
	if err == nil {
		drain(resp)
	}
}
