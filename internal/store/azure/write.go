package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const (
	// blocksAtATime bounds the connections of one upload.
	blocksAtATime = 4
	// maxBlocks is the service's bound for a blob.
	maxBlocks = 50_000
)

// Put implements [bucket.Bucket].
func (b *Bucket) Put(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	a := attempt{content: content, mode: mode, retries: b.retries()}
	client := b.container.NewBlockBlobClient(b.prefix + name)
	var err error
	if content.InParts || content.Size > b.opts.BlocksAt {
		err = b.putBlocks(ctx, client, &a)
	} else {
		var made blockblob.UploadResponse
		made, err = client.Upload(a.once(ctx), section(content, 0, content.Size), &blockblob.UploadOptions{
			Metadata: a.metadata(), Tier: b.tier(), HTTPHeaders: headers(), CPKInfo: b.cpk, CPKScopeInfo: b.scope, AccessConditions: a.condition(),
		})
		err = confirm(err, made.ETag)
	}
	switch {
	case err == nil:
		return nil
	case mode == bucket.IfAbsent && hasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet):
		if a.repeated {
			return b.explain("write", name, errors.New("the blob exists by now, perhaps from the first attempt"))
		}
		return fmt.Errorf("write %q: %w", b.prefix+name, bucket.ErrExist)
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok && answer.StatusCode == http.StatusNotFound {
		// A blob need not be there to be made.
		answer.ErrorCode = string(bloberror.ContainerNotFound)
	}
	return b.explain("write", name, err)
}

// attempt is one Put.
type attempt struct {
	content bucket.Content
	mode    bucket.Mode
	retries policy.RetryOptions
	// repeated says that the request which makes the blob was made again after an answer that left open whether it was done.
	repeated bool
}

// once makes the SDK repeat a request only after an answer that asks for it: after one that broke off, the caller looks at what became of it.
func (a *attempt) once(ctx context.Context) context.Context {
	options := a.retries
	options.ShouldRetry = func(resp *http.Response, err error) bool {
		passing := err == nil && slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, resp.StatusCode)
		a.repeated = a.repeated || passing
		return passing
	}
	return policy.WithRetryOptions(ctx, options)
}

func (a *attempt) condition() *blob.AccessConditions {
	if a.mode != bucket.IfAbsent {
		return nil
	}
	anything := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anything}}
}

func (a *attempt) metadata() map[string]*string {
	if a.content.Meta == "" {
		return nil
	}
	return map[string]*string{metaName: &a.content.Meta}
}

func headers() *blob.HTTPHeaders {
	contentType := "application/octet-stream"
	return &blob.HTTPHeaders{BlobContentType: &contentType}
}

func (b *Bucket) tier() *blob.AccessTier {
	if b.opts.AccessTier == "" {
		return nil
	}
	tier := blob.AccessTier(b.opts.AccessTier)
	return &tier
}

// section is a part of the body, read from where it lies.
func section(content bucket.Content, offset, size int64) io.ReadSeekCloser {
	return streaming.NopCloser(io.NewSectionReader(source{content.Body}, offset, size))
}

// source is a body whose errors tell the SDK that trying again mends nothing.
type source struct{ io.ReaderAt }

func (s source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &sourceError{err}
	}
	return n, err
}

type sourceError struct{ error }

func (e *sourceError) Error() string { return "read what is to be stored: " + e.error.Error() }
func (e *sourceError) Unwrap() error { return e.error }

// NonRetriable is what azcore looks for.
func (*sourceError) NonRetriable() {}

// putBlocks sends the body in blocks and then makes the blob of them, under the condition. Nobody sees blocks before that.
//
// Blocks have names of this upload's own: those of others who write the same blob lie beside them.
func (b *Bucket) putBlocks(ctx context.Context, client *blockblob.Client, a *attempt) error {
	size := max(b.opts.BlockSize, (a.content.Size+maxBlocks-1)/maxBlocks)
	upload := rand.Text()
	var ids []string
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(blocksAtATime)
	for offset := int64(0); offset < a.content.Size && gctx.Err() == nil; offset += size {
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s%06d", upload, len(ids))) // all of one length, as the service wants
		ids = append(ids, id)
		group.Go(func() error {
			_, err := client.StageBlock(gctx, id, section(a.content, offset, min(size, a.content.Size-offset)), &blockblob.StageBlockOptions{CPKInfo: b.cpk, CPKScopeInfo: b.scope})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	made, err := client.CommitBlockList(a.once(ctx), ids, &blockblob.CommitBlockListOptions{
		Metadata: a.metadata(), Tier: b.tier(), HTTPHeaders: headers(), CPKInfo: b.cpk, CPKScopeInfo: b.scope, AccessConditions: a.condition(),
	})
	return confirm(err, made.ETag)
}

// confirm holds success against the ETag that comes with it: whatever else may stand between says 201, too.
func confirm(err error, tag *azcore.ETag) error {
	if err == nil && version(tag) == "" {
		return errors.New("the answer lacks the ETag of the blob: is the endpoint an Azure account's blob service?")
	}
	return err
}

// Delete implements [bucket.Bucket].
func (b *Bucket) Delete(ctx context.Context, name, version string) error {
	snapshots := blob.DeleteSnapshotsOptionTypeInclude // else a blob with snapshots, which others may make, cannot be deleted
	_, err := b.container.NewBlobClient(b.prefix+name).Delete(ctx, &blob.DeleteOptions{AccessConditions: onlyIf(version), DeleteSnapshots: &snapshots})
	if err == nil || hasCode(err, bloberror.BlobNotFound, bloberror.ConditionNotMet) {
		return nil
	}
	err = b.explain("delete", name, err)
	if errors.Is(err, bucket.ErrNotExist) {
		return nil
	}
	return err
}
