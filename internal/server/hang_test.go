package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// hanging is a store whose bodies hang after some bytes, once, for so long.
type hanging struct {
	*mem.Store
	after int
	mend  chan struct{}
	pause time.Duration
}

func (h hanging) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := h.Store.Open(ctx, key)
	if err == nil {
		obj.Body = &hangingBody{obj.Body, h, 0, false}
	}
	return obj, err
}

type hangingBody struct {
	io.ReadCloser
	store hanging
	read  int
	hung  bool
}

func (b *hangingBody) Read(p []byte) (int, error) {
	if b.read >= b.store.after && !b.hung {
		b.hung = true
		select {
		case <-b.store.mend:
		case <-time.After(b.store.pause):
		}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.store.after)])
	b.read += n
	return n, err
}

// TestAFileThatHangs: the client is cut off, and waits no longer than it may. A slow one is read to its end.
func TestAFileThatHangs(t *testing.T) {
	body := artifacttest.Random(300_000, 1)
	for way, more := range map[string]string{"plain": "", "by net/http": "Connection: close\r\n"} {
		for name, c := range map[string]struct {
			pause time.Duration
			whole bool
		}{"hangs": {1000 * time.Hour, false}, "is slow": {2 * testStall, true}} {
			t.Run(way+", "+name, func(t *testing.T) {
				var mend chan struct{}
				inBubbleOver(t, func() cache.Store {
					mend = make(chan struct{})
					return hanging{mem.New(), 100_000, mend, c.pause}
				}, func(t *testing.T, store cache.Store, dial func() net.Conn) {
					key := cache.Key{Workspace: "default", Scope: cache.Trusted, Hash: "1"}
					if err := storetest.Put(t.Context(), store, key, body); err != nil {
						t.Fatal(err)
					}
					conn := dial()
					fmt.Fprintf(conn, "GET /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\n%s\r\n", more)
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || resp.StatusCode != http.StatusOK {
						t.Fatalf("%v %v", resp, err)
					}
					begun := time.Now()
					got, err := io.ReadAll(resp.Body)
					took := time.Since(begun)
					if whole := err == nil && len(got) == len(body); whole != c.whole {
						t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
					}
					if most := hangsAfter * testStall; !c.whole && took > 2*most {
						t.Errorf("the client waited for %s", took)
					}
					close(mend)
					conn.Close()
				})
			})
		}
	}
}
