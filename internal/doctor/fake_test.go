package doctor

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a server as it should be, in memory. Tests break one thing of it.
type fake struct {
	mu      sync.Mutex
	entries map[string][]byte
	// token is the only one that may write; empty: everybody may.
	token string
	// before, if set, answers instead where it returns true.
	before func(w http.ResponseWriter, r *http.Request, entries map[string][]byte, body []byte) bool
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.entries == nil {
		f.entries = make(map[string][]byte)
	}
	if f.before != nil && f.before(w, r, f.entries, body) {
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer")
	bearer = strings.TrimSpace(bearer)
	if f.token != "" && bearer != "" && bearer != f.token {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "the token %s is unknown", bearer)
		return
	}
	hash := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	entry, found := f.entries[hash]
	switch {
	case r.Method == http.MethodGet && found:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(entry)))
		w.Write(entry)
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusNotFound)
	case f.token != "" && bearer == "":
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, "no credential was sent")
	case found:
		w.WriteHeader(http.StatusConflict)
	case r.ContentLength < 0:
		w.WriteHeader(http.StatusLengthRequired)
	default:
		f.entries[hash] = body
	}
}

// serve starts a server for one test.
func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// testSize is larger than every buffer on the way.
const testSize = 256 << 10

func examine(t *testing.T, opts Options) *Report {
	t.Helper()
	if opts.Samples == 0 {
		opts.Samples = 3
	}
	// Long enough for a busy machine: only servers that hang on purpose are waited for, and they set less.
	if opts.Answer == 0 {
		opts.Answer = time.Minute
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, opts)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	return r
}

func server(url string) Setting { return Setting{Value: url, Set: true, Source: "argument"} }

// outcome is every finding that is not ok, but not those that plain http has no use for.
func outcome(r *Report) string {
	var list []string
	for _, f := range r.Findings {
		if f.Status != OK && (f.Status != Skip || !strings.HasPrefix(f.ID, "tls.") || !strings.Contains(f.Title, "plain http")) {
			list = append(list, f.ID+"="+string(f.Status))
		}
	}
	return strings.Join(list, " ")
}

func finding(t *testing.T, r *Report, id string) Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.ID == id {
			return f
		}
	}
	t.Fatalf("no finding %q", id)
	return Finding{}
}
