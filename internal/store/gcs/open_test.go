package gcs

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func TestOpen(t *testing.T) {
	for _, c := range []struct {
		what    string
		options Options
		env     map[string]string
		want    string // empty: it opens
		url     string
	}{
		{"loopback", Options{Bucket: "box", Endpoint: "http://127.0.0.1:1"}, nil, "", "gs://box"},
		{"loopback by name", Options{Bucket: "box", Prefix: "/a/b/", Endpoint: "http://localhost:1/"}, nil, "", "gs://box/a/b"},
		{"an emulator's address", Options{Bucket: "box"}, map[string]string{"STORAGE_EMULATOR_HOST": "emulator:1"}, "", "gs://box"},
		{"an emulator's URL", Options{Bucket: "box"}, map[string]string{"STORAGE_EMULATOR_HOST": "http://emulator:1/"}, "", "gs://box"},
		{"plain http elsewhere", Options{Bucket: "box", Endpoint: "http://10.0.0.1"}, nil, "plain http", ""},
		{"a URL with a password", Options{Bucket: "box", Endpoint: "https://me:SECRET@example.com"}, nil, "no URL", ""},
		{"no URL", Options{Bucket: "box", Endpoint: "storage.googleapis.com"}, nil, "no URL", ""},
		{"no bucket", Options{Endpoint: "http://127.0.0.1:1"}, nil, "no name of a bucket", ""},
		{"a path for a bucket", Options{Bucket: "a/b", Endpoint: "http://127.0.0.1:1"}, nil, "no name of a bucket", ""},
		{"an empty part", Options{Bucket: "box", Prefix: "a//b", Endpoint: "http://127.0.0.1:1"}, nil, "empty part", ""},
		{"a short key", Options{Bucket: "box", CustomerKey: []byte("short"), Endpoint: "http://127.0.0.1:1"}, nil, "must have 32", ""},
		{"two keys", Options{Bucket: "box", CustomerKey: make([]byte, 32), KMSKey: "k", Endpoint: "http://127.0.0.1:1"}, nil, "choose one", ""},
		{"no file of credentials", Options{Bucket: "box"}, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}, "/nowhere", ""},
		{"a key instead of a file", Options{Bucket: "box"}, map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": `{"private_key":"SECRET"}`}, "must be the path", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Setenv("STORAGE_EMULATOR_HOST", "")
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			b, err := Open(t.Context(), c.options)
			if err == nil {
				defer b.Close()
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && b.URL() != c.url:
				t.Errorf("it is %s, want %s", b.URL(), c.url)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want one that says %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "SECRET"):
				t.Errorf("it tells the secret: %v", err)
			}
		})
	}
}

// TestOneTokenForAll: many who need a token ask for one.
func TestOneTokenForAll(t *testing.T) {
	var tokens atomic.Int32
	s := playTLS(t, func(w http.ResponseWriter, r request) {
		if r.URL.Path == "/token" {
			tokens.Add(1)
			giveToken(w, "TOKEN-abc")
			return
		}
		serveObject(w, r)
	})
	keyOf(t, s.URL+"/token")
	b := open(t, s, Options{RootCAs: s.roots()})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if _, err := b.Head(t.Context(), "a/b"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := tokens.Load(); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
}

// TestTokenTrouble: who refuses a token refuses, who is down is down; and nobody waits longer than it wants to.
func TestTokenTrouble(t *testing.T) {
	for _, c := range []struct {
		what   string
		answer func(w http.ResponseWriter, r request)
		want   error
	}{
		{"refused", func(w http.ResponseWriter, _ request) {
			w.Header().Set("Content-Type", "application/json")
			failing(http.StatusBadRequest, `{"error":"invalid_grant","error_description":"account not found"}`)(w, request{})
		}, bucket.ErrRefused},
		{"down", failing(http.StatusServiceUnavailable, "down"), errTrouble},
		{"no sense", failing(http.StatusOK, "what?"), errTrouble},
	} {
		s := playTLS(t, c.answer)
		keyOf(t, s.URL+"/token")
		b := open(t, s, Options{RootCAs: s.roots()})
		if _, err := b.Head(t.Context(), "a/b"); !is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.want)
		}
	}

	asked, release := make(chan struct{}), make(chan struct{})
	s := playTLS(t, func(w http.ResponseWriter, _ request) {
		close(asked)
		<-release
		giveToken(w, "TOKEN-abc")
	})
	keyOf(t, s.URL+"/token")
	b := open(t, s, Options{RootCAs: s.roots()})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	if _, err := b.Head(ctx, "a/b"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	close(release)
}

// TestForeignAuthorityIsNotBelieved: without the right root there is no connection, and no token for it.
func TestForeignAuthorityIsNotBelieved(t *testing.T) {
	s := playTLS(t, func(w http.ResponseWriter, _ request) { giveToken(w, "TOKEN-abc") })
	keyOf(t, s.URL+"/token")
	b := open(t, s, Options{})
	if _, err := b.Head(t.Context(), "a/b"); !is(err, errTrouble) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v, want one about the certificate", err)
	}
}

// TestQuotaProject is told to the service, if the credentials name one.
func TestQuotaProject(t *testing.T) {
	s := play(t, serveObject)
	b := open(t, s, Options{})
	b.creds = &credentials{client: s.Client(), source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "t"}), file: keyFile{QuotaProject: "p"}}
	if _, err := b.Head(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if got := s.seen()[0].Header.Get("X-Goog-User-Project"); got != "p" {
		t.Errorf("it is %q", got)
	}
}
