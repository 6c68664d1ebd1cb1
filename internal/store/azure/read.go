package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// metaName is the one entry of a blob's metadata that is ours.
const metaName = "bezoar"

// version is an ETag without quotes: listings leave them out.
func version(tag *azcore.ETag) string {
	if tag == nil {
		return ""
	}
	return strings.Trim(string(*tag), `"`)
}

// onlyIf is the condition that a blob is still this version. None: any.
func onlyIf(version string) *blob.AccessConditions {
	if version == "" {
		return nil
	}
	tag := azcore.ETag(`"` + version + `"`)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &tag}}
}

// info makes sense of what the service tells of a blob; all of it may be missing.
func info(name string, tag *azcore.ETag, size *int64, metadata map[string]*string, modified *time.Time) (bucket.Info, error) {
	i := bucket.Info{Name: name, Version: version(tag)}
	if i.Version == "" || size == nil || *size < 0 {
		return bucket.Info{}, errors.New("the answer lacks the blob's size or ETag: is the endpoint an Azure account's blob service?")
	}
	i.Size = *size
	if modified != nil {
		i.Modified = *modified
	}
	for key, value := range metadata {
		if strings.EqualFold(key, metaName) && value != nil { // headers come in any case
			i.Meta, i.HasMeta = *value, true
		}
	}
	return i, nil
}

// Head implements [bucket.Bucket].
func (b *Bucket) Head(ctx context.Context, name string) (bucket.Info, error) {
	return b.head(ctx, name, "")
}

func (b *Bucket) head(ctx context.Context, name, version string) (bucket.Info, error) {
	got, err := b.container.NewBlobClient(b.prefix+name).GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: onlyIf(version), CPKInfo: b.cpk})
	if hasCode(err, bloberror.ConditionNotMet) {
		err = bucket.ErrChanged
	}
	if err != nil {
		return bucket.Info{}, b.explain("look at", name, err)
	}
	i, err := info(name, got.ETag, got.ContentLength, got.Metadata, got.LastModified)
	if err != nil {
		return bucket.Info{}, b.explain("look at", name, err)
	}
	return i, nil
}

// Get implements [bucket.Bucket].
func (b *Bucket) Get(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	got, err := b.container.NewBlobClient(b.prefix+name).DownloadStream(ctx, &blob.DownloadStreamOptions{
		Range: blob.HTTPRange{Offset: offset}, AccessConditions: onlyIf(version), CPKInfo: b.cpk,
	})
	switch {
	case hasCode(err, bloberror.InvalidRange) && offset > 0:
		return b.getNothing(ctx, name, offset, version)
	case hasCode(err, bloberror.ConditionNotMet):
		err = bucket.ErrChanged
	}
	if err != nil {
		return bucket.Info{}, nil, b.explain("read", name, err)
	}
	i, err := readInfo(name, got, offset)
	if err == nil && version != "" && i.Version != version {
		err = bucket.ErrChanged
	}
	if err != nil {
		_ = got.Body.Close()
		return bucket.Info{}, nil, b.explain("read", name, err)
	}
	return i, &body{inner: got.Body, left: i.Size - offset, failed: func(err error) error { return b.explain("read", name, err) }}, nil
}

// getNothing answers for an offset at the end of a blob, for which the service has no range.
func (b *Bucket) getNothing(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	i, err := b.head(ctx, name, version)
	if err != nil {
		return bucket.Info{}, nil, err
	}
	if i.Size != offset {
		return bucket.Info{}, nil, b.explain("read", name, fmt.Errorf("there is no byte %d: the blob has %d", offset, i.Size))
	}
	return i, http.NoBody, nil
}

// readInfo holds the range of the answer against what was asked for.
func readInfo(name string, got blob.DownloadStreamResponse, offset int64) (bucket.Info, error) {
	size := got.ContentLength
	if got.ContentRange != nil && *got.ContentRange != "" {
		from, whole, ok := parseRange(*got.ContentRange)
		if !ok || from != offset || size == nil || *size != whole-offset {
			return bucket.Info{}, fmt.Errorf("the answer is the range %q, not from byte %d on", *got.ContentRange, offset)
		}
		size = &whole
	} else if offset > 0 {
		return bucket.Info{}, errors.New("the answer is the whole blob, though only its end was asked for: is there a proxy that knows no ranges?")
	}
	return info(name, got.ETag, size, got.Metadata, got.LastModified)
}

// parseRange takes "bytes 7-9/10" apart; the range must go to the end, where it may be empty (as azurite says it: "bytes 10-9/10").
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
	return from, size, err1 == nil && err2 == nil && err3 == nil && from >= 0 && end == size-1 && from <= size
}

// body is what is left of a blob.
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
