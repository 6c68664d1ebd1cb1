package server

import (
	"net/http"
	"strings"
)

// serveReady says whether requests are taken. Trouble behind the server does not make it unready: it answers with misses then, which is better
// for a build than no answer. With ?verbose it says what does not work. That speaks of the server's inner parts: it is told where the metrics are, to
// who may see them. A probe that may not gets its answer all the same.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request, withMetrics bool) {
	status, first := http.StatusOK, "ready"
	if s.stopping.Load() {
		status, first = http.StatusServiceUnavailable, "shutting down"
	}
	if !r.URL.Query().Has("verbose") {
		writeText(w, status, first)
		return
	}
	if !withMetrics || !s.maySeeMetrics(r) {
		writeText(w, status, first+"\nwhat does not work is told where the metrics are, to who may see them")
		return
	}
	var lines strings.Builder
	degraded := false
	if s.opts.Causes != nil {
		for name, text := range s.opts.Causes {
			lines.WriteString("\n" + name)
			if text == "" {
				lines.WriteString(" ok")
				continue
			}
			degraded = true
			lines.WriteString(" degraded: " + text)
		}
	}
	if degraded {
		first += ", degraded"
	}
	writeText(w, status, first+lines.String())
}
