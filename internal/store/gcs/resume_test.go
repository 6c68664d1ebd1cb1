package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// sessions plays resumable uploads as the service documents them, with trouble.
type sessions struct {
	mu      sync.Mutex
	have    []byte
	made    []byte // the object
	deleted bool
	// trouble may answer a request that sends a body instead; n counts these from 1. It may keep a part of the body.
	trouble func(s *sessions, n int, w http.ResponseWriter, r request) bool
	sends   int
}

func (s *sessions) answer(w http.ResponseWriter, r request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		// Another host than that of the settings: it must not be asked.
		w.Header().Set("Location", "https://elsewhere.example.com/upload/storage/v1/b/box/o?uploadType=resumable&upload_id=1")
		return
	case http.MethodDelete:
		s.deleted = true
		w.WriteHeader(499)
		return
	}
	span, total, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Content-Range"), "bytes "), "/")
	size, _ := strconv.Atoi(total)
	if span != "*" {
		s.sends++
		if s.trouble != nil && s.trouble(s, s.sends, w, r) {
			return
		}
		if from, _, _ := strings.Cut(span, "-"); from != strconv.Itoa(len(s.have)) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.have = append(s.have, r.body...)
	}
	if len(s.have) == size {
		s.made = s.have
		_, _ = fmt.Fprintf(w, `{"generation":"7","size":"%d"}`, size)
		return
	}
	s.hold(w)
}

// hold answers that there is not everything yet.
func (s *sessions) hold(w http.ResponseWriter) {
	if len(s.have) > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.have)-1))
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

func TestResume(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 100)
	abort := func(*sessions, int, http.ResponseWriter, request) bool { panic(http.ErrAbortHandler) }
	for _, c := range []struct {
		what    string
		trouble func(s *sessions, n int, w http.ResponseWriter, r request) bool
		want    error
		sends   int
	}{
		{"none", nil, nil, 1},
		{"breaks off twice", func(s *sessions, n int, w http.ResponseWriter, r request) bool {
			if n > 2 {
				return false
			}
			s.have = append(s.have, r.body[:300]...)
			return abort(s, n, w, r)
		}, nil, 3},
		{"takes a part", func(s *sessions, n int, w http.ResponseWriter, r request) bool {
			if n > 5 {
				return false
			}
			s.have = append(s.have, r.body[:100]...)
			s.hold(w)
			return true
		}, nil, 6},
		{"the answer is lost", func(s *sessions, n int, w http.ResponseWriter, r request) bool {
			s.have = append(s.have, r.body...)
			return abort(s, n, w, r)
		}, nil, 1},
		{"busy once", func(_ *sessions, n int, w http.ResponseWriter, _ request) bool {
			w.WriteHeader(http.StatusServiceUnavailable)
			return n == 1
		}, nil, 2},
		{"another was first", func(_ *sessions, _ int, w http.ResponseWriter, _ request) bool {
			w.WriteHeader(http.StatusPreconditionFailed)
			return true
		}, bucket.ErrExist, 1},
		{"breaks off each time", abort, errTrouble, attempts},
		{"takes nothing", func(s *sessions, _ int, w http.ResponseWriter, _ request) bool {
			s.hold(w)
			return true
		}, errTrouble, attempts},
		{"forgets", func(_ *sessions, _ int, w http.ResponseWriter, _ request) bool {
			w.Header().Set("Range", "bytes=0-4000")
			w.WriteHeader(http.StatusPermanentRedirect)
			return true
		}, errTrouble, 1},
		{"loses the session", func(_ *sessions, _ int, w http.ResponseWriter, _ request) bool {
			w.WriteHeader(http.StatusGone)
			return true
		}, errTrouble, 1},
		{"takes the permission away", func(_ *sessions, _ int, w http.ResponseWriter, _ request) bool {
			w.WriteHeader(http.StatusForbidden)
			return true
		}, bucket.ErrRefused, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			fake := &sessions{trouble: c.trouble}
			// The handler's panic must not leave the lock: net/http recovers it, and deferred calls run.
			b := open(t, play(t, fake.answer), Options{ResumableAt: 100})
			err := b.Put(t.Context(), "a/b", bucket.Content{Body: bytes.NewReader(text), Size: int64(len(text))}, bucket.IfAbsent)
			if !is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			fake.mu.Lock()
			defer fake.mu.Unlock()
			if fake.sends != c.sends {
				t.Errorf("the body was sent %d times, want %d", fake.sends, c.sends)
			}
			if err == nil && !bytes.Equal(fake.made, text) {
				t.Errorf("the object has %d bytes, not those of the body", len(fake.made))
			}
			if wantsEnd := errors.Is(c.want, errTrouble) || errors.Is(c.want, bucket.ErrRefused); fake.deleted != wantsEnd {
				t.Errorf("the session was given up: %v, want %v", fake.deleted, wantsEnd)
			}
		})
	}
}

// TestCanceledUploadIsGivenUp, even though its context has ended.
func TestCanceledUploadIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	fake := &sessions{trouble: func(s *sessions, _ int, w http.ResponseWriter, r request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}}
	err := open(t, play(t, fake.answer), Options{ResumableAt: 1}).Put(ctx, "a/b", content("the body", ""), bucket.IfAbsent)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	fake.mu.Lock()
	defer fake.mu.Unlock()
	if !fake.deleted || fake.made != nil {
		t.Errorf("the session was given up: %v; there is an object: %v", fake.deleted, fake.made != nil)
	}
}

// TestEmptyInASession: a small body can be sent as a large one is.
func TestEmptyInASession(t *testing.T) {
	fake := new(sessions)
	empty := content("", "")
	empty.InParts = true
	if err := open(t, play(t, fake.answer), Options{}).Put(t.Context(), "a/b", empty, bucket.IfAbsent); err != nil {
		t.Error(err)
	}
	if fake.sends != 0 || fake.deleted {
		t.Errorf("%d bodies were sent; the session was given up: %v", fake.sends, fake.deleted)
	}
}
