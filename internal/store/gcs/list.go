package gcs

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// pageSize is the service's largest. With metadata of [bucket.MaxMeta] bytes, a page has some 3 MB.
const pageSize = "1000"

// maxPage bounds a page, in bytes.
const maxPage = 32 << 20

// List implements [bucket.Bucket]. Names that a [bucket.Bucket] does not have, such as "folder/", are left out: others made them.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		for token, more := "", true; more; more = token != "" {
			items, next, err := b.page(ctx, prefix, token)
			if err != nil {
				yield(bucket.Info{}, b.explain("list", prefix, err))
				return
			}
			for i := range items {
				name, ok := strings.CutPrefix(items[i].Name, b.prefix)
				if !ok || !strings.HasPrefix(name, prefix) || !fit(name) {
					continue
				}
				info, err := items[i].info(name)
				if err != nil {
					yield(bucket.Info{}, b.explain("list", prefix, err))
					return
				}
				if !yield(info, nil) {
					return
				}
			}
			token = next
		}
	}
}

func (b *Bucket) page(ctx context.Context, prefix, token string) (items []resource, next string, err error) {
	resp, _, err := b.do(ctx, call{
		method: http.MethodGet, accept: []int{http.StatusOK},
		url: b.objects("/storage/v1", "prefix", b.prefix+prefix, "pageToken", token, "maxResults", pageSize, "projection", "noAcl",
			"fields", "nextPageToken,items("+fields+")"),
	})
	if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusNotFound {
		f.reason = "NoSuchBucket"
	}
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	var page struct {
		Items         []resource `json:"items"`
		NextPageToken string     `json:"nextPageToken"`
	}
	if err := decode(resp.Body, maxPage, &page); err != nil {
		return nil, "", err
	}
	return page.Items, page.NextPageToken, nil
}

// fit reports whether a name is one that a [bucket.Bucket] has.
func fit(name string) bool {
	return name != "" && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//")
}
