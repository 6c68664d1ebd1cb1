//go:build bench

package peers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// kind is a program that is measured.
type kind struct {
	name string
	// note is what the page says of it.
	note string
	// tls says that it speaks TLS by itself.
	tls bool
	// nx says that Nx can build with it.
	nx    bool
	start func(tb testing.TB, dir string, secured *pair) *server
}

const yardstick = "nginx"

// kinds are all that can be started here, bezoar and nginx first.
func kinds(t *testing.T, binary bezoar.Binary) []kind {
	t.Helper()
	all := []kind{
		{name: "bezoar", note: "as it is shipped: a policy, tokens, sealed records, a ledger, a line in the log for each request; uploads are checked", tls: true, nx: true, start: startBezoar(binary)},
		{name: yardstick, note: "plain files with `sendfile`, uploads by WebDAV; asks nobody who he is, checks nothing, logs nothing: " + output(t, "nginx", "-v"), tls: true, nx: true, start: startNginx},
		{name: "rclone", note: "`rclone serve webdav` over a directory, no users: " + output(t, "rclone", "version"), tls: true, nx: true, start: startRclone},
	}
	modules := installTurborepo(t)
	all = append(all, kind{name: "turborepo-remote-cache", note: "the cache server of Turborepo's API, one token, a directory: " + turborepoVersion(t, modules), start: startTurborepo(modules)})
	path := options.bazelRemote
	if path == "" {
		path, _ = exec.LookPath("bazel-remote")
	}
	if path != "" {
		all = append(all, kind{name: "bazel-remote", note: "its HTTP interface, `/ac/`, no compression, no users, no validation", tls: true, start: startBazelRemote(path)})
	}
	return all
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s cannot be run; .ci/bench installs it: %v", name, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first)
}

const policy = `version: 1
audience: https://nx-cache.example.com
workspaces:
  web:
    github:
      issuer: %s
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [main]}
`

// startBezoar serves with a policy. Its token is a static one that is trusted; the others are sessions of CI jobs.
func startBezoar(binary bezoar.Binary) func(testing.TB, string, *pair) *server {
	return func(tb testing.TB, dir string, secured *pair) *server {
		tb.Helper()
		issuer := oidctest.New(tb)
		file := filepath.Join(dir, "policy.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, policy, issuer.URL), 0o600); err != nil {
			tb.Fatal(err)
		}
		data := filepath.Join(dir, "data")
		var token bezoar.Token
		out := binary.Output(tb, "token", "create", "--data", data, "--workspace", "web", "--name", "main", "--access", "trusted", "--json")
		if err := json.Unmarshal(out, &token); err != nil {
			tb.Fatal(err)
		}
		addr := freeAddr(tb)
		args := []string{"serve", "--data", data, "--listen", addr, "--policy", file, "--log-format", "json"}
		if secured != nil {
			args = append(args, "--tls-cert", secured.cert, "--tls-key", secured.key)
		}
		begin := func(tb testing.TB) *server {
			tb.Helper()
			s := launch(tb, "bezoar", addr, dir, binary.Command(context.Background(), args...))
			s.tls, s.token = secured != nil, token.Secret
			return s
		}
		s := begin(tb)
		s.again, s.others = begin, map[string]string{}
		for who, example := range map[string]string{sessionOfMain: "push-main", sessionOfPull: "pull_request"} {
			s.others[who] = exchange(tb, s, issuer, example)
		}
		return s
	}
}

// Who asks, where it is not a static token.
const (
	sessionOfMain = "main's session"
	sessionOfPull = "pull request's session"
)

// exchange gets a session for what GitHub says of a job; the examples are those of the documentation.
func exchange(tb testing.TB, s *server, issuer *oidctest.Issuer, example string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "examples", "claims", "github", example+".json"))
	if err != nil {
		tb.Fatal(err)
	}
	claims := map[string]any{}
	if err := json.Unmarshal(text, &claims); err != nil {
		tb.Fatal(err)
	}
	for _, fresh := range []string{"iss", "exp", "iat", "nbf", "jti"} {
		delete(claims, fresh)
	}
	asked := *s
	asked.token = issuer.Sign(claims)
	status, body, err := asked.do(tb.Context(), http.MethodPost, "/v1/session", nil)
	var session struct{ Token string }
	if err != nil || status != http.StatusOK || json.Unmarshal(body, &session) != nil || session.Token == "" {
		tb.Fatalf("no session for %s: %d %s %v", example, status, body, err)
	}
	return session.Token
}

// startNginx serves plain files, and takes some.
func startNginx(tb testing.TB, dir string, secured *pair) *server {
	tb.Helper()
	addr := freeAddr(tb)
	root := filepath.Join(dir, "files")
	if err := os.MkdirAll(filepath.Join(root, "v1", "cache"), 0o777); err != nil {
		tb.Fatal(err)
	}
	var user, listen, temp strings.Builder
	if os.Geteuid() == 0 {
		user.WriteString("user root;")
	}
	fmt.Fprintf(&listen, "listen %s backlog=4096", addr)
	if secured != nil {
		fmt.Fprintf(&listen, " ssl; ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3", secured.cert, secured.key)
	}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; worker_processes auto; worker_rlimit_nofile 65536; pid %s/pid; error_log %[1]s/server.log; %s
events { worker_connections 8192; }
http {
	access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; default_type application/octet-stream; client_max_body_size 0;
	%s
	server { %s; root %s; location /v1/cache/ { dav_methods PUT; create_full_put_path on; } }
}
`, dir, &user, &temp, &listen, root)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	s := launch(tb, yardstick, addr, dir, exec.CommandContext(context.Background(), "nginx", "-e", filepath.Join(dir, "early.log"), "-c", conf))
	s.tls = secured != nil
	return s
}

func startRclone(tb testing.TB, dir string, secured *pair) *server {
	tb.Helper()
	addr := freeAddr(tb)
	root := filepath.Join(dir, "files")
	if err := os.MkdirAll(filepath.Join(root, "v1", "cache"), 0o777); err != nil {
		tb.Fatal(err)
	}
	args := []string{"serve", "webdav", root, "--addr", addr, "--config", filepath.Join(dir, "rclone.conf"), "--cache-dir", filepath.Join(dir, "cache")}
	if secured != nil {
		args = append(args, "--cert", secured.cert, "--key", secured.key)
	}
	s := launch(tb, "rclone", addr, dir, exec.CommandContext(context.Background(), "rclone", args...))
	s.tls = secured != nil
	return s
}

func startTurborepo(dirOfPackage string) func(testing.TB, string, *pair) *server {
	return func(tb testing.TB, dir string, _ *pair) *server {
		tb.Helper()
		const token = "benchmark"
		addr := freeAddr(tb)
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			tb.Fatal(err)
		}
		cmd := exec.CommandContext(context.Background(), "node", filepath.Join(dirOfPackage, "node_modules", "turborepo-remote-cache", "dist", "cli.js"))
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NODE_ENV=production", "HOST=" + host, "PORT=" + port, "TURBO_TOKEN=" + token, "STORAGE_PROVIDER=local",
			"STORAGE_PATH=" + filepath.Join(dir, "files"), "STORAGE_PATH_USE_TMP_FOLDER=false"}
		s := launch(tb, "turborepo-remote-cache", addr, dir, cmd)
		s.keys, s.token = keys{"/v8/artifacts/", 20, "?teamId=bench"}, token
		return s
	}
}

func startBazelRemote(path string) func(testing.TB, string, *pair) *server {
	return func(tb testing.TB, dir string, secured *pair) *server {
		tb.Helper()
		addr := freeAddr(tb)
		args := []string{"--dir", filepath.Join(dir, "data"), "--max_size", "200", "--storage_mode", "uncompressed", "--http_address", addr, "--grpc_address", "none",
			"--disable_http_ac_validation", "--access_log_level", "none"}
		if secured != nil {
			args = append(args, "--tls_cert_file", secured.cert, "--tls_key_file", secured.key)
		}
		s := launch(tb, "bazel-remote", addr, dir, exec.CommandContext(context.Background(), path, args...))
		s.tls, s.keys = secured != nil, keys{"/ac/", 64, ""}
		return s
	}
}
