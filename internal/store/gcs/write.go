package gcs

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// Put implements [bucket.Bucket].
func (b *Bucket) Put(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	var err error
	if content.InParts || content.Size > b.opts.ResumableAt {
		err = b.putResumable(ctx, name, content, mode)
	} else {
		err = b.putWhole(ctx, name, content, mode)
	}
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusNotFound {
		// An object need not be there to be made.
		f.reason, f.message = "NoSuchBucket", ""
	}
	return b.explain("write", name, err)
}

// condition is the value of ifGenerationMatch.
func condition(mode bucket.Mode) string {
	if mode == bucket.IfAbsent {
		return "0"
	}
	return ""
}

// describe is the object's description in the JSON API.
func (b *Bucket) describe(name string, content bucket.Content) ([]byte, error) {
	type description struct {
		Name         string            `json:"name"`
		ContentType  string            `json:"contentType"`
		StorageClass string            `json:"storageClass,omitempty"`
		Metadata     map[string]string `json:"metadata,omitempty"`
	}
	d := description{Name: b.prefix + name, ContentType: contentType, StorageClass: b.opts.StorageClass}
	if content.Meta != "" {
		d.Metadata = map[string]string{metaName: content.Meta}
	}
	return json.Marshal(d)
}

const contentType = "application/octet-stream"

// putWhole sends description and body in one request. One that broke off is not made again: the caller looks at what became of it, and what
// was sent costs more than that.
func (b *Bucket) putWhole(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	description, err := b.describe(name, content)
	if err != nil {
		return err
	}
	boundary := rand.Text() + rand.Text()
	head := fmt.Sprintf("--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n%s\r\n--%s\r\nContent-Type: %s\r\n\r\n", boundary, description, boundary, contentType)
	tail := fmt.Sprintf("\r\n--%s--\r\n", boundary)
	header := http.Header{"Content-Type": {"multipart/related; boundary=" + boundary}}
	maps.Copy(header, b.csek)
	resp, repeated, err := b.do(ctx, call{
		method: http.MethodPost, header: header, accept: []int{http.StatusOK}, careful: true,
		url: b.objects("/upload/storage/v1", "uploadType", "multipart", "name", b.prefix+name, "ifGenerationMatch", condition(mode),
			"kmsKeyName", b.opts.KMSKey, "fields", "generation,size"),
		body: func() io.Reader {
			return io.MultiReader(strings.NewReader(head), io.NewSectionReader(content.Body, 0, content.Size), strings.NewReader(tail))
		},
		size: int64(len(head)) + content.Size + int64(len(tail)),
	})
	if err != nil {
		return taken(err, mode, repeated)
	}
	defer drain(resp)
	return made(resp.Body, content.Size)
}

// made reads the answer to the request that made an object: whatever else may stand between says 200, too.
func made(answer io.Reader, size int64) error {
	var r resource
	if err := decode(answer, maxFailure, &r); err != nil {
		return err
	}
	if info, err := r.info(""); err != nil {
		return err
	} else if info.Size != size {
		return fmt.Errorf("the object has %d bytes, but %d were sent", info.Size, size)
	}
	return nil
}

// taken turns the answer that an object is there into [bucket.ErrExist], unless it may be ours, from an attempt whose answer was another.
func taken(err error, mode bucket.Mode, repeated bool) error {
	f, ok := errors.AsType[*failure](err)
	if !ok || f.status != http.StatusPreconditionFailed || mode != bucket.IfAbsent {
		return err
	}
	if repeated {
		return errors.New("the object exists by now, perhaps from the first attempt")
	}
	return bucket.ErrExist
}

// drain reads what is left of a small answer, so that the connection can be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, maxFailure) // the answer is known already
	_ = resp.Body.Close()
}

// Delete implements [bucket.Bucket].
func (b *Bucket) Delete(ctx context.Context, name, version string) error {
	resp, _, err := b.do(ctx, call{
		method: http.MethodDelete, url: b.object(name, "generation", version), accept: []int{http.StatusOK, http.StatusNoContent},
	})
	if f, ok := errors.AsType[*failure](err); ok && (f.status == http.StatusNotFound && !f.noBucket() || f.status == http.StatusPreconditionFailed) {
		return nil
	}
	if err != nil {
		return b.explain("delete", name, err)
	}
	drain(resp)
	return nil
}
