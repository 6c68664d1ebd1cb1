//go:build bench

package bench_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// served is a server that a load is put on.
type served struct {
	url  string
	pids []int
}

// plainFiles starts nginx over a directory, with sendfile and no log: a server that asks nobody who he is.
func plainFiles(b *testing.B, root string) served {
	b.Helper()
	dir := b.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	conf := filepath.Join(dir, "nginx.conf")
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	text := fmt.Sprintf(`daemon off; worker_processes auto; pid %s/pid; error_log %s/error.log;
events { worker_connections 4096; }
http {
	access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; default_type application/octet-stream;
	%s
	server { listen %s; root %s; }
}
`, dir, dir, temp, addr, root)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "nginx", "-e", filepath.Join(dir, "early.log"), "-c", conf)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		b.Fatalf("nginx and wrk are those of Debian (apt-get install nginx-light wrk): %v", err)
	}
	b.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
		<-time.After(10 * time.Millisecond)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	s := served{url: "http://" + addr}
	for child := range strings.FieldsSeq(string(children)) {
		pid, err := strconv.Atoi(child)
		if err != nil {
			b.Fatal(err)
		}
		s.pids = append(s.pids, pid)
	}
	return s
}

var (
	requests = regexp.MustCompile(`(\d+) requests in `)
	rate     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
)

// wrk asks for a path over and over, and returns requests per second and the server's µs of CPU for each.
func (s served) wrk(b *testing.B, path, token string, connections int) (perSecond, micros float64) {
	b.Helper()
	used := func() (sum float64) {
		for _, pid := range s.pids {
			sum += cpuOf(b, pid)
		}
		return sum
	}
	before := used()
	out, err := exec.CommandContext(b.Context(), "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d2s", "-H", "Authorization: Bearer "+token, s.url+path).CombinedOutput()
	if err != nil {
		b.Fatalf("wrk: %v\n%s", err, out)
	}
	n, all := requests.FindSubmatch(out), rate.FindSubmatch(out)
	if n == nil || all == nil || bytes.Contains(out, []byte("Socket errors")) {
		b.Fatalf("%s", out)
	}
	count, _ := strconv.ParseFloat(string(n[1]), 64)
	perSecond, _ = strconv.ParseFloat(string(all[1]), 64)
	return perSecond, (used() - before) * 1e6 / count
}

// BenchmarkBesideNginx puts the same load on a server as it is shipped, with a token, and on nginx with the same bytes in plain files. Ratios are of the
// same round: requests per second, and CPU for each (less is better).
func BenchmarkBesideNginx(b *testing.B) {
	root := memoryDir(b)
	if err := os.MkdirAll(filepath.Join(root, "v1", "cache"), 0o755); err != nil { // nginx runs as somebody else
		b.Fatal(err)
	}
	for dir := root; dir != "/dev/shm" && dir != "/"; dir = filepath.Dir(dir) {
		_ = os.Chmod(dir, 0o755)
	}
	binary := bezoar.Build(b)
	data := memoryDir(b)
	token := binary.CreateToken(b, data, "ci", "trusted").Secret
	s := binary.Serve(b, data)
	ours, files := served{s.URL, []int{s.PID()}}, plainFiles(b, root)
	for _, c := range []struct {
		name string
		body []byte
	}{
		{"300B", artifacttest.Nx()},
		{"1KB", artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(600, 1))))},
		{"12KB", artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(11_600, 1))))},
		{"64KB", artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(64_000, 1))))},
		{"1MB", artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(1_000_000, 1))))},
		{"miss", nil},
	} {
		path := "/v1/cache/" + strings.ToLower(c.name)
		if c.body != nil {
			if err := os.WriteFile(filepath.Join(root, path), c.body, 0o644); err != nil {
				b.Fatal(err)
			}
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPut, s.URL+path, bytes.NewReader(c.body))
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			resp, err := client.Do(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp, err)
			}
			resp.Body.Close()
		}
		for _, connections := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/%d", c.name, connections), func(b *testing.B) {
				var rates, costs, own []float64
				for range 5 * b.N {
					r, c := ours.wrk(b, path, token, connections)
					otherRate, otherCost := files.wrk(b, path, token, connections)
					rates, costs, own = append(rates, r/otherRate), append(costs, c/otherCost), append(own, c)
				}
				for name, values := range map[string][]float64{"rate": rates, "cpu": costs, "µs": own} {
					slices.Sort(values)
					b.ReportMetric(values[len(values)/2], name)
					if name != "µs" {
						b.ReportMetric(values[0], name+"-min")
						b.ReportMetric(values[len(values)-1], name+"-max")
					}
				}
			})
		}
	}
}
