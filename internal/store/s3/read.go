package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// Head implements [bucket.Bucket].
func (b *Bucket) Head(ctx context.Context, name string) (bucket.Info, error) {
	output, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{
		Bucket:               b.bucket(),
		Key:                  b.key(name),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.sum,
	})
	if err != nil {
		return bucket.Info{}, b.readTrouble("look at "+name, err)
	}
	if output.ContentLength == nil {
		return bucket.Info{}, fmt.Errorf("s3: look at %s: the service does not say how long it is", name)
	}
	return info(name, output.ETag, *output.ContentLength, output.Metadata, output.LastModified), nil
}

// Get implements [bucket.Bucket].
func (b *Bucket) Get(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	what := "read " + name
	input := &awss3.GetObjectInput{
		Bucket:               b.bucket(),
		Key:                  b.key(name),
		IfMatch:              optional(version),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.sum,
	}
	if offset > 0 {
		input.Range = aws.String("bytes=" + strconv.FormatInt(offset, 10) + "-")
	}
	output, err := b.client.GetObject(ctx, input)
	if err != nil {
		if a := b.answerOf(err); a != nil && a.status == http.StatusRequestedRangeNotSatisfiable {
			return b.getEnd(ctx, name, offset, version)
		}
		return bucket.Info{}, nil, b.readTrouble(what, err)
	}
	size, err := sizeOf(output, offset)
	found := info(name, output.ETag, size, output.Metadata, output.LastModified)
	if err == nil && version != "" && found.Version != version {
		err = bucket.ErrChanged // a service that ignores the condition
	}
	if err != nil {
		output.Body.Close()
		return bucket.Info{}, nil, fmt.Errorf("s3: %s: %w", what, err)
	}
	return found, output.Body, nil
}

// sizeOf returns how long the whole object is. The service may say anything: it must have answered what it was asked.
func sizeOf(output *awss3.GetObjectOutput, offset int64) (int64, error) {
	switch {
	case output.ContentLength == nil || *output.ContentLength < 0:
		return 0, errors.New("the service does not say how long it is")
	case offset == 0:
		return *output.ContentLength, nil
	case output.ContentRange == nil:
		return 0, errors.New("the service answers with the whole object when it is asked for a part of it")
	}
	from, size, err := parseRange(*output.ContentRange)
	if err != nil || from != offset || size-from != *output.ContentLength {
		return 0, fmt.Errorf("the service was asked for what comes from byte %d on, and answers with %q, %d bytes", offset, clean(*output.ContentRange), *output.ContentLength)
	}
	return size, nil
}

// parseRange reads "bytes 5-9/10", which has to go to the end.
func parseRange(text string) (from, size int64, err error) {
	rest, ok := strings.CutPrefix(text, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, errors.New("it is no range")
	}
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return 0, 0, err
	}
	if from < 0 || to != size-1 {
		return 0, 0, errors.New("it does not go to the end")
	}
	return from, size, nil
}

// getEnd answers for a range that the service has no bytes of: nothing is left after the last byte, more cannot be asked for.
func (b *Bucket) getEnd(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	found, err := b.Head(ctx, name)
	switch {
	case err != nil:
		return bucket.Info{}, nil, err
	case version != "" && found.Version != version:
		return bucket.Info{}, nil, fmt.Errorf("s3: read %s: %w", name, bucket.ErrChanged)
	case found.Size != offset:
		return bucket.Info{}, nil, fmt.Errorf("s3: read %s from byte %d on: it has %d", name, offset, found.Size)
	}
	return found, http.NoBody, nil
}

// readTrouble is trouble that may be a plain "there is none" or "it is another one".
func (b *Bucket) readTrouble(what string, err error) error {
	switch a := b.answerOf(err); {
	case a.missing():
		return fmt.Errorf("s3: %s: %w", what, bucket.ErrNotExist)
	case a.changed():
		return fmt.Errorf("s3: %s: %w", what, bucket.ErrChanged)
	}
	return b.trouble(what, getObject, err)
}

func info(name string, etag *string, size int64, metadata map[string]string, modified *time.Time) bucket.Info {
	meta, ok := metadata[metaName]
	return bucket.Info{Name: name, Version: aws.ToString(etag), Size: size, Meta: meta, HasMeta: ok, Modified: aws.ToTime(modified)}
}

// List implements [bucket.Bucket]. It is a request for each 1000 objects.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		fail := func(err error) { yield(bucket.Info{}, b.trouble("list "+b.URL()+"/"+prefix, listBucket, err)) }
		pages := awss3.NewListObjectsV2Paginator(b.client, &awss3.ListObjectsV2Input{
			Bucket: b.bucket(),
			Prefix: optional(b.prefix + prefix),
			// Names that others made may hold bytes that XML cannot carry: one would spoil the listing.
			EncodingType: types.EncodingTypeUrl,
		}, func(o *awss3.ListObjectsV2PaginatorOptions) { o.StopOnDuplicateToken = true })
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				fail(err)
				return
			}
			for _, object := range page.Contents {
				found, err := b.listed(object, page.EncodingType)
				if err != nil {
					fail(err)
					return
				}
				if !yield(found, nil) {
					return
				}
			}
		}
	}
}

func (b *Bucket) listed(object types.Object, encoding types.EncodingType) (bucket.Info, error) {
	key := aws.ToString(object.Key)
	if encoding == types.EncodingTypeUrl {
		plain, err := url.QueryUnescape(key)
		if err != nil {
			return bucket.Info{}, fmt.Errorf("the service lists the name %q, which is not well encoded", clean(key))
		}
		key = plain
	}
	name, ok := strings.CutPrefix(key, b.prefix)
	if !ok {
		return bucket.Info{}, fmt.Errorf("the service lists %q, which does not begin with %q", clean(key), b.prefix)
	}
	return info(name, object.ETag, aws.ToInt64(object.Size), nil, object.LastModified), nil
}

// Presign implements [bucket.Bucket]. The URL holds no longer than the credentials that sign it, and at most 7 days.
func (b *Bucket) Presign(ctx context.Context, name string, ttl time.Duration) (string, error) {
	switch {
	case b.customer.key != nil:
		return "", fmt.Errorf("%w: with a customer's encryption key (SSE-C), whoever reads needs the key, so a URL is not enough; use a key in KMS instead", bucket.ErrRefused)
	case ttl < time.Second || ttl > maxExpiry:
		return "", fmt.Errorf("a URL cannot hold for %v: 1s to %v", ttl, maxExpiry)
	}
	request, err := b.signer.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: b.bucket(), Key: b.key(name)}, awss3.WithPresignExpires(ttl))
	if err != nil {
		return "", b.trouble("sign a URL for "+name, getObject, err)
	}
	return request.URL, nil
}
