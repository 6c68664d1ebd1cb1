package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestTheEndOfTheServerWaitsUntilAnAnswerIsTaken: a small one is sent when its handler is done, and the client may be slow to take it.
func TestTheEndOfTheServerWaitsUntilAnAnswerIsTaken(t *testing.T) {
	body := artifacttest.Random(30_000, 1)
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		if err := storetest.Put(t.Context(), store, cache.Key{Workspace: "default", Scope: cache.Trusted, Hash: "1"}, body); err != nil {
			t.Fatal(err)
		}
		s := newTimed(store)
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		served := make(chan error, 1)
		go func() { served <- s.Serve(l, nil) }()
		conn, theirs := net.Pipe()
		defer conn.Close()
		l.conns <- theirs
		r := bufio.NewReader(conn)
		ask := func() {
			t.Helper()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(resp.Body); err != nil || len(got) != len(body) {
				t.Errorf("%d bytes of %d came, %v", len(got), len(body), err)
			}
		}
		fmt.Fprint(conn, "GET /v1/cache/1"+plainHead)
		ask()
		<-time.After(time.Minute) // net/http takes it for a connection that rests
		fmt.Fprint(conn, "GET /v1/cache/1"+plainHead)
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(context.Background(), 0, time.Hour) }()
		<-time.After(testStall / 2)
		select {
		case err := <-ended:
			t.Errorf("the server has ended before its answer was taken: %v", err)
			ended <- err
		default:
		}
		ask()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// stuckConn is a connection on which a file is sent that hangs: to close it waits for that.
type stuckConn struct {
	net.Conn
	mend chan struct{}
}

func (c *stuckConn) Close() error {
	<-c.mend
	return c.Conn.Close()
}

// TestTheEndOfTheServerDoesNotWaitForWhatHangs: a disk that does not answer keeps no process from ending.
func TestTheEndOfTheServerDoesNotWaitForWhatHangs(t *testing.T) {
	const timeout = time.Minute
	body := artifacttest.Random(300_000, 1)
	for name, query := range map[string]string{"on the lane": "", "by net/http": "?"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mend := make(chan struct{})
				store := hanging{mem.New(), 100_000, mend, 1000 * time.Hour}
				if err := storetest.Put(t.Context(), store, cache.Key{Workspace: "default", Scope: cache.Trusted, Hash: "1"}, body); err != nil {
					t.Fatal(err)
				}
				s := newTimed(store)
				l := &pipes{make(chan net.Conn), make(chan struct{})}
				served := make(chan error, 1)
				go func() { served <- s.Serve(l, nil) }()
				conn, theirs := net.Pipe()
				defer conn.Close()
				l.conns <- &stuckConn{theirs, mend}
				fmt.Fprint(conn, "GET /v1/cache/1"+query+plainHead)
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				synctest.Wait()
				ended := make(chan error, 1)
				go func() { ended <- s.Shutdown(context.Background(), 0, timeout) }()
				select {
				case err := <-ended:
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
				case <-time.After(restGrace + timeout + cutGrace + time.Second):
					t.Error("the server does not end")
					defer func() { <-ended }()
				}
				close(mend)
				if err := <-served; !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
		})
	}
}
