//go:build bench

package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bezoar-cache/bezoar/internal/store/azure"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/gcs"
	"github.com/bezoar-cache/bezoar/internal/store/s3"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// prefix is where everything lies in a bucket.
const prefix = "cache"

// place is a bucket on a running storage server, and two ways to it: bezoar, and a plain client that has nothing to do with it.
type place struct {
	// url is the setting --store for the bucket at an address.
	url func(addr string) string
	// addr is where the storage server listens.
	addr   string
	key    string
	binary bezoar.Binary
	// plain makes the plain client for an address.
	plain func(addr string) plain
	// own is what bezoar's own client is made of, to clear the bucket.
	own bucket.Bucket
}

// plain is what a program does that wants bytes kept and no more. It is called from several goroutines.
type plain struct {
	put func(ctx context.Context, name string, body []byte) error
	get func(ctx context.Context, name string) (io.ReadCloser, error)
}

// places are the storage servers.
var places = []struct {
	name  string
	start func(b *testing.B, dir string) place
}{
	{"versitygw", onVersity},
	{"GCS", onGCS},
	{"Azure", onAzure},
}

func onVersity(b *testing.B, dir string) place {
	s := emulator.Versity(b, emulator.Over(dir))
	s.Setenv(b)
	name := s.NewBucket(b)
	own, err := s3.Open(b.Context(), s3.Options{Bucket: name, Prefix: prefix, Region: s.Region, Endpoint: s.Endpoint, PathStyle: true})
	return place{
		addr: s.Addr,
		url: func(addr string) string {
			return "s3://" + name + "/" + prefix + "?endpoint=http://" + addr + "&path_style=true&region=" + s.Region
		},
		binary: bezoar.Build(b).With(s.Environ()...),
		own:    opened(b, own, err),
		plain: func(addr string) plain {
			client := awss3.New(awss3.Options{
				BaseEndpoint:               aws.String("http://" + addr),
				Region:                     s.Region,
				UsePathStyle:               true,
				Credentials:                credentials.NewStaticCredentialsProvider(s.Key, s.Secret, ""),
				RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
				ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
			})
			return plain{
				put: func(ctx context.Context, object string, body []byte) error {
					_, err := client.PutObject(ctx, &awss3.PutObjectInput{
						Bucket: &name, Key: aws.String(prefix + "/" + object), Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
					}, awss3.WithAPIOptions(v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware))
					return err
				},
				get: func(ctx context.Context, object string) (io.ReadCloser, error) {
					output, err := client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &name, Key: aws.String(prefix + "/" + object)})
					if err != nil {
						return nil, err
					}
					return output.Body, nil
				},
			}
		},
	}
}

func onAzure(b *testing.B, dir string) place {
	s := emulator.Azurite(b, emulator.Over(dir))
	name := s.NewContainer(b)
	environ := []string{"AZURE_STORAGE_ACCOUNT=" + s.Account, "AZURE_STORAGE_KEY=" + s.Key}
	b.Setenv("AZURE_STORAGE_ACCOUNT", s.Account)
	b.Setenv("AZURE_STORAGE_KEY", s.Key)
	endpoint := func(addr string) string { return "http://" + addr + "/" + s.Account }
	own, err := azure.Open(b.Context(), azure.Options{Container: name, Prefix: prefix, Account: s.Account, Endpoint: s.Endpoint})
	return place{
		addr: s.Addr,
		url: func(addr string) string {
			return "azblob://" + name + "/" + prefix + "?account=" + s.Account + "&endpoint=" + endpoint(addr)
		},
		binary: bezoar.Build(b).With(environ...),
		own:    opened(b, own, err),
		plain: func(addr string) plain {
			credential, err := azblob.NewSharedKeyCredential(s.Account, s.Key)
			if err != nil {
				b.Fatal(err)
			}
			client, err := azblob.NewClientWithSharedKeyCredential(endpoint(addr), credential, nil)
			if err != nil {
				b.Fatal(err)
			}
			return plain{
				put: func(ctx context.Context, object string, body []byte) error {
					_, err := client.UploadStream(ctx, name, prefix+"/"+object, bytes.NewReader(body), &azblob.UploadStreamOptions{BlockSize: 8 << 20, Concurrency: 3})
					return err
				},
				get: func(ctx context.Context, object string) (io.ReadCloser, error) {
					response, err := client.DownloadStream(ctx, name, prefix+"/"+object, nil)
					return response.Body, err
				},
			}
		},
	}
}

// onGCS has plain HTTP for its plain client: it is one request for each object, without a library to do it.
func onGCS(b *testing.B, dir string) place {
	s := emulator.GCS(b, emulator.Over(dir))
	name := s.NewBucket(b)
	own, err := gcs.Open(b.Context(), gcs.Options{Bucket: name, Prefix: prefix, Endpoint: s.Endpoint})
	return place{
		addr:   s.Addr,
		url:    func(addr string) string { return "gs://" + name + "/" + prefix + "?endpoint=http://" + addr },
		binary: bezoar.Build(b),
		own:    opened(b, own, err),
		plain: func(addr string) plain {
			send := func(ctx context.Context, method, path string, body []byte) (io.ReadCloser, error) {
				req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(body))
				if err != nil {
					return nil, err
				}
				resp, err := client.Do(req)
				if err != nil {
					return nil, err
				}
				if resp.StatusCode != http.StatusOK {
					resp.Body.Close()
					return nil, fmt.Errorf("%s %s: %s", method, path, resp.Status)
				}
				return resp.Body, nil
			}
			return plain{
				put: func(ctx context.Context, object string, body []byte) error {
					answer, err := send(ctx, http.MethodPost, "/upload/storage/v1/b/"+name+"/o?uploadType=media&name="+url.QueryEscape(prefix+"/"+object), body)
					if err != nil {
						return err
					}
					defer answer.Close()
					return drain(answer)
				},
				get: func(ctx context.Context, object string) (io.ReadCloser, error) {
					return send(ctx, http.MethodGet, "/storage/v1/b/"+name+"/o/"+url.PathEscape(prefix+"/"+object)+"?alt=media", nil)
				},
			}
		},
	}
}

func opened[B bucket.Bucket](b *testing.B, own B, err error) bucket.Bucket {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := own.Close(); err != nil {
			b.Error(err)
		}
	})
	return own
}

// serve starts a server over the bucket, through addr, with its data in a new directory.
func (p place) serve(b *testing.B, addr, data string, args ...string) *bezoar.Server {
	b.Helper()
	return p.binary.Serve(b, data, append([]string{"--store", p.url(addr), "--seal-key-file", p.key}, args...)...)
}

// clear removes everything but the marks from the bucket.
func (p place) clear(b *testing.B) {
	b.Helper()
	for info, err := range p.own.List(b.Context(), "") {
		if err != nil {
			b.Fatal(err)
		}
		if strings.HasPrefix(info.Name, "marks/") || info.Name == "FORMAT" {
			continue
		}
		if err := p.own.Delete(b.Context(), info.Name, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// memoryDir is a directory in memory where the system has one, else on the disk.
func memoryDir(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bezoar-bench-*")
	if err != nil {
		b.Logf("the files of this run are on a disk: %v", err)
		return b.TempDir()
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
