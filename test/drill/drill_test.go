//go:build e2e

// Package drill_test is an exercise for the worst day: a token is stolen and writes 1,000 entries among those of honest builds. It runs the commands of docs/incident.md
// against real servers and asks each of them for each entry.
package drill_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// stolen is how many entries the stolen token writes.
const stolen = 1000

// company is servers over one storage and one ledger, and an administrator.
type company struct {
	binary  bezoar.Binary // knows where the servers' ledger and storage are
	servers []*bezoar.Server
	backend cache.Store
	records *ledger.Ledger
	keyFile string
	desk    *desk
}

// TestOneMachine has two servers over one data directory, with SQLite.
func TestOneMachine(t *testing.T) {
	data := t.TempDir()
	binary := bezoar.Build(t)
	c := company{binary: binary.With("BEZOAR_DATA=" + data), keyFile: filepath.Join(data, "seal.key")}
	records, err := ledger.Open(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := fs.Open(filepath.Join(data, "store"), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	c.records, c.backend = records, dir
	for range 2 {
		c.servers = append(c.servers, binary.Serve(t, data))
	}
	c.desk = newDesk(t, c.binary)
	drill(t, &c, 49_000)
}

func (c *company) token(t *testing.T, name, access string) bezoar.Token {
	t.Helper()
	var token bezoar.Token
	out := c.binary.Output(t, "token", "create", "--name", name, "--access", access, "--json")
	if err := json.Unmarshal(out, &token); err != nil || token.Secret == "" {
		t.Fatalf("no token: %v, %s", err, out)
	}
	return token
}

// closed returns when each server knows that there is a token. Until then they are open, to those who have one as well, and what is uploaded is nobody's.
func (c *company) closed(t *testing.T) {
	t.Helper()
	eventually(t, c.servers, bezoar.Token{Secret: "made-up"}, http.StatusUnauthorized, "nothing")
}

// drill has so many entries of honest builds.
func drill(t *testing.T, c *company, honest int) {
	reader, victim := c.token(t, "reader", "read"), c.token(t, "laptop", "trusted")
	good, bad := hashes("good", honest), hashes("bad", stolen)
	seed(t, c.backend, c.records, c.keyFile, good)
	c.closed(t)
	eventually(t, c.servers, victim, http.StatusNotFound, "nothing") // the token is known
	upload(t, c.servers, victim, bad)
	awaitKnown(t, c.records, victim, stolen)
	want(t, c.servers, reader, http.StatusOK, bad) // and are in each tier, if there is one
	want(t, c.servers, reader, http.StatusOK, good[:100])

	token := "TOKEN=" + victim.ID
	wantText(t, c.desk.run(t, "find", token), `(?m)^These would go: 1000 entries of \d+ bytes\. Nothing is changed yet`, `(?m)^  token laptop \(`+victim.ID+`\) +1000 `, `(?m)^  default trusted +1000 `)
	c.desk.run(t, "revoke", token)
	eventually(t, c.servers, victim, http.StatusUnauthorized, "nothing")

	purge := purgeID(t, c.desk.run(t, "purge", token))
	eventually(t, c.servers, reader, http.StatusNotFound, bad[0])
	want(t, c.servers, reader, http.StatusNotFound, bad)
	want(t, c.servers, reader, http.StatusOK, good)
	wantText(t, c.desk.run(t, "prove", token), `(?m)^`+purge+` .* quarantined +1000 `, `(?m)^\[\]$`, `(?m)^Nothing in the store fits\.$`)

	// Builds make some of it anew, and it turns out that the laptop was under the sofa.
	ci := c.token(t, "ci", "trusted")
	eventually(t, c.servers, ci, http.StatusNotFound, "nothing")
	upload(t, c.servers, ci, bad[:10])
	wantText(t, c.desk.run(t, "undo", "PURGE="+purge), fmt.Sprintf(`(?m)^Purge %s is undone: 990 entries are back\.$`, purge), `(?m)^10 are not, because their keys were written anew`)
	eventually(t, c.servers, reader, http.StatusOK, bad[stolen-1])
	want(t, c.servers, reader, http.StatusOK, bad)

	// It was not under the sofa.
	again := purgeID(t, c.desk.run(t, "purge", token))
	wantText(t, c.desk.run(t, "discard", "PURGE="+again), fmt.Sprintf(`(?m)^Purge %s is discarded: 990 entries are deleted for good\.`, again))
	eventually(t, c.servers, reader, http.StatusNotFound, bad[stolen-1])
	want(t, c.servers, reader, http.StatusNotFound, bad[10:])
	want(t, c.servers, reader, http.StatusOK, append(bad[:10:10], good[:100]...))
	wantText(t, c.desk.run(t, "prove", token), `(?m)^`+again+` .* discarded +990 `, `(?m)^\[\]$`, `(?m)^Nothing in the store fits\.$`)
	c.desk.allUsed(t)
	for _, s := range c.servers {
		s.Stop(t)
		if strings.Contains(s.Log(), `"level":"ERROR"`) {
			t.Errorf("%s has logged an error", s.URL)
		}
	}
}

func purgeID(t *testing.T, out string) string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^Purge ([0-9a-f]{12}): \d+ entries \(\d+ bytes\) are in quarantine until `).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("no purge: %s", out)
	}
	return m[1]
}

func wantText(t *testing.T, out string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(p).MatchString(out) {
			t.Errorf("this does not say %s:\n%.4000s", p, out)
		}
	}
}
