//go:build e2e

package storage_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// TestCommands: the ledger is rebuilt from the records beside the objects, and an entry can be inspected, sealed or encrypted.
func TestCommands(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		for _, seal := range []string{"record", "aead"} {
			settings := []string{"--store", p.url, "--seal-key-file", p.key, "--seal", seal}
			lost := t.TempDir()
			s := p.binary.Serve(t, lost, append(settings, "--write-wait", "forever")...)
			var want []string
			for i := range 5 {
				hash := fmt.Sprintf("%s-%d", seal, i)
				want = append(want, hash)
				if status, text, err := bezoar.Do(t.Context(), "PUT", s.URL+"/v1/cache/"+hash, artifacttest.Random(10_000, uint64(i))); err != nil || status != http.StatusOK {
					t.Fatalf("PUT: %d %s, %v", status, text, err)
				}
			}
			s.Stop(t)

			data := t.TempDir()
			p.binary.Serve(t, data).Stop(t) // makes an empty ledger
			at := append([]string{"--data", data}, settings...)
			p.binary.Output(t, append([]string{"ledger", "rebuild"}, at...)...)
			var got []string
			var entries []struct{ Hash string }
			if out := p.binary.Output(t, "ledger", "entries", "--data", data, "--json"); json.Unmarshal(out, &entries) != nil {
				t.Fatalf("bezoar ledger entries --json printed %s", out)
			}
			for _, e := range entries {
				got = append(got, e.Hash)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: the rebuilt ledger has %q, want %q", seal, got, want)
			}

			var inspected struct {
				Damage  string
				Seal    struct{ State string }
				Record  struct{ Size int }
				Archive struct{ Members []struct{ Path string } }
			}
			out := p.binary.Output(t, append([]string{"inspect", "default", "trusted", want[0], "--json"}, at...)...)
			if err := json.Unmarshal(out, &inspected); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if inspected.Seal.State != "good" || inspected.Damage != "" || len(inspected.Archive.Members) == 0 || inspected.Record.Size != len(artifacttest.Random(10_000, 0)) {
				t.Errorf("%s: inspect says %s", seal, out)
			}
		}
	})
}
