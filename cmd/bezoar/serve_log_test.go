package main

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/server"
)

// written counts the writes that the lines came in.
type written struct {
	mu     sync.Mutex
	buf    bytes.Buffer
	writes int
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes++
	return w.buf.Write(p)
}

func (w *written) lines() (lines, writes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.buf.String(), "\n"), w.writes
}

func TestLinesAreWrittenTogetherAndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &written{}
		log, flush := newLogger(&config.Config{}, out)
		want := func(lines, writes int) {
			t.Helper()
			synctest.Wait()
			if gotLines, gotWrites := out.lines(); gotLines != lines || gotWrites != writes {
				t.Errorf("%d lines in %d writes, want %d in %d", gotLines, gotWrites, lines, writes)
			}
		}
		log.Info(server.RequestLine)
		log.With("a", 1).WithGroup("g").Info(server.RequestLine)
		want(0, 0)
		<-time.After(lineDelay)
		want(2, 1)
		log.Info(server.RequestLine)
		log.With("a", 1).WithGroup("g").Warn(server.RequestLine)
		want(4, 2)
		log.Info("another")
		want(5, 3)
		log.Info(server.RequestLine)
		flush()
		want(6, 4)
		for range 1000 { // some 60 KB
			log.Info(server.RequestLine, "x", strings.Repeat("x", 30))
		}
		if lines, writes := out.lines(); lines < 700 || writes < 5 {
			t.Errorf("%d lines in %d writes: it all waits", lines, writes)
		}
		<-time.After(2 * lineDelay)
		if lines, _ := out.lines(); lines != 1006 {
			t.Errorf("%d lines", lines)
		}
	})
}

func TestLinesKeepTheirOrder(t *testing.T) {
	out := &written{}
	log, flush := newLogger(&config.Config{}, out)
	for i := range 2000 {
		log.Info(server.RequestLine, "n", i)
	}
	flush()
	for i, line := range strings.Split(strings.TrimSpace(out.buf.String()), "\n") {
		if !strings.HasSuffix(line, fmt.Sprintf("n=%d", i)) {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}
