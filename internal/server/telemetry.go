package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Telemetry is what the other listener serves, where there is one: health and metrics, no API.
func (s *Server) Telemetry() *http.Server { return s.httpServer(s.telemetryMux(true)) }

// telemetryMux serves everything beside artifacts. Health checks are not logged.
func (s *Server) telemetryMux(withMetrics bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "alive")
	})
	// Trouble behind the server does not make it unready: it answers with misses then, which is better for
	// a build than no answer.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if s.stopping.Load() {
			writeText(w, http.StatusServiceUnavailable, "shutting down")
			return
		}
		writeText(w, http.StatusOK, "ready")
	})
	if withMetrics {
		handler := promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{Registry: s.opts.Registry})
		mux.Handle("GET /metrics", s.guardMetrics(handler))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusOK, "This is bezoar, a remote cache for Nx. Builds use it with NX_SELF_HOSTED_REMOTE_CACHE_SERVER set to this address; 'bezoar doctor' checks it.")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeText(w, http.StatusNotFound, "there is nothing here; artifacts are under /v1/cache/HASH")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.dropBody(w, r)
		mux.ServeHTTP(w, r)
	})
}

// guardMetrics asks for the metrics token, if one is set.
func (s *Server) guardMetrics(next http.Handler) http.Handler {
	if s.opts.MetricsToken == "" {
		return next
	}
	want := sha256.Sum256([]byte(s.opts.MetricsToken))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="bezoar metrics"`)
			writeText(w, http.StatusUnauthorized, "the metrics need the bearer token of the setting metrics-token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOwnHost reports whether a request to an open server means this machine. A page in a browser can reach a loopback
// address under a name of its own (DNS rebinding), and a proxy can put the server under a public name; neither may turn
// "anyone on this machine" into "anyone".
func isOwnHost(r *http.Request) bool {
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true // who may connect to the socket is decided by its permissions
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
