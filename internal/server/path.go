package server

import (
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// target is what the path of a request for an artifact or a session names.
type target struct {
	// prefix is the segment before /v1/: the name of a workspace, or the end of any prefix that a client's or a proxy's
	// configuration brings along. Which of them it is depends on the workspaces that the server knows.
	prefix string
	// hash is not checked yet. A session has none.
	hash string
}

// parseTarget splits a path of the form …/v1/cache/HASH. Doubled slashes are as good as single ones: an Nx whose server
// URL ends in a slash asks for //v1/cache/HASH, and a redirect to the clean path would break its uploads. The path is taken
// as it was sent, percent-encoding and all: no hash needs any, so what has it is no hash.
func parseTarget(escapedPath string) (target, bool) {
	rest, hash, ok := cutLastSegment(escapedPath)
	if !ok {
		return target{}, false
	}
	rest, segment, _ := cutLastSegment(strings.TrimRight(rest, "/"))
	if segment != "cache" {
		return target{}, false
	}
	prefix, ok := cutVersion(rest)
	return target{prefix: prefix, hash: hash}, ok
}

// parseSessionTarget splits a path of the form …/v1/session, by the same rules.
func parseSessionTarget(escapedPath string) (target, bool) {
	rest, segment, ok := cutLastSegment(escapedPath)
	if !ok || segment != "session" {
		return target{}, false
	}
	prefix, ok := cutVersion(rest)
	return target{prefix: prefix}, ok
}

// cutVersion finds the segment before /v1 at the end of a path.
func cutVersion(path string) (prefix string, ok bool) {
	rest, segment, ok := cutLastSegment(strings.TrimRight(path, "/"))
	if segment != "v1" || !ok {
		return "", false
	}
	_, prefix, _ = cutLastSegment(strings.TrimRight(rest, "/"))
	return prefix, true
}

func cutLastSegment(path string) (rest, segment string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// workspace is the one that the path names, or "" if it names none that is known.
func (t target) workspace(known func(cache.Workspace) bool) cache.Workspace {
	if t.prefix == "" { // as most have it
		return ""
	}
	name, err := cache.ParseWorkspace(t.prefix)
	if err != nil || !known(name) {
		return ""
	}
	return name
}
