//go:build faults

package faults_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"
)

// kept is where results are kept between runs, so that cells that were red can be done again alone, with -cells.
const kept = "../../.cache/faults.json"

// row is a result as it is kept.
type row struct {
	Shelf, Cell              string
	Builds, Red, Hung, Wrong int
	Untold                   string
	Seconds                  float64
	Answers                  map[string]int
	Finished                 time.Time
}

// keep writes all results.
func keep(t *testing.T, results []result) {
	var rows []row
	for _, r := range results {
		rows = append(rows, row{string(r.shelf), r.name(), r.builds, r.red, r.hung, r.wrong, r.untold, r.took.Seconds(), r.answers, r.finished})
	}
	text, err := json.MarshalIndent(rows, "", "\t")
	if err == nil {
		err = os.MkdirAll("../../.cache", 0o755)
	}
	if err == nil {
		err = os.WriteFile(kept, text, 0o644)
	}
	if err != nil {
		t.Errorf("the results are not kept: %v", err)
	}
}

// merged are the results of a former run with some that are newer. Cells that exist no more are left out.
func merged(t *testing.T, newer []result) []result {
	text, err := os.ReadFile(kept)
	if err != nil {
		return newer
	}
	var rows []row
	if err := json.Unmarshal(text, &rows); err != nil {
		t.Fatalf("%s: %v; remove it", kept, err)
	}
	before := make(map[string]row)
	for _, r := range rows {
		before[r.Shelf+"/"+r.Cell] = r
	}
	now := make(map[string]result)
	for _, r := range newer {
		now[string(r.shelf)+"/"+r.name()] = r
	}
	var all []result
	for _, s := range shelves {
		for _, c := range matrix(s) {
			name := string(s) + "/" + c.name()
			if r, ok := now[name]; ok {
				all = append(all, r)
			} else if r, ok := before[name]; ok {
				all = append(all, result{
					cell: c, shelf: s, builds: r.Builds, red: r.Red, hung: r.Hung, wrong: r.Wrong, untold: r.Untold,
					took: time.Duration(r.Seconds * float64(time.Second)), answers: r.Answers, finished: r.Finished,
				})
			}
		}
	}
	return all
}
