package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const (
	// partsAtOnce bounds the connections that one upload takes.
	partsAtOnce = 3
	// abortTimeout bounds the clean-up after an upload that failed, which also happens when its context has ended.
	abortTimeout = 10 * time.Second
)

// sendParts writes an object in parts. Whatever fails, nothing is left of them as far as the service can be reached.
func (b *Bucket) sendParts(ctx context.Context, name string, content bucket.Content, once bool) (err error, asked bool) { //nolint:revive // as send
	upload, err := b.beginUpload(ctx, name, content)
	if err != nil {
		return err, false
	}
	defer func() {
		if err != nil {
			b.abort(ctx, name, upload)
		}
	}()
	parts, err := b.sendEach(ctx, name, upload, content)
	if err != nil {
		return err, false
	}
	input := &awss3.CompleteMultipartUploadInput{
		Bucket:               b.bucket(),
		Key:                  b.key(name),
		UploadId:             upload,
		MultipartUpload:      &types.CompletedMultipartUpload{Parts: parts},
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.sum,
	}
	var options []func(*awss3.Options)
	if once {
		input.IfNoneMatch = aws.String("*")
		options = append(options, b.carefully)
	}
	_, err = b.client.CompleteMultipartUpload(ctx, input, options...)
	return err, true
}

func (b *Bucket) beginUpload(ctx context.Context, name string, content bucket.Content) (*string, error) {
	input := &awss3.CreateMultipartUploadInput{
		Bucket:               b.bucket(),
		Key:                  b.key(name),
		Metadata:             metadata(content.Meta),
		ServerSideEncryption: types.ServerSideEncryption(b.opts.SSE),
		SSEKMSKeyId:          optional(b.opts.KMSKey),
		SSECustomerAlgorithm: b.customer.algorithm,
		SSECustomerKey:       b.customer.key,
		SSECustomerKeyMD5:    b.customer.sum,
		StorageClass:         types.StorageClass(b.opts.StorageClass),
	}
	if b.opts.BucketKey {
		input.BucketKeyEnabled = aws.Bool(true)
	}
	output, err := b.client.CreateMultipartUpload(ctx, input)
	if err != nil {
		return nil, err
	}
	if aws.ToString(output.UploadId) == "" {
		return nil, errors.New("the service began an upload in parts without giving it an id")
	}
	return output.UploadId, nil
}

// sendEach sends all parts, a few at a time.
func (b *Bucket) sendEach(ctx context.Context, name string, upload *string, content bucket.Content) ([]types.CompletedPart, error) {
	size := partSize(b.opts.PartSize, content.Size)
	count := max(1, (content.Size+size-1)/size) // an empty body is one empty part
	parts := make([]types.CompletedPart, count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(partsAtOnce)
	for i := range count {
		group.Go(func() error {
			length := min(size, content.Size-i*size)
			output, err := b.client.UploadPart(ctx, &awss3.UploadPartInput{
				Bucket:               b.bucket(),
				Key:                  b.key(name),
				UploadId:             upload,
				PartNumber:           aws.Int32(int32(i + 1)),
				Body:                 io.NewSectionReader(content.Body, i*size, length),
				ContentLength:        &length,
				SSECustomerAlgorithm: b.customer.algorithm,
				SSECustomerKey:       b.customer.key,
				SSECustomerKeyMD5:    b.customer.sum,
			}, unsigned)
			if err != nil {
				return fmt.Errorf("part %d of %d: %w", i+1, count, err)
			}
			parts[i] = types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: output.ETag, ChecksumCRC32: output.ChecksumCRC32}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return parts, nil
}

// partSize is the wanted size, or the least with which the body has no more parts than S3 takes.
func partSize(wanted, body int64) int64 {
	return max(wanted, (body+maxParts-1)/maxParts)
}

// abort drops an upload, also after its context has ended. What cannot be dropped is the matter of the bucket's lifecycle rules.
func (b *Bucket) abort(ctx context.Context, name string, upload *string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_, err := b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: b.bucket(), Key: b.key(name), UploadId: upload})
	if a := b.answerOf(err); err == nil || a != nil && a.code == "NoSuchUpload" {
		return
	}
	b.log.Warn("the parts of an upload that failed cannot be removed: a lifecycle rule of the bucket with AbortIncompleteMultipartUpload does it",
		"bucket", b.URL(), "object", name, "error", b.trouble("abort the upload of "+name, "s3:AbortMultipartUpload", err))
}
