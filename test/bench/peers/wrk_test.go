//go:build bench

package peers_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reading is what one turn of one server came to.
type reading struct {
	// PerSecond are requests; of large artifacts, parts of one count too.
	PerSecond float64 `json:"per_second"`
	// CPU is the server's processor time for each request, in seconds.
	CPU float64 `json:"cpu"`
	// P99 is in seconds; 0 where it was not taken.
	P99 float64 `json:"p99,omitempty"`
	// Failed is the part of requests that were not answered with 2xx.
	Failed float64 `json:"failed,omitempty"`
}

// step is one of the requests that wrk sends in turn: a GET of an entry, or a PUT of a body, in a file, under a name that is new each time.
type step struct {
	get  uint64
	file string
}

// plan is a load for wrk.
type plan struct {
	steps       []step
	connections int
	close       bool // a new connection for each request
	// size is that of all entries, if there is one.
	size size
	// first is the number of the first entry that is stored.
	first uint64
}

// script has wrk send the steps, again and again, and print what came of it. Requests that do not change are formatted once.
func (p plan) script(s *server) string {
	var b strings.Builder
	fmt.Fprintf(&b, "local steps, files, next, number = {}, {}, 0, %d\n", p.first)
	b.WriteString("local function read(path) local f = assert(io.open(path, 'rb')); local text = f:read('*a'); f:close(); return text end\n")
	b.WriteString("function init()\n")
	if s.token != "" {
		fmt.Fprintf(&b, "\twrk.headers['Authorization'] = %q\n", "Bearer "+s.token)
	}
	if p.close {
		b.WriteString("\twrk.headers['Connection'] = 'close'\n")
	}
	for _, step := range p.steps {
		if step.file == "" {
			fmt.Fprintf(&b, "\tsteps[#steps + 1] = wrk.format('GET', %q)\n", s.keys.path(step.get))
		} else {
			fmt.Fprintf(&b, "\tsteps[#steps + 1] = 0; files[#steps] = read(%q)\n", step.file)
		}
	}
	b.WriteString("end\nfunction request()\n\tnext = next % #steps + 1\n\tif steps[next] ~= 0 then return steps[next] end\n\tnumber = number + 1\n")
	fmt.Fprintf(&b, "\treturn wrk.format('PUT', string.format('%s%%0%dd%s', number), {['Authorization'] = wrk.headers['Authorization'], ['Content-Type'] = 'application/octet-stream'}, files[next])\nend\n",
		strings.ReplaceAll(s.keys.prefix, "%", "%%"), s.keys.digits, strings.ReplaceAll(s.keys.suffix, "%", "%%"))
	b.WriteString(`function done(summary, latency)
	local e = summary.errors
	io.write(string.format('\n@ %d %d %d %d %d %d\n', summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout, latency:percentile(99)))
end
`)
	return b.String()
}

// wrk puts the load of a plan on a server for a turn, or for a longer one if a busy machine has let nothing come of it.
func (s *server) wrk(tb testing.TB, p plan, long time.Duration) reading {
	tb.Helper()
	for try := range 3 {
		if r, ok := s.tryWrk(tb, p, long<<try); ok {
			return r
		}
	}
	tb.Fatalf("%s: no answer came in %v\n%s", s.name, long<<2, tail(s.log, 4000))
	return reading{}
}

func (s *server) tryWrk(tb testing.TB, p plan, long time.Duration) (r reading, ok bool) {
	tb.Helper()
	script := filepath.Join(tb.TempDir(), "load.lua")
	if err := os.WriteFile(script, []byte(p.script(s)), 0o600); err != nil {
		tb.Fatal(err)
	}
	// wrk knows whole seconds. It ends at an interrupt and tells what it has.
	cmd := exec.CommandContext(tb.Context(), "wrk", "-t1", "-c"+strconv.Itoa(p.connections), "-d60s", "--timeout", "30s", "-s", script, s.url())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	before := s.cpu(tb)
	if err := cmd.Start(); err != nil {
		tb.Fatalf("wrk is Debian's; .ci/bench installs it: %v", err)
	}
	<-time.After(long)
	_ = cmd.Process.Signal(os.Interrupt)
	err := cmd.Wait()
	used := s.cpu(tb) - before
	s.forget()
	_, result, _ := strings.Cut(out.String(), "\n@ ")
	var numbers [6]float64
	for i, field := range strings.Fields(result) {
		if i < len(numbers) {
			numbers[i], _ = strconv.ParseFloat(field, 64)
		}
	}
	requests, micros, received, status, broken, p99 := numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]
	if err != nil || micros == 0 {
		tb.Fatalf("wrk on %s: %v\n%s", s.name, err, out.String())
	}
	if p.size.large() {
		requests = received / float64(len(bodies(p.size)[0]))
		p99 = 0
	}
	if requests == 0 {
		return reading{}, false
	}
	return reading{PerSecond: requests / micros * 1e6, CPU: used / requests, P99: p99 / 1e6, Failed: (status + broken) / max(requests, 1)}, true
}
