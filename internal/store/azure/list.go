package azure

import (
	"context"
	"iter"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// pageSize is a fifth of the service's largest: with metadata of [bucket.MaxMeta] bytes, a page has some 3 MB.
const pageSize = int32(1000)

// List implements [bucket.Bucket]. Names that a [bucket.Bucket] does not have, such as "folder/", and the directories of accounts with a
// hierarchical namespace are left out.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[bucket.Info, error] {
	return func(yield func(bucket.Info, error) bool) {
		whole, limit := b.prefix+prefix, pageSize
		pager := b.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
			Prefix: &whole, MaxResults: &limit, Include: container.ListBlobsInclude{Metadata: true},
		})
		for pager.More() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				yield(bucket.Info{}, b.explain("list", prefix, err))
				return
			}
			if page.Segment == nil {
				continue
			}
			for _, item := range page.Segment.BlobItems {
				if item == nil || item.Name == nil || item.Properties == nil || directory(item.Metadata) {
					continue
				}
				name, ok := strings.CutPrefix(*item.Name, b.prefix)
				if !ok || !strings.HasPrefix(name, prefix) || !fit(name) {
					continue
				}
				i, err := info(name, item.Properties.ETag, item.Properties.ContentLength, item.Metadata, item.Properties.LastModified)
				if err != nil {
					yield(bucket.Info{}, b.explain("list", prefix, err))
					return
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

// directory reports whether metadata is that of a directory: https://learn.microsoft.com/azure/storage/blobs/data-lake-storage-known-issues.
func directory(metadata map[string]*string) bool {
	for key, value := range metadata {
		if strings.EqualFold(key, "hdi_isfolder") && value != nil && *value == "true" {
			return true
		}
	}
	return false
}

// fit reports whether a name is one that a [bucket.Bucket] has.
func fit(name string) bool {
	return name != "" && !strings.HasPrefix(name, "/") && !strings.HasSuffix(name, "/") && !strings.Contains(name, "//")
}
