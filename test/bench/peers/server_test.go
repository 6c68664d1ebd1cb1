//go:build bench

package peers_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the time until a server takes connections, stopTimeout that until it has ended.
const (
	startTimeout = 30 * time.Second
	stopTimeout  = 40 * time.Second
)

// keys says how a server names the n-th entry: what begins the path, how many digits the number has at least, and what ends it.
type keys struct {
	prefix string
	digits int
	suffix string
}

func (k keys) path(n uint64) string { return fmt.Sprintf("%s%0*d%s", k.prefix, k.digits, n, k.suffix) }

// nxKeys are those of all that speak the API of Nx, and of whatever keeps files under the same paths.
var nxKeys = keys{prefix: "/v1/cache/", digits: 20}

// server is one that a load is put on.
type server struct {
	name string
	addr string
	tls  bool
	keys keys
	// token is what requests carry; empty: they carry none.
	token string
	// others are further tokens of bezoar, by who has them.
	others map[string]string
	pid    int
	// log is the file that the server writes to, shortened between turns.
	log  string
	stop func()
	// again starts the server once more over the same files, after it was stopped. Only bezoar has it.
	again func(tb testing.TB) *server
}

func (s *server) url() string {
	if s.tls {
		return "https://" + s.addr
	}
	return "http://" + s.addr
}

// as is the same server, asked by somebody else.
func (s *server) as(who string) *server {
	other := *s
	other.token = cmp.Or(s.others[who], s.token)
	return &other
}

// launch starts a server that listens on addr, and waits until it does. What it says goes to a file: a terminal or a reader would be a part of the load.
func launch(tb testing.TB, name, addr, dir string, cmd *exec.Cmd) *server {
	tb.Helper()
	s := &server{name: name, addr: addr, keys: nxKeys, log: filepath.Join(dir, "server.log")}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // a child dies with the thread that started it
		defer runtime.UnlockOSThread()
		defer close(exited)
		defer log.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it ends by a signal; its log tells if it ended otherwise
		}
	}()
	if err := <-started; err != nil {
		tb.Fatalf("%s cannot be started; .ci/bench installs what is of Debian: %v", name, err)
	}
	s.pid = cmd.Process.Pid
	s.stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			<-exited
		}
	}
	tb.Cleanup(s.stop)
	deadline := time.After(startTimeout)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			conn.Close()
			return s
		}
		select {
		case <-exited:
			tb.Fatalf("%s ended at once:\n%s", name, tail(s.log, 4000))
		case <-deadline:
			tb.Fatalf("%s does not listen after %v: %v\n%s", name, startTimeout, err, tail(s.log, 4000))
		case <-time.After(time.Millisecond):
		}
	}
}

// forget shortens the log, which would else fill the memory.
func (s *server) forget() { _ = os.Truncate(s.log, 0) }

// tail is the end of a file.
func tail(path string, n int) string {
	text, _ := os.ReadFile(path)
	return string(text[max(0, len(text)-n):])
}

// freeAddr is an address of 127.0.0.1 that nobody listens on right now.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// client is for what is not measured.
var client = &http.Client{
	Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}, // of this process's own servers
	Timeout:   5 * time.Minute,
}

// do sends a request and returns the status and the body of the answer.
func (s *server) do(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url()+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// fill stores a body as the n-th entry, and looks whether it comes back.
func (s *server) fill(tb testing.TB, n uint64, body []byte) {
	tb.Helper()
	if status, answer, err := s.do(tb.Context(), http.MethodPut, s.keys.path(n), body); err != nil || status/100 != 2 {
		tb.Fatalf("%s: PUT %s: %d %.200s %v\n%s", s.name, s.keys.path(n), status, answer, err, tail(s.log, 4000))
	}
	if status, answer, err := s.do(tb.Context(), http.MethodGet, s.keys.path(n), nil); err != nil || status != http.StatusOK || !bytes.Equal(answer, body) {
		tb.Fatalf("%s: GET %s: %d, %d bytes in place of %d, %v\n%s", s.name, s.keys.path(n), status, len(answer), len(body), err, tail(s.log, 4000))
	}
}

// pair are the files of a certificate for 127.0.0.1 and its key, on the curve P-256.
type pair struct{ cert, key string }

func newPair(tb testing.TB) pair {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		tb.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	p := pair{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: cert}, p.key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return p
}

// newDir is a directory for a server, in memory where the system has that, which everybody may read: nginx serves as another user.
func newDir(tb testing.TB) string {
	tb.Helper()
	parent := cmp.Or(options.dir, "/dev/shm")
	dir, err := os.MkdirTemp(parent, "bezoar-bench-*")
	if err != nil {
		tb.Fatalf("servers need a directory for their files, see -dir: %v", err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// lastRefusal is the last line of the log that tells a cause, or else the end of it.
func (s *server) lastRefusal() string {
	text, _ := os.ReadFile(s.log)
	lines := bytes.Split(text, []byte("\n"))
	for _, line := range slices.Backward(lines) {
		if bytes.Contains(line, []byte(`"cause"`)) {
			return string(line)
		}
	}
	return tail(s.log, 600)
}
