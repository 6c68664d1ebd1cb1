//go:build bench

package peers_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// page is benchmarks.md.
func (r *report) page() string {
	var b strings.Builder
	form := ""
	if r.Short {
		form = " **This is the short form, for a look: too few and too short turns to be quoted.**"
	}
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+` on %s, on %s, in %v.%s

## How to read it

All servers get the same load on one machine, in turns (A B C, B C A, …): %d rounds, %v a turn. A figure is the median of the rounds, with the least and the most behind it. "Of
nginx's" is the ratio to nginx in the same round: for requests more is better, for CPU time less. The load shares the cores with the server, so requests
per second of small artifacts tell of both; the CPU time is the server's alone, with its children, as the kernel counts it.
p99 is the time within which 99 of 100 requests were answered, on connections that ask without a pause.

`, r.Date.Format("2 January 2006"), r.Machine, r.Took.Round(1e9), form, r.Rounds, r.Each)
	b.WriteString("| server | |\n|---|---|\n")
	for _, k := range r.Servers {
		fmt.Fprintf(&b, "| %s | %s |\n", k.name, k.note)
	}
	fmt.Fprintf(&b, `
The bare loop is no server: one loop for each core inflates the artifact and writes it to a file. No server that checks uploads can do with less.

Artifacts are gzip'd tars of text that compresses about as code does. Downloads and the mix are sent by wrk, uploads by a sender that writes from memory
(wrk's scripts would copy each body), each under a name of its own.

What the servers do is not alike: only bezoar keeps scopes apart, keeps records of who made what, and unpacks what it is given before it keeps it.

To run it, on Debian as root (or with what `+"`.ci/bench`"+` installs): `+"`make bench`"+` writes this page; `+"`make bench SHORT=1`"+` writes one to `+"`dist/`"+` in three minutes. `+"`BAZEL_REMOTE=path`"+`
adds a bazel-remote, `+"`ARGS='-dir /var/tmp'`"+` keeps the files on a disk. Every turn is in [figures.json](benchmarks/figures.json).

`)
	r.behind(&b)
	for _, table := range tables {
		r.table(&b, table)
	}
	r.memory(&b)
	r.start(&b)
	r.nx(&b)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// behind lists where bezoar is slower or dearer than nginx by more than the noise.
func (r *report) behind(b *strings.Builder) {
	var rows []string
	for _, c := range r.Cells {
		rate, cost := c.ratio("bezoar", yardstick, perSecond), c.ratio("bezoar", yardstick, cpuOf)
		slower, dearer := rate.mid < 0.9 && rate.most < 1, cost.mid > 1.1 && cost.least > 1
		if slower || dearer {
			rows = append(rows, fmt.Sprintf("| %s | %v | %v |\n", c.Cell.name(), rate, cost))
		}
	}
	if len(r.Cells) == 0 {
		return
	}
	fmt.Fprintf(b, "## Where bezoar is behind nginx\n\n%d of %d loads: fewer than 0.9 of its requests, or more than 1.1 of its CPU time, in all rounds.\n\n", len(rows), len(r.Cells))
	if len(rows) > 0 {
		b.WriteString("| load | requests, of nginx's | CPU, of nginx's |\n|---|---|---|\n" + strings.Join(rows, "") + "\n")
	}
}

// table has the cells of one kind.
func (r *report) table(b *strings.Builder, table string) {
	var rows, notes strings.Builder
	for _, c := range r.Cells {
		if c.Cell.Table != table {
			continue
		}
		label := c.Cell.label(table)
		for _, name := range c.names() {
			readings := c.Readings[name]
			cpu := spreadOf(column(readings, cpuOf)).mid
			perGB := "–"
			if c.Cell.Size > 0 && c.Cell.Load != misses {
				perGB = short(cpu * 1e9 / float64(len(bodies(c.Cell.Size)[0])))
			}
			rate, cost := "1", "1"
			if name != yardstick {
				rate, cost = c.ratio(name, yardstick, perSecond).String(), c.ratio(name, yardstick, cpuOf).String()
			}
			fmt.Fprintf(&rows, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", label, name, short(spreadOf(column(readings, perSecond)).mid), rate,
				short(1000*cpu), perGB, cost, short(1000*spreadOf(column(readings, func(r reading) float64 { return r.P99 })).mid))
			label = ""
		}
		if c.Cell.Load == uploads {
			for _, name := range c.names() {
				if part := slices.Max(column(c.Readings[name], func(r reading) float64 { return r.Failed })); part > 0 {
					fmt.Fprintf(&notes, "%s: %s refused up to %.1f%% of them in a turn; only what was stored counts.\n\n", c.Cell.name(), name, 100*part)
				}
			}
		}
		if c.Cell.Bare {
			fmt.Fprintf(&notes, "%s: bezoar beside the bare loop, requests %v, CPU %v.\n\n", c.Cell.name(), c.ratio("bezoar", bareName, perSecond), c.ratio("bezoar", bareName, cpuOf))
		}
		notes.WriteString(c.besides())
	}
	if rows.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "## %s\n\n%s", table, about[table])
	if picture := pictureOf[table]; picture != "" {
		fmt.Fprintf(b, "![%s beside nginx](benchmarks/%s-rate.svg)\n\n![CPU time of %s beside nginx](benchmarks/%s-cpu.svg)\n\n", table, picture, strings.ToLower(table), picture)
	}
	b.WriteString("| | server | requests/s | of nginx's | CPU s by 1000 | CPU s by GB | CPU of nginx's | p99 ms |\n|---|---|---|---|---|---|---|---|\n")
	b.WriteString(rows.String() + "\n" + notes.String())
}

// label leaves out what the heading says.
func (c cell) label(table string) string {
	switch table {
	case tableHits, tableUploads:
		return c.Size.String()
	case tableMisses, tableMix:
		return c.atOnce()
	default:
		return c.name()
	}
}

var about = map[string]string{
	tableHits:    "64 connections that are kept, 4 for 64 MB; a static token.\n\n",
	tableMisses:  "A GET of what nobody has, of which a build has many.\n\n",
	tableUploads: "64 connections that are kept, 4 for 64 MB. bezoar unpacks and digests each, nginx and the others write bytes.\n\n",
	tableMix:     "Of 100 requests 81 get artifacts of up to 12 KB, 9 larger ones up to 1 MB, 5 what nobody has, and 5 store something small.\n\n",
	tableTLS:     "Each server does TLS by itself, with a key on P-256; wrk does not resume sessions.\n\n",
	tableWho:     "The same entries asked for with a session of main's job, and with a pull request's, which looks in its own scope before it falls through to main's. nginx asks nobody.\n\n",
}

func (r *report) memory(b *strings.Builder) {
	if len(r.Memory) == 0 {
		return
	}
	b.WriteString("## Memory\n\nThe server's largest resident set so far (`VmHWM`), of all its processes, in 10^6 bytes; the page cache is not in it. First all upload, then all download, then half of them each. Artifacts do not compress. bezoar has `max-uploads` and `max-downloads` raised to 1024: with the usual ones it refuses some uploads, which builds go on from.\n\n" +
		"| | server | idle | uploads | downloads | both | failed |\n|---|---|---|---|---|---|---|\n")
	for _, m := range r.Memory {
		fmt.Fprintf(b, "| %d at once of %v | %s | %.0f | %.0f | %.0f | %.0f | %d of %d |\n", m.Connections, m.Size, m.Name, m.Idle, m.In, m.Out, m.Both, m.Failed, 3*m.Connections)
	}
	b.WriteString("\n")
	if len(r.PeakAfterLoad) > 0 {
		b.WriteString("After all downloads and mixes above: ")
		var parts []string
		for name, peak := range r.PeakAfterLoad {
			parts = append(parts, fmt.Sprintf("%s %.0f", name, peak))
		}
		slices.Sort(parts)
		b.WriteString(strings.Join(parts, ", ") + ".\n\n")
	}
}

func (r *report) start(b *strings.Builder) {
	if s := r.Start; s != nil {
		fmt.Fprintf(b, "## Start\n\nFrom the start of the process to its first answer, a download, with %d entries in the ledger and as many files in the store, beside an empty one, in turns.\n\n"+
			"| | ms |\n|---|---|\n| %[1]d entries | %v |\n| none | %v |\n| ratio | %v |\n\n", s.Entries, spreadOf(s.Full), spreadOf(s.Empty), spreadOf(ratios(s.Full, s.Empty)))
	}
}

func (r *report) nx(b *strings.Builder) {
	if len(r.Nx) == 0 {
		return
	}
	first := r.Nx[0]
	fmt.Fprintf(b, "## What a build feels\n\nNx %s runs %d cacheable tasks, all of which are in the cache, with nothing in its own cache: the time of the whole command, in seconds. \"Local\" is the same with the cache of "+
		"the machine alone. The way is the time there and back that a proxy adds to each connection, once for the handshake too; slow start, loss and a bound of the line are not simulated.\n\n"+
		"![Time of a build](benchmarks/nx.svg)\n\n| way | cache | s | of local's | of nginx's |\n|---|---|---|---|---|\n", first.Nx, first.Tasks)
	for _, n := range r.Nx {
		fmt.Fprintf(b, "| %v | %s | %v | %v | %v |\n", n.Way, n.Cache, spreadOf(n.Seconds), spreadOf(ratios(n.Seconds, r.nxOf(0, "local"))), cmp.Or(strings.Replace(spreadOf(ratios(n.Seconds, r.nxOf(n.Way, yardstick))).String(), "– (–––)", "–", 1), "–"))
	}
	b.WriteString("\n")
}

func ratios(values, by []float64) (all []float64) {
	for i := range min(len(values), len(by)) {
		all = append(all, values[i]/by[i])
	}
	return all
}
