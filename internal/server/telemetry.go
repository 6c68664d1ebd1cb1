package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Telemetry is what the other listener serves, where there is one: health, metrics and profiles, no API.
func (s *Server) Telemetry() *http.Server {
	beside, profiles := s.telemetry(true), s.guard(http.HandlerFunc(serveProfile))
	return s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isRead(r) && strings.HasPrefix(r.URL.Path, profilesPath) {
			s.dropBody(w, r)
			profiles.ServeHTTP(w, r)
			return
		}
		beside.ServeHTTP(w, r)
	}))
}

const (
	welcome     = "This is bezoar, a remote cache for Nx. Builds use it with NX_SELF_HOSTED_REMOTE_CACHE_SERVER set to this address; 'bezoar doctor' checks it."
	nothingHere = "there is nothing here; artifacts are under /v1/cache/HASH, and a CI gets its session by a POST to /v1/session"
)

// telemetry serves everything beside artifacts. Health checks are not logged. Paths are compared as they are: a ServeMux
// would redirect those that are not clean.
func (s *Server) telemetry(withMetrics bool) http.Handler {
	metrics := s.guard(promhttp.HandlerFor(s.opts.Registry, promhttp.HandlerOpts{Registry: s.opts.Registry}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			// A hash with a slash, say, or a proxy that cuts the path: to a build it is an upload like any other, and 404 fails it.
			s.readRest(w, r.Body, s.opts.DrainLimit)
			writeText(w, http.StatusForbidden, nothingHere)
			return
		}
		s.dropBody(w, r)
		if s.crowd.beyond(r.Context()) {
			w.Header().Set("Connection", "close")
		}
		if !isRead(r) {
			writeText(w, http.StatusNotFound, nothingHere)
			return
		}
		switch {
		case r.URL.Path == "/":
			writeText(w, http.StatusOK, welcome)
		case r.URL.Path == "/livez":
			writeText(w, http.StatusOK, "alive")
		case r.URL.Path == "/readyz":
			s.serveReady(w, r, withMetrics)
		case r.URL.Path == "/metrics" && withMetrics:
			metrics.ServeHTTP(w, r)
		default:
			writeText(w, http.StatusNotFound, nothingHere)
		}
	})
}

func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// guard asks for the metrics token, if one is set.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.maySeeMetrics(r) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="bezoar metrics"`)
			writeText(w, http.StatusUnauthorized, "this needs the bearer token of the setting metrics-token")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) maySeeMetrics(r *http.Request) bool {
	if s.opts.MetricsToken == "" {
		return true
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, got := sha256.Sum256([]byte(s.opts.MetricsToken)), sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

// isOwnHost reports whether a request to an open server comes from this machine and means it. A page in a browser can reach a loopback
// address under a name of its own (DNS rebinding), and a proxy can put the server under a public name or pass requests of others on;
// none of them may turn "anyone on this machine" into "anyone".
func isOwnHost(r *http.Request) bool {
	if isForwarded(r.Header) {
		return false
	}
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

// isForwarded reports whether a proxy says that it passes on a request of another machine. A proxy that says nothing cannot be
// told from a client.
func isForwarded(h http.Header) bool {
	if len(h.Values("Forwarded")) > 0 { // RFC 7239 lets it hide the address, so its presence is enough
		return true
	}
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip"} {
		for address := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
			if address = strings.TrimSpace(address); address != "" && !net.ParseIP(address).IsLoopback() {
				return true
			}
		}
	}
	return false
}
