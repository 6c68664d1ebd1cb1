package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// running is a server in this process.
type running struct {
	t      *testing.T
	addr   string
	banner string
	stderr *lockedBuffer
	cancel context.CancelFunc
	status chan int
}

// startServe runs "bezoar serve" with these arguments and waits until it serves.
func startServe(t *testing.T, args ...string) *running {
	t.Helper()
	return startServeIn(t, nil, args...)
}

// startServeIn is startServe with more in the environment.
func startServeIn(t *testing.T, environ []string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stdout, w := io.Pipe()
	s := &running{t: t, stderr: &lockedBuffer{}, cancel: cancel, status: make(chan int, 1)}
	go func() {
		status := run(ctx, append([]string{"serve"}, args...), &environment{
			Environ: append([]string{"HOME=" + t.TempDir()}, environ...), Stdin: strings.NewReader(""), Stdout: w, Stderr: s.stderr,
		})
		w.Close()
		s.status <- status
	}()
	t.Cleanup(func() { cancel(); stdout.Close() })
	var banner strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		fmt.Fprintln(&banner, lines.Text())
		if strings.Contains(lines.Text(), "_ACCESS_TOKEN=") {
			break
		}
	}
	s.banner = banner.String()
	m := regexp.MustCompile(`serves on (unix:)?([^\s,]+)`).FindStringSubmatch(s.banner)
	if m == nil {
		t.Fatalf("the server did not start: %s%s", s.banner, s.stderr)
	}
	s.addr = m[2]
	go io.Copy(io.Discard, stdout)
	return s
}

// stop ends the server as a signal does and returns its exit status.
func (s *running) stop() int {
	s.cancel()
	return <-s.status
}

func request(t *testing.T, client *http.Client, method, url string, body []byte) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, got
}

// files lists the regular files below dir.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestServeWithoutConfiguration(t *testing.T) {
	data := t.TempDir()
	body := artifacttest.Typical(1)
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	for _, want := range []string{
		"serves on 127.0.0.1:", data + "/store", data + "/ledger.db", "default", "open: everybody on this machine",
		"export NX_SELF_HOSTED_REMOTE_CACHE_SERVER=http://" + s.addr + "\n", "export NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=",
	} {
		if !strings.Contains(s.banner, want) {
			t.Errorf("the start says nothing of %q:\n%s", want, s.banner)
		}
	}
	if status, got := request(t, http.DefaultClient, "PUT", "http://"+s.addr+"/v1/cache/1", body); status != 200 {
		t.Fatalf("PUT: %d %s", status, got)
	}
	if status := s.stop(); status != 0 {
		t.Fatalf("exit status %d: %s", status, s.stderr)
	}
	s = startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	if status, got := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/v1/cache/1", nil); status != 200 || !bytes.Equal(got, body) {
		t.Fatalf("GET after a restart: %d, %d bytes", status, len(got))
	}
	if status := s.stop(); status != 0 {
		t.Fatalf("exit status %d: %s", status, s.stderr)
	}
}

func TestServeRefusesToBeOpenToOthers(t *testing.T) {
	data := t.TempDir()
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"serve", "--data", data, "--listen", address}, &environment{
			Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr,
		})
		if status != exitUsage || !strings.Contains(stderr.String(), "bezoar token create --data "+data+" ") || !strings.Contains(stderr.String(), "--listen 127.0.0.1:8099") {
			t.Errorf("%s: exit status %d: %s", address, status, &stderr)
		}
	}
	hash := "sha256:" + strings.Repeat("0", 63) + "1"
	s := startServe(t, "--data", data, "--listen", "0.0.0.0:0", "--tokens", "name=ci;access=trusted;hash="+hash)
	if !strings.Contains(s.banner, "by token") {
		t.Errorf("the start does not say that tokens are asked for:\n%s", s.banner)
	}
	_, port, _ := net.SplitHostPort(s.addr)
	if status, _ := request(t, http.DefaultClient, "PUT", "http://127.0.0.1:"+port+"/v1/cache/1", artifacttest.Typical(1)); status != 403 {
		t.Errorf("PUT without a token: %d", status)
	}
	s.stop()
	// What is left out of the configuration does not open it again.
	mark := filepath.Join(data, "had-credentials")
	var stderr bytes.Buffer
	env := &environment{Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &stderr}
	if status := run(t.Context(), []string{"serve", "--data", data, "--listen", "127.0.0.1:0"}, env); status == exitOK || !strings.Contains(stderr.String(), "remove "+mark) {
		t.Errorf("without the token: exit status %d: %s", status, &stderr)
	}
	if err := os.Remove(mark); err != nil {
		t.Fatal(err)
	}
	startServe(t, "--data", data, "--listen", "127.0.0.1:0").stop()
}

func TestServeOnAUnixSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "bz") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	// What a killed server leaves behind is taken over.
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()

	s := startServe(t, "--data", t.TempDir(), "--listen", "unix:"+path)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	if status, _ := request(t, client, "GET", "http://any.name/v1/cache/1", nil); status != 404 {
		t.Errorf("GET: %d", status)
	}
	if status, _ := request(t, client, "PUT", "http://any.name/v1/cache/1", artifacttest.Typical(1)); status != 200 {
		t.Errorf("PUT: %d", status)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket: %v %v", info, err)
	}
	var stderr bytes.Buffer
	status := run(t.Context(), []string{"serve", "--data", t.TempDir(), "--listen", "unix:" + path}, &environment{Stdout: io.Discard, Stderr: &stderr})
	if status != exitFailure || !strings.Contains(stderr.String(), "another process listens on it") {
		t.Errorf("a second server on the socket: exit status %d: %s", status, &stderr)
	}
	s.stop()
}

// TestServeEndsInOrder: what runs may finish, what does not finish in time leaves nothing.
func TestServeEndsInOrder(t *testing.T) {
	body := artifacttest.Random(1<<20, 1)
	upload := func(s *running) net.Conn {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		fmt.Fprintf(conn, "PUT /v1/cache/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:len(body)/2])
		return conn
	}
	underWay := func(s *running) {
		waitFor(t, "the upload to be under way", func() bool {
			_, metrics := request(t, http.DefaultClient, "GET", "http://"+s.addr+"/metrics", nil)
			return strings.Contains(string(metrics), `bezoar_requests_in_flight{method="PUT"} 1`)
		})
	}

	data := t.TempDir()
	s := startServe(t, "--data", data, "--listen", "127.0.0.1:0")
	conn := upload(s)
	underWay(s)
	s.cancel()
	waitFor(t, "the server to close its port", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	conn.Write(body[len(body)/2:])
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("a running upload was cut off: %v %v\n%s", resp, err, s.stderr)
	}
	if status := <-s.status; status != 0 {
		t.Errorf("exit status %d: %s", status, s.stderr)
	}

	data = t.TempDir()
	s = startServe(t, "--data", data, "--listen", "127.0.0.1:0", "--shutdown-timeout", "50ms")
	upload(s)
	underWay(s)
	if status := s.stop(); status != 0 {
		t.Errorf("exit status %d: %s", status, s.stderr)
	}
	for _, name := range files(t, filepath.Join(data, "store")) {
		if base := filepath.Base(name); base != "FORMAT" && base != "MARK-SEALED-BY" {
			t.Errorf("left behind: %s", name)
		}
	}
}

func TestServeTakesUpANewCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writeCertificate(t, cert, key, 1)
	s := startServe(t, "--data", t.TempDir(), "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	if !strings.Contains(s.banner, "=https://"+s.addr) {
		t.Errorf("the start does not say https:\n%s", s.banner)
	}
	serial := func() int64 {
		conn, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("certificate %d", got)
	}
	os.WriteFile(key, []byte("half a key"), 0o600)
	waitFor(t, "the broken key to be noticed", func() bool { serial(); return strings.Contains(s.stderr.String(), "the one before stays in use") })
	if got := serial(); got != 1 {
		t.Errorf("certificate %d with a broken key beside it", got)
	}
	writeCertificate(t, cert, key, 2)
	waitFor(t, "the new certificate", func() bool { return serial() == 2 })
	s.stop()
}

// TestSocketsOutliveTheServer starts real processes: with sockets held by somebody else, a restart refuses no connection.
func TestSocketsOutliveTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	data, url := t.TempDir(), "http://"+l.Addr().String()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func() *exec.Cmd {
		// systemd names the process that the sockets are for, which nobody knows before it is there.
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, filepath.Join(linkTo(t, self), "bezoar"), "serve", "--listen", "systemd", "--data", data)
		cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "BEZOAR_") }), "LISTEN_FDS=1")
		cmd.ExtraFiles = []*os.File{socket}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill() })
		return cmd
	}
	body := artifacttest.Typical(1)
	first := start()
	if status, got := request(t, http.DefaultClient, "PUT", url+"/v1/cache/1", body); status != 200 {
		t.Fatalf("PUT: %d %s", status, got)
	}
	first.Process.Signal(syscall.SIGTERM)
	if err := first.Wait(); err != nil {
		t.Fatalf("the first server: %v", err)
	}
	// Nobody serves now, and yet a request only waits.
	var wg sync.WaitGroup
	wg.Go(func() {
		if status, got := request(t, http.DefaultClient, "GET", url+"/v1/cache/1", nil); status != 200 || !bytes.Equal(got, body) {
			t.Errorf("GET across the restart: %d, %d bytes", status, len(got))
		}
	})
	second := start()
	wg.Wait()
	second.Process.Signal(syscall.SIGTERM)
	if err := second.Wait(); err != nil {
		t.Fatalf("the second server: %v", err)
	}
}

// linkTo makes a directory in which the test's own binary is called bezoar; TestMain makes it behave so.
func linkTo(t *testing.T, self string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "bezoar")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "bezoar"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor polls until something happens, within a bound that only a broken server reaches.
func waitFor(t *testing.T, what string, happened func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !happened() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}
func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }
