package server

import (
	"net/http"
	"net/http/pprof"
	"strings"
)

const profilesPath = "/debug/pprof/"

// serveProfile serves the profiles of package pprof, but not the command line, on which there may be secrets. The package also puts its handlers
// into [http.DefaultServeMux], which nothing of ours serves.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	switch strings.TrimPrefix(r.URL.Path, profilesPath) {
	case "cmdline":
		writeText(w, http.StatusNotFound, nothingHere)
	case "profile":
		pprof.Profile(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}
