package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// metaName is the name of the one entry of an object's metadata: x-amz-meta-bezoar.
const metaName = "bezoar"

// Put implements [bucket.Bucket].
func (b *Bucket) Put(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	if len(content.Meta) > bucket.MaxMeta {
		return fmt.Errorf("s3: write %s: the metadata has %d bytes, more than %d", name, len(content.Meta), bucket.MaxMeta)
	}
	content.Body = source{content.Body}
	if mode == bucket.Replace {
		if err, _ := b.send(ctx, name, content, false); err != nil {
			return b.trouble("write "+name, putObject, err)
		}
		return nil
	}
	return b.putOnce(ctx, name, content)
}

// putOnce writes an object if there is none. What becomes of a request without an answer is looked up before another one is sent.
func (b *Bucket) putOnce(ctx context.Context, name string, content bucket.Content) error {
	what := "write " + name
	var lost error // of a request that may have had an effect
	for try := 1; ; try++ {
		err, asked := b.send(ctx, name, content, true)
		if err == nil {
			return nil
		}
		a := b.answerOf(err)
		exists := asked && a.changed()
		conflict := asked && a.conflict()
		unknown := asked && !exists && !conflict && b.unknown(a, err)
		err = b.trouble(what, putObject, err)
		switch {
		case unknown:
			lost = err
		case !exists && !conflict:
			return err
		}
		if !exists {
			_, errHead := b.Head(ctx, name)
			switch {
			case errors.Is(errHead, bucket.ErrNotExist):
			case errHead != nil:
				return fmt.Errorf("%w; what became of it is not known: %w", err, errHead)
			default:
				exists = true
			}
		}
		switch {
		case exists && lost != nil:
			return fmt.Errorf("there is an object now, by this or by another writer; the answer was lost: %w", lost)
		case exists:
			return fmt.Errorf("s3: %s: %w", what, bucket.ErrExist)
		case try >= attempts:
			return err
		}
		if errPause := b.pause(ctx, try); errPause != nil {
			return fmt.Errorf("%w: %w", err, errPause)
		}
	}
}

// send writes an object with one upload. Asked says that the service was asked to make the object: before, an error has no effect.
func (b *Bucket) send(ctx context.Context, name string, content bucket.Content, once bool) (err error, asked bool) { //nolint:revive // error first: asked is about it
	if content.InParts || content.Size > b.opts.MultipartFrom {
		return b.sendParts(ctx, name, content, once)
	}
	input := &awss3.PutObjectInput{
		Bucket:               b.bucket(),
		Key:                  b.key(name),
		Body:                 io.NewSectionReader(content.Body, 0, content.Size),
		ContentLength:        &content.Size,
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
	options := []func(*awss3.Options){unsigned}
	if once {
		input.IfNoneMatch = aws.String("*")
		options = append(options, b.carefully)
	}
	_, err = b.client.PutObject(ctx, input, options...)
	return err, true
}

// carefully is for requests that must not be sent again if they may have had an effect.
func (b *Bucket) carefully(o *awss3.Options) { o.Retryer = b.careful }

// unsigned keeps the SDK from reading a body twice, for its digest in the signature, where there is no trailing checksum either.
func unsigned(o *awss3.Options) {
	if o.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}

func metadata(meta string) map[string]string {
	if meta == "" {
		return nil
	}
	return map[string]string{metaName: meta}
}

// source tells errors of the body from those of the line.
type source struct{ body io.ReaderAt }

func (s source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.body.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF // nobody asks for bytes beyond the size
	}
	return n, &sourceError{err}
}

// Delete implements [bucket.Bucket]. With a version it costs two requests, and a third where the service does not know conditions of deletions.
func (b *Bucket) Delete(ctx context.Context, name, version string) error {
	input := &awss3.DeleteObjectInput{Bucket: b.bucket(), Key: b.key(name)}
	if version != "" {
		info, err := b.Head(ctx, name)
		switch {
		case errors.Is(err, bucket.ErrNotExist):
			return nil
		case err != nil:
			return err
		case info.Version != version:
			return nil
		}
		input.IfMatch = &version
	}
	_, err := b.client.DeleteObject(ctx, input)
	if a := b.answerOf(err); input.IfMatch != nil && a != nil && (a.code == "NotImplemented" || a.status == 501) {
		input.IfMatch = nil
		_, err = b.client.DeleteObject(ctx, input)
	}
	if a := b.answerOf(err); err == nil || a.missing() || version != "" && a.changed() {
		return nil
	}
	return b.trouble("delete "+name, deleteObject, err)
}
