//go:build bench

package peers_test

import (
	"database/sql"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// startResult has the times from the start of the process to the first answer, in milliseconds, by round.
type startResult struct {
	Entries int       `json:"entries"`
	Full    []float64 `json:"full_ms"`
	Empty   []float64 `json:"empty_ms"`
}

// seedEntries are stored by a server; the others are copies of them under other names, in the store and in the ledger. To store each would take an hour.
const seedEntries = 200

// measureStart starts bezoar over many entries and over none, in turns.
func measureStart(t *testing.T, r *report) {
	full, empty := newDir(t), newDir(t)
	k := r.Servers[0]
	began := time.Now()
	s := k.start(t, full, nil)
	for i := range seedEntries {
		s.fill(t, uint64(1_000_000+i), bodies(b300)[i%b300.pool()])
	}
	s.stop()
	multiply(t, filepath.Join(full, "data"), options.entries)
	t.Logf("made %d entries in %v", options.entries, time.Since(began).Round(time.Second))
	none := k.start(t, empty, nil)
	none.stop() // what is made once is there
	result := &startResult{Entries: options.entries}
	first := func(s *server) float64 {
		began := time.Now()
		s = s.again(t)
		status, _, err := s.do(t.Context(), http.MethodGet, s.keys.path(1_000_000), nil)
		took := time.Since(began)
		if err != nil || status != http.StatusOK && status != http.StatusNotFound {
			t.Fatalf("the first answer: %d, %v", status, err)
		}
		s.stop()
		return took.Seconds() * 1000
	}
	for round := range 2 * options.rounds {
		if round%2 == 0 {
			result.Full, result.Empty = append(result.Full, first(s)), append(result.Empty, first(none))
		} else {
			result.Empty, result.Full = append(result.Empty, first(none)), append(result.Full, first(s))
		}
	}
	r.Start = result
	t.Logf("full %v ms, empty %v ms", spreadOf(result.Full), spreadOf(result.Empty))
}

// multiply adds copies of the entries until there are so many.
func multiply(t *testing.T, data string, entries int) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, ledger.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // of which the pragmas are
	for _, statement := range []string{
		`PRAGMA synchronous = off`, `PRAGMA cache_size = -1000000`,
		fmt.Sprintf(`
			WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
			INSERT INTO entries (scope, hash, size, sha256, content, inflated, members, opaque, created, seal, producer, used)
			SELECT scope, CAST(2000000 + 1000 * i + id AS TEXT), size, sha256, content, inflated, members, opaque, created, seal, producer, used
			FROM entries, n LIMIT %d`, entries/seedEntries+1, entries-seedEntries),
		`PRAGMA wal_checkpoint(TRUNCATE)`,
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	copyFiles(t, filepath.Join(data, "store", "entries"), entries)
}

// copyFiles links each file of the store under other names until there are so many.
func copyFiles(t *testing.T, root string, entries int) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < seedEntries {
		t.Fatalf("the store has %d files, %v", len(files), err)
	}
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for worker := range cap(errs) {
		wg.Go(func() {
			for i := worker; i < entries-seedEntries; i += cap(errs) {
				old := files[i%len(files)]
				if err := os.Link(old, filepath.Join(filepath.Dir(old), strings.TrimLeft(filepath.Base(old), "0")+strconv.Itoa(i))); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatalf("the copies are links; a file system that allows few of them for a file (ext4: 65,000) wants fewer -entries: %v", err)
	}
}
