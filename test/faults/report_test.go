//go:build faults

package faults_test

import (
	_ "embed"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/test/nx"
)

//go:embed page.md
var around string

// counts is what results come to.
type counts struct{ cells, builds, felt, red, hung, wrong, untold int }

func count(results []result) (c counts) {
	for _, r := range results {
		c.cells++
		c.builds += r.builds
		if r.felt() {
			c.felt++
		}
		c.red += r.red
		c.hung += r.hung
		c.wrong += r.wrong
		if r.untold != "" {
			c.untold++
		}
	}
	return c
}

// felt reports whether a request under fault was an error in the server's log, told to Nx as a miss or a refusal. Without, the server was not in need of what
// broke, had another way, or was itself away or busy.
func (r result) felt() bool {
	for what := range r.answers {
		if strings.Contains(what, " error") {
			return true
		}
	}
	return false
}

func (r result) helplessly() string { return r.helpless[r.moment] }

// split tells the cells in which no server can help from the others.
func split(results []result) (cells, helpless []result) {
	for _, r := range results {
		if r.helplessly() != "" {
			helpless = append(helpless, r)
		} else {
			cells = append(cells, r)
		}
	}
	return cells, helpless
}

func on(results []result, shelf shelf) []result {
	return slices.DeleteFunc(slices.Clone(results), func(r result) bool { return r.shelf != shelf })
}

var shelves = []shelf{onDisk, s3WithTier, s3}

// summary is the table of sums. Cells that say nothing are counted only where they are shown to a developer; the page is not written with one.
func summary(results []result) string {
	cells, _ := split(results)
	var b strings.Builder
	b.WriteString("| store | cells | of them with errors that Nx was not told | builds | red | hung | wrong bytes |\n|---|---|---|---|---|---|---|\n")
	row := func(name string, c counts) {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d |\n", name, c.cells, c.felt, c.builds, c.red, c.hung, c.wrong)
	}
	for _, s := range shelves {
		row(string(s), count(on(cells, s)))
	}
	row("all", count(cells))
	return b.String()
}

// table has what became of each cell of a shelf: the release of Nx and the seconds of the build under fault.
func table(results []result) string {
	moments := slices.Concat(allMoments, []moment{fromStart})
	var causes []string
	at := make(map[string]map[moment][]string)
	for _, r := range results {
		if at[r.cause.name] == nil {
			causes = append(causes, r.cause.name)
			at[r.cause.name] = make(map[moment][]string)
		}
		at[r.cause.name][r.moment] = append(at[r.cause.name][r.moment], r.short())
	}
	var b strings.Builder
	b.WriteString("| cause |")
	for _, m := range moments {
		fmt.Fprintf(&b, " %s |", m)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(moments)) + "\n")
	for _, c := range causes {
		fmt.Fprintf(&b, "| %s |", c)
		for _, m := range moments {
			fmt.Fprintf(&b, " %s |", strings.Join(at[c][m], ", "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r result) short() string {
	major, _, _ := strings.Cut(r.release, ".")
	s := fmt.Sprintf("%s: %.0f s", major, max(1, r.took.Seconds()))
	switch {
	case r.wrong > 0:
		s += " **wrong bytes**"
	case r.hung > 0:
		s += " **hung**"
	case r.red > 0:
		s += " **red**"
	case r.untold != "":
		s += " **untold**"
	}
	return s
}

// helplessTable has the cells in which no server can help, and what became of them.
func helplessTable(results []result) string {
	var b strings.Builder
	b.WriteString("| store | cause | moment | Nx | build | why |\n|---|---|---|---|---|---|\n")
	for _, r := range results {
		became := "green"
		if r.red > 0 {
			became = "red"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.shelf, r.cause.name, r.moment, r.release, became, r.helplessly())
	}
	return b.String()
}

// span is from the end of the first cell to that of the last.
func span(results []result) time.Duration {
	byEnd := func(a, b result) int { return a.finished.Compare(b.finished) }
	return slices.MaxFunc(results, byEnd).finished.Sub(slices.MinFunc(results, byEnd).finished)
}

// page is docs/faults.md.
func page(results []result) string {
	order := make(map[shelf]int)
	for i, s := range shelves {
		order[s] = i
	}
	slices.SortStableFunc(results, func(a, b result) int { return order[a.shelf] - order[b.shelf] })
	cells, helpless := split(results)
	versions := nx.Versions()
	var details strings.Builder
	for _, s := range shelves {
		fmt.Fprintf(&details, "### %s\n\n%s\n", s, table(on(cells, s)))
	}
	return strings.NewReplacer(
		"{{date}}", time.Now().UTC().Format(time.DateOnly),
		"{{releases}}", versions[0]+" and "+versions[len(versions)-1],
		"{{machine}}", fmt.Sprintf("%d cores, %s", runtime.NumCPU(), strings.ToUpper(runtime.GOOS[:1])+runtime.GOOS[1:]),
		"{{minutes}}", fmt.Sprintf("%.0f minutes", span(results).Minutes()),
		"{{note}}", strings.TrimRight(" "+*note, " "),
		"{{summary}}", strings.TrimSpace(summary(results)),
		"{{helpless}}", strings.TrimSpace(helplessTable(helpless)),
		"{{cells}}", strings.TrimSpace(details.String()),
	).Replace(around)
}
