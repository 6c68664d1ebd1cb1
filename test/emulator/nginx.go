package emulator

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Nginx is a balancer in front of servers of bezoar, set up as deploy/nginx.conf says.
type Nginx struct {
	*Server
	// URL is where clients go, without a slash at its end.
	URL string

	config   string // of deploy/nginx.conf
	upstream []string
}

// StartNginx starts nginx, Debian's or any on the PATH, in front of servers at the addresses. They have to serve already.
func StartNginx(tb testing.TB, addresses ...string) *Nginx {
	tb.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			tb.Fatalf("the tests with nginx need it (Debian: apt-get install nginx-light): %v", err)
		}
	}
	root, err := repository()
	if err != nil {
		tb.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(root, "deploy", "nginx.conf"))
	if err != nil {
		tb.Fatal(err)
	}
	n := &Nginx{config: string(config), upstream: addresses}
	n.Server = &Server{
		Dir:  tb.TempDir(),
		name: "nginx",
		command: func(host, port string) *exec.Cmd {
			// What cannot be written leaves no file, and nginx says so.
			_ = n.write(host + ":" + port)
			cmd := exec.Command(program, "-e", "stderr", "-c", filepath.Join(n.Dir, "nginx.conf"))
			cmd.Dir, cmd.Env = n.Dir, environment(n.Dir)
			return cmd
		},
		health: func(addr string) string { return "http://" + addr + "/livez" },
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		ending: syscall.SIGTERM, // SIGKILL would leave its workers behind
	}
	n.start(tb)
	n.URL = "http://" + n.Addr
	return n
}

var (
	exampleServers = regexp.MustCompile(`(?m)^\tserver replica-\d+\.internal:8099( .*;)\n`)
	exampleTLS     = regexp.MustCompile(`(?m)^\tlisten 443 ssl;\n|^\tssl_certificate(_key)? .*;\n`)
)

// write writes the settings for the addresses: those of the example, with nothing changed but names of servers and files, and without TLS.
func (n *Nginx) write(listen string) error {
	parameters := exampleServers.FindStringSubmatch(n.config)
	if parameters == nil {
		return fmt.Errorf("deploy/nginx.conf names no servers")
	}
	var list strings.Builder
	for _, a := range n.upstream {
		fmt.Fprintf(&list, "\tserver %s%s\n", a, parameters[1])
	}
	first := exampleServers.FindStringIndex(n.config)[0]
	site := n.config[:first] + list.String() + exampleServers.ReplaceAllLiteralString(n.config[first:], "")
	site = exampleTLS.ReplaceAllLiteralString(site, "")
	site = strings.ReplaceAll(site, "server_name nx-cache.example.com;", "listen "+listen+";")
	site = strings.ReplaceAll(site, "/var/log/nginx", n.Dir)
	if err := os.WriteFile(filepath.Join(n.Dir, "site.conf"), []byte(site), 0o600); err != nil {
		return err
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // workers have to get into a test's directories
	}
	var temp strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "\t%s_temp_path %s;\n", kind, filepath.Join(n.Dir, kind))
	}
	return os.WriteFile(filepath.Join(n.Dir, "nginx.conf"), fmt.Appendf(nil,
		"%sdaemon off;\nworker_processes 2;\npid %s/pid;\nerror_log stderr error;\nevents { worker_connections 1024; }\nhttp {\n%s\tinclude %s;\n}\n",
		user, n.Dir, temp.String(), filepath.Join(n.Dir, "site.conf")), 0o600)
}

// Reload has nginx take up other servers, as an administrator does it: requests under way end as they began.
func (n *Nginx) Reload(tb testing.TB, addresses ...string) {
	tb.Helper()
	n.upstream = addresses
	if err := n.write(n.Addr); err != nil {
		tb.Fatal(err)
	}
	n.signal(tb, syscall.SIGHUP)
}

// AccessLog is what nginx has logged of requests.
func (n *Nginx) AccessLog(tb testing.TB) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(n.Dir, "bezoar.log"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
