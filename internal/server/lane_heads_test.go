package server

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func (h *heads) count() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.known)
}

// TestHeadsAreFew, and none is used for long.
func TestHeadsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h heads
		for i := range 10 * mostHeads {
			headers := fmt.Appendf(nil, "Host: %d\r\n\r\n", i)
			h.add(headers, &head{host: fmt.Sprint(i)})
			if got := h.get(headers); got == nil || got.host != fmt.Sprint(i) {
				t.Fatalf("%d: %+v", i, got)
			}
			if h.count() > mostHeads {
				t.Fatalf("%d heads are kept", h.count())
			}
		}
		last := fmt.Appendf(nil, "Host: %d\r\n\r\n", 10*mostHeads-1)
		<-time.After(headsTime + time.Second)
		synctest.Wait()
		if h.get(last) != nil {
			t.Error("it is used too long")
		}
		if h.count() != 0 {
			t.Errorf("%d heads are still kept", h.count())
		}
		h.add([]byte("Host: a\r\n\r\n"), &head{host: "a"})
		if h.count() != 1 {
			t.Errorf("%d heads are kept", h.count())
		}
	})
}

// TestOnlyGoodHeadsAreKept: who gets nothing has no place among those of clients that are served.
func TestOnlyGoodHeadsAreKept(t *testing.T) {
	f := newFixture(t)
	f.want(http.StatusOK, http.MethodPut, "/v1/cache/1", artifacttest.Typical(1))
	kept := f.server.lane.heads.count
	const begun = 1 // that of the upload, which is kept behind its answer
	for deadline := time.After(10 * time.Second); kept() < begun; {
		select {
		case <-deadline:
			t.Fatal("the head of the upload is not kept")
		case <-time.After(time.Millisecond):
		}
	}
	for i := range 10 {
		for path, want := range map[string]int{"/v1/cache/1": 404, "/v1/cache/none": 404} {
			if resp, err := f.raw("GET", fmt.Sprintf("GET %s HTTP/1.1\r\nHost: example.com\r\nX: %d\r\n\r\n", path, i)); err != nil || resp.StatusCode != want {
				t.Fatal(resp, err)
			}
		}
	}
	if n := kept(); n != begun {
		t.Errorf("%d heads are kept, before %d", n, begun)
	}
	for range 10 {
		if resp, err := f.raw("GET", "GET /v1/cache/1"+plainHead); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
	}
	f.waitForLog(10, `"result":"hit"`)
	if n := kept(); n != begun+1 {
		t.Errorf("%d heads are kept, before %d", n, begun)
	}
}
