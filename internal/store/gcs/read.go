package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// metaName is the one entry of an object's metadata that is ours.
const metaName = "bezoar"

// resource is what is used of an object's description in the JSON API.
type resource struct {
	Name        string            `json:"name"`
	Generation  string            `json:"generation"`
	Size        string            `json:"size"`
	TimeCreated time.Time         `json:"timeCreated"`
	Metadata    map[string]string `json:"metadata"`
}

// fields asks for no more than that.
const fields = "name,generation,size,timeCreated,metadata"

func (r *resource) info(name string) (bucket.Info, error) {
	size, err := strconv.ParseInt(r.Size, 10, 64)
	if err != nil || size < 0 || r.Generation == "" {
		return bucket.Info{}, errors.New("the description of the object lacks its size or generation: is the endpoint Google Cloud Storage?")
	}
	meta, ok := r.Metadata[metaName]
	return bucket.Info{Name: name, Version: r.Generation, Size: size, Meta: meta, HasMeta: ok, Modified: r.TimeCreated}, nil
}

// Head implements [bucket.Bucket].
func (b *Bucket) Head(ctx context.Context, name string) (bucket.Info, error) {
	return b.head(ctx, name, "")
}

func (b *Bucket) head(ctx context.Context, name, version string) (bucket.Info, error) {
	resp, _, err := b.do(ctx, call{
		method: http.MethodGet, url: b.object(name, "projection", "noAcl", "fields", fields, "generation", version),
		header: b.csek, accept: []int{http.StatusOK},
	})
	if err != nil {
		return bucket.Info{}, b.explain("look at", name, err)
	}
	defer resp.Body.Close()
	var r resource
	if err := decode(resp.Body, maxFailure, &r); err != nil {
		return bucket.Info{}, b.explain("look at", name, err)
	}
	info, err := r.info(name)
	if err != nil {
		return bucket.Info{}, b.explain("look at", name, err)
	}
	return info, nil
}

// decode reads a JSON value of at most limit bytes.
func decode(r io.Reader, limit int64, into any) error {
	if err := json.NewDecoder(io.LimitReader(r, limit)).Decode(into); err != nil {
		return fmt.Errorf("understand the answer of Google Cloud Storage: %w", err)
	}
	return nil
}

// Get implements [bucket.Bucket].
func (b *Bucket) Get(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	header := http.Header{}
	maps.Copy(header, b.csek)
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, _, err := b.do(ctx, call{
		method: http.MethodGet, url: b.endpoint + b.path(name) + encodeQuery([]string{"generation", version}),
		header: header, accept: []int{http.StatusOK, http.StatusPartialContent},
	})
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusRequestedRangeNotSatisfiable && offset > 0 {
		return b.getNothing(ctx, name, offset, version)
	}
	if err != nil {
		return bucket.Info{}, nil, b.explain("read", name, err)
	}
	info, err := readInfo(name, resp, offset)
	if err == nil && version != "" && info.Version != version {
		err = bucket.ErrChanged
	}
	if err != nil {
		_ = resp.Body.Close()
		return bucket.Info{}, nil, b.explain("read", name, err)
	}
	return info, &body{inner: resp.Body, left: info.Size - offset, failed: func(err error) error { return b.explain("read", name, err) }}, nil
}

// getNothing answers for an offset at the end of an object, for which the service has no range.
func (b *Bucket) getNothing(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	info, err := b.head(ctx, name, version)
	if err != nil {
		return bucket.Info{}, nil, err
	}
	if info.Size != offset {
		return bucket.Info{}, nil, b.explain("read", name, fmt.Errorf("there is no byte %d: the object has %d", offset, info.Size))
	}
	return info, http.NoBody, nil
}

// readInfo reads what the headers of the XML API tell of an object, and holds the range against what was asked for.
func readInfo(name string, resp *http.Response, offset int64) (bucket.Info, error) {
	info := bucket.Info{Name: name, Version: resp.Header.Get("X-Goog-Generation"), Size: resp.ContentLength}
	if resp.StatusCode == http.StatusPartialContent {
		whole := resp.Header.Get("Content-Range") // bytes 7-9/10
		from, size, ok := parseRange(whole)
		if !ok || from != offset {
			return bucket.Info{}, fmt.Errorf("the answer is the range %q, not from byte %d on", whole, offset)
		}
		info.Size = size
	} else if offset > 0 {
		return bucket.Info{}, errors.New("the answer is the whole object, though only its end was asked for: is there a proxy that knows no ranges?")
	}
	if resp.ContentLength != info.Size-offset || info.Version == "" {
		return bucket.Info{}, errors.New("the answer lacks the length or the generation of the object: is the endpoint Google Cloud Storage?")
	}
	metas := resp.Header.Values("X-Goog-Meta-" + metaName)
	info.HasMeta = len(metas) > 0
	info.Meta = strings.Join(metas, ",")
	if at, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		info.Modified = at
	}
	return info, nil
}

// parseRange takes "bytes 7-9/10" apart; the range must go to the end.
func parseRange(text string) (from, size int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	if !ok {
		return 0, 0, false
	}
	span, total, _ := strings.Cut(text, "/")
	first, last, _ := strings.Cut(span, "-")
	from, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	return from, size, err1 == nil && err2 == nil && err3 == nil && from >= 0 && end == size-1 && from <= end
}

// body is what is left of an object.
type body struct {
	inner  io.ReadCloser
	left   int64
	failed func(error) error
}

func (r *body) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left == 0 {
		return n, io.EOF
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		err = r.failed(err)
	}
	return n, err
}

func (r *body) Close() error { return r.inner.Close() }
