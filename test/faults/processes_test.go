//go:build faults || e2e

package faults_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
)

const (
	brokenAnswer = "a request that was accepted dies with the process"
	down         = 3 * time.Second
)

// processCauses are those of the server's own process. Its parent holds the socket, so that who connects while it is down waits.
func processCauses() []cause {
	dies := map[moment]string{beforeMiss: brokenAnswer, beforeHit: brokenAnswer, midBody: brokenAnswer}
	return []cause{
		{name: "server killed (-9), restarted at once", kind: activated, helpless: dies, apply: killed(0)},
		{name: "server killed (-9), restarted after 3 s", kind: activated, moments: []moment{midUpload, between, fromStart}, apply: killed(down)},
		{name: "server restarted (SIGTERM)", kind: activated, apply: func(w *world) (faulty.Mend, error) {
			// It lets transfers under way go on: nobody waits for its end but who starts the next one.
			ended, next := w.server.Terminate(), make(chan *bezoar.Server, 1)
			go func() {
				ended(w.t)
				next <- w.start()
			}()
			return func() error { w.server = <-next; return nil }, nil
		}},
		{name: "server paused for 5 s (SIGSTOP)", kind: activated, lasts: 5 * time.Second, apply: func(w *world) (faulty.Mend, error) {
			pid := w.server.PID()
			return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, syscall.SIGSTOP)
		}},
		{name: "machine restarted: the monotonic clock begins elsewhere", kind: activated, moments: []moment{between, midUpload},
			apply: killed(0, "unshare", "--time", "--monotonic", "10000000", "--boottime", "10000000")},
	}
}

const nobody = "nobody listens"

// goneCauses leave nobody who listens.
func goneCauses() []cause {
	return []cause{{
		name: "server killed (-9), and nobody holds its socket", kind: plain, moments: []moment{beforeMiss, midUpload, fromStart},
		helpless: map[moment]string{beforeMiss: nobody, midUpload: nobody, fromStart: nobody},
		apply: func(w *world) (faulty.Mend, error) {
			w.server.Kill()
			return func() error { w.server = w.start(); return nil }, nil
		},
	}}
}

// killed kills the server and starts it after a while, under commands of the system.
func killed(after time.Duration, under ...string) func(w *world) (faulty.Mend, error) {
	return func(w *world) (faulty.Mend, error) {
		next := make(chan *bezoar.Server, 1)
		w.server.Kill()
		go func() {
			<-time.After(after)
			next <- w.start(under...)
		}()
		return func() error { w.server = <-next; return nil }, nil
	}
}

// descriptorCauses have the server open nothing more: all at once, or from the start with ten times as many clients as it can have.
func descriptorCauses() []cause {
	return []cause{
		{name: "no descriptors for 5 s", kind: plain, lasts: 5 * time.Second, apply: func(w *world) (faulty.Mend, error) {
			return faulty.NoDescriptors(w.server.PID())
		}},
		{name: "64 descriptors, 640 connections", kind: scarce, moments: askedAndStored, apply: func(w *world) (faulty.Mend, error) {
			return w.flood(640, w.floodRead)
		}},
	}
}

// clockCauses set the wall clock.
func clockCauses() []cause {
	const day = 24 * time.Hour
	by := func(name string, d time.Duration) cause {
		return cause{name: "clock jumps " + name, kind: clocks, apply: func(w *world) (faulty.Mend, error) {
			w.clock.set(d)
			return func() error { w.clock.set(0); return nil }, nil
		}}
	}
	return []cause{by("a day ahead", day), by("a day back", -day), by("ten years ahead", 3650*day), by("to 1970", -time.Duration(time.Now().Unix())*time.Second)}
}

// overloadCauses ask for ten times as much as the server's bounds allow.
func overloadCauses() []cause {
	return []cause{
		{name: "ten times too many connections", kind: small, moments: askedAndStored, apply: func(w *world) (faulty.Mend, error) {
			return w.flood(160, w.floodIdle)
		}},
		{name: "ten times too many requests", kind: small, moments: allMoments, apply: func(w *world) (faulty.Mend, error) {
			return w.flood(160, w.floodRead)
		}},
		{name: "ten times too many uploads", kind: small, moments: askedAndStored, apply: func(w *world) (faulty.Mend, error) {
			return w.flood(40, w.floodStore)
		}},
	}
}

// flood has so many clients do something again and again. They keep their connections, until it is over.
func (w *world) flood(clients int, do func(ctx context.Context, client *http.Client, n int)) (faulty.Mend, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: clients}
	client := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				do(ctx, client, n)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	<-time.After(300 * time.Millisecond) // until they are there
	return func() error {
		cancel()
		wg.Wait()
		transport.CloseIdleConnections()
		return nil
	}, nil
}

func (w *world) floodRead(ctx context.Context, client *http.Client, n int) {
	_, _, _ = askWith(ctx, client, http.MethodGet, w.server.URL+"/v1/cache/flood"+string(rune('a'+n%20)), w.session, nil)
}

func (w *world) floodStore(ctx context.Context, client *http.Client, n int) {
	_, _, _ = askWith(ctx, client, http.MethodPut, w.server.URL+"/v1/cache/flood"+string(rune('a'+n%20)), w.session, artifacttest.Random(300_000, uint64(n%20)))
}

// floodIdle connects, and says nothing until the server has enough of it.
func (w *world) floodIdle(ctx context.Context, _ *http.Client, _ int) {
	conn, err := w.dial()
	if err != nil {
		return
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = conn.Read(make([]byte, 1))
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return
	}
}

// issuerCauses take the issuers of identities away.
func issuerCauses() []cause {
	of := func(name string, o oidctest.Outage, moments []moment, prepare func(w *world), token func(w *world) string) cause {
		return cause{name: name, kind: trusting, moments: moments, token: token, apply: func(w *world) (faulty.Mend, error) {
			if prepare != nil {
				prepare(w)
			}
			w.outage(o)
			return func() error { w.gitlab.Serve(oidctest.KeysPath, nil); w.outage(oidctest.Up); return nil }, nil
		}}
	}
	identity := func(w *world) string { return w.identity(w.t) }
	// A token that is signed with a key of which nobody has heard when the issuer goes.
	unheard := func(w *world) string {
		w.outage(oidctest.Refuses)
		w.gitlab.RotateKeeping()
		return w.identity(w.t)
	}
	return []cause{
		of("issuer answers 503, a session from before", oidctest.Refuses, allMoments, nil, nil),
		of("issuer hangs, a session from before", oidctest.Hangs, askedAndStored, nil, nil),
		of("issuer answers 503, a token of a known key", oidctest.Refuses, askedAndStored, nil, identity),
		of("issuer answers 503, a token of an unheard key", oidctest.Refuses, twice, nil, unheard),
		of("issuer hangs, a token of an unheard key", oidctest.Hangs, twice, nil, unheard),
		of("issuer resets, a token of an unheard key", oidctest.Resets, twice, nil, unheard),
		of("issuer's keys are garbage, a token of an unheard key", oidctest.Up, twice, func(w *world) {
			w.gitlab.Serve(oidctest.KeysPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
		}, unheard),
		of("issuer down, and the job got no session", oidctest.Refuses, twice, nil, func(*world) string { return "" }),
	}
}
