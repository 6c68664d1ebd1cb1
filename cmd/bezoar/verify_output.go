package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// maxFound bounds the damaged entries of the JSON, which is held in memory.
const maxFound = 1000

// verifyReport counts what was found, and tells it.
type verifyReport struct {
	env              *environment
	asJSON, setAside bool

	Entries int64         `json:"entries"`
	Bytes   int64         `json:"bytes"`
	Damaged int64         `json:"damaged"`
	Errors  int64         `json:"errors"`
	Found   []foundDamage `json:"found"`
}

type foundDamage struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     string          `json:"scope"`
	Hash      cache.Hash      `json:"hash"`
	Path      string          `json:"path"`
	Reason    string          `json:"reason"`
	SetAside  bool            `json:"set_aside"`
}

func (r *verifyReport) whole(size int64) {
	r.Entries++
	r.Bytes += size
}

// damaged takes note of an entry. Stuck is why it could not be set aside.
func (r *verifyReport) damaged(key cache.Key, place string, why, stuck error) {
	r.Damaged++
	aside := r.setAside && stuck == nil
	if len(r.Found) < maxFound {
		r.Found = append(r.Found, foundDamage{key.Workspace, string(key.Scope), key.Hash, place, why.Error(), aside})
	}
	if stuck != nil {
		r.failed(fmt.Errorf("set %s aside: %w", place, stuck))
	}
	if r.asJSON {
		return
	}
	what := "DAMAGED "
	if aside {
		what = "SET ASIDE"
	}
	name := ""
	if key != (cache.Key{}) {
		name = key.String() + " in "
	}
	fmt.Fprintf(r.env.Stdout, "%s %s: %s\n", what, harmless(name+place, ""), harmless(why.Error(), ""))
}

// failed takes note of what could not be read.
func (r *verifyReport) failed(err error) {
	if r.Errors++; r.Errors <= maxReported {
		fmt.Fprintf(r.env.Stderr, "bezoar: %s\n", harmless(err.Error(), ""))
	}
}

// end prints the counts. Its error ends the command with its status.
func (r *verifyReport) end() error {
	if r.Errors > maxReported {
		fmt.Fprintf(r.env.Stderr, "bezoar: and %d more\n", r.Errors-maxReported)
	}
	if err := r.print(); err != nil {
		return err
	}
	if r.Damaged+r.Errors > 0 {
		return &statusError{status: exitFailure}
	}
	return nil
}

func (r *verifyReport) print() error {
	if r.asJSON {
		if r.Found == nil {
			r.Found = []foundDamage{}
		}
		return writeHarmlessJSON(r.env.Stdout, r)
	}
	table := tabwriter.NewWriter(r.env.Stdout, 0, 0, 2, ' ', 0)
	for _, line := range []struct {
		what  string
		count int64
	}{{"Entries that are whole", r.Entries}, {"  bytes", r.Bytes}, {"Damaged", r.Damaged}, {"Could not be read", r.Errors}} {
		fmt.Fprintf(table, "%s\t%d\n", line.what, line.count)
	}
	return table.Flush()
}
