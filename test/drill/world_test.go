//go:build e2e

package drill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// atOnce is how many requests run at the same time.
const atOnce = 16

// body is the artifact of a hash: a small archive as Nx makes them.
func body(hash string) []byte {
	return artifacttest.Nx(artifacttest.File("dist/main.js", "console.log('"+hash+"')"))
}

// hashes are those of a kind, from 0 to n.
func hashes(kind string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	return all
}

// each does something for all hashes, many at once.
func each(t *testing.T, hashes []string, do func(ctx context.Context, hash string) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(atOnce)
	for _, hash := range hashes {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error { return do(ctx, hash) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

var client = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: atOnce}, Timeout: time.Minute}

func do(ctx context.Context, method, url, token string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return resp.StatusCode, got, err
}

// upload stores hashes through servers in turn.
func upload(t *testing.T, servers []*bezoar.Server, token bezoar.Token, hashes []string) {
	t.Helper()
	var n atomic.Int64
	each(t, hashes, func(ctx context.Context, hash string) error {
		s := servers[int(n.Add(1))%len(servers)]
		status, text, err := do(ctx, http.MethodPut, s.URL+"/v1/cache/"+hash, token.Secret, body(hash))
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("upload %s: %d %s", hash, status, text)
		}
		return err
	})
}

// want asks each server for each hash.
func want(t *testing.T, servers []*bezoar.Server, token bezoar.Token, status int, hashes []string) {
	t.Helper()
	for _, s := range servers {
		each(t, hashes, func(ctx context.Context, hash string) error {
			got, text, err := do(ctx, http.MethodGet, s.URL+"/v1/cache/"+hash, token.Secret, nil)
			switch {
			case err != nil:
				return err
			case got != status:
				return fmt.Errorf("%s answers %s with %d, want %d", s.URL, hash, got, status)
			case status == http.StatusOK && !bytes.Equal(text, body(hash)):
				return fmt.Errorf("%s answers %s with %d other bytes", s.URL, hash, len(text))
			}
			return nil
		})
	}
}

// eventually waits until each server answers so, and logs how long it took. Whether it is a second depends on the machine.
func eventually(t *testing.T, servers []*bezoar.Server, token bezoar.Token, status int, hash string) {
	t.Helper()
	began := time.Now()
	for _, s := range servers {
		for deadline := time.After(30 * time.Second); ; {
			got, _, err := do(t.Context(), http.MethodGet, s.URL+"/v1/cache/"+hash, token.Secret, nil)
			if err == nil && got == status {
				break
			}
			select {
			case <-deadline:
				t.Fatalf("%s answers %s with %d, %v, want %d", s.URL, hash, got, err, status)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	t.Logf("all servers answer %s with %d after %v", hash, status, time.Since(began).Round(time.Millisecond))
}

// seed stores what honest builds made, right into the storage and the ledger: over HTTP it would take too long.
func seed(t *testing.T, backend cache.Store, records *ledger.Ledger, keyFile string, hashes []string) {
	t.Helper()
	ring, err := keyring.Open(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	noted := &noted{Store: backend}
	c := cache.New(seal.New(noted, ring.Derive("seal"), seal.Options{}), cache.Options{
		Limits: artifact.Limits{MaxInflated: 1 << 20, MaxRatio: 1000, MaxMembers: 100, MaxPathLength: 1000}, Now: time.Now,
	})
	grant := cache.Grant{
		Workspace: cache.DefaultWorkspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted,
		Producer: cache.Producer{Kind: "token", TokenID: "0123456789ab", TokenName: "ci-main"},
	}
	each(t, hashes, func(ctx context.Context, hash string) error {
		b := body(hash)
		_, err := c.Put(ctx, grant, cache.Upload{Hash: cache.Hash(hash), Size: int64(len(b)), Body: bytes.NewReader(b)})
		return err
	})
	for all := noted.all; len(all) > 0; {
		step := all[:min(len(all), 100)]
		all = all[len(step):]
		if err := records.RecordEntries(t.Context(), step); err != nil {
			t.Fatal(err)
		}
	}
}

// noted is a store that remembers what was committed, with the seal.
type noted struct {
	cache.Store
	mu  sync.Mutex
	all []cache.Entry
}

func (n *noted) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	draft, err := n.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &notedDraft{draft, n, key}, nil
}

type notedDraft struct {
	cache.Draft
	noted *noted
	key   cache.Key
}

func (d *notedDraft) Commit(ctx context.Context, record cache.Record) error {
	err := d.Draft.Commit(ctx, record)
	if err == nil {
		d.noted.mu.Lock()
		defer d.noted.mu.Unlock()
		d.noted.all = append(d.noted.all, cache.Entry{Key: d.key, Record: record})
	}
	return err
}

// awaitKnown waits until the ledger knows so many entries of a token.
func awaitKnown(t *testing.T, records *ledger.Ledger, token bezoar.Token, n int) {
	t.Helper()
	for deadline := time.After(time.Minute); ; {
		entries, _, err := records.Entries(t.Context(), ledger.Filter{Token: token.ID}, "", n+1)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == n {
			return
		}
		select {
		case <-deadline:
			t.Fatal(errors.New("the ledger does not know all that was stored"), len(entries), n)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
