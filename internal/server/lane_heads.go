package server

import (
	"bufio"
	"bytes"
	"net/http"
	"sync"
	"time"
)

// head is what plain headers say. It may be shared by requests: nobody writes to it.
type head struct {
	header http.Header
	host   string
	close  bool
}

// headBegin stands before headers that net/http is to read: what it reads in them does not hang on the method or the path of a plain request.
const headBegin = "GET / HTTP/1.1\r\n"

// readHead has net/http read headers, and accepts what no part of it or of us would take for something else. Nil: they are not plain.
func readHead(headers []byte) *head {
	if !isPlain(headers) {
		return nil
	}
	text := append([]byte(headBegin), headers...)
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(text), len(text)))
	if err != nil || r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return nil
	}
	for _, name := range []string{"Content-Length", "Transfer-Encoding", "Trailer", "Te", "Expect", "Upgrade", "Http2-Settings", "Proxy-Connection", "Range"} {
		if _, ok := r.Header[name]; ok {
			return nil
		}
	}
	if values, ok := r.Header["Connection"]; ok && (len(values) != 1 || values[0] != "keep-alive" && values[0] != "close") {
		return nil
	}
	return &head{r.Header, r.Host, r.Close}
}

const (
	mostHeads = 256              // what is kept: as many clients are served, each of whom sends one form
	headsTime = 10 * time.Minute // for how long a head is used that is kept
)

// heads keeps headers that were read, by their bytes. Clients that open a connection for each request send the same ones each time.
// There are credentials among them: so they are few, they are dropped after a while, and nobody who got nothing has a place there.
type heads struct {
	mu    sync.RWMutex
	known map[string]*head
	until time.Time
	end   *time.Timer // forgets them then, also when nobody asks
}

// get is nil for headers that are not known.
func (h *heads) get(headers []byte) *head {
	h.mu.RLock()
	defer h.mu.RUnlock()
	found := h.known[string(headers)]
	if found == nil || time.Now().After(h.until) {
		return nil
	}
	return found
}

// add keeps headers. When there is no more room, all are read anew.
func (h *heads) add(headers []byte, value *head) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); h.known == nil || len(h.known) >= mostHeads || now.After(h.until) {
		h.known, h.until = make(map[string]*head), now.Add(headsTime)
		if h.end == nil {
			h.end = time.AfterFunc(headsTime, h.forget)
		} else {
			h.end.Reset(headsTime)
		}
	}
	h.known[string(headers)] = value
}

func (h *heads) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !time.Now().Before(h.until) { // else the timer was set anew meanwhile
		h.known = nil
	}
}
