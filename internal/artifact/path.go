package artifact

import (
	"bytes"
	"strings"
)

// cleanPath checks the path of a member and takes it apart from what does not matter: empty and "."
// components. A path that holds a backslash is a plain name on Linux and macOS, so it is let through, but only if it is
// harmless on Windows too, where a backslash separates and a drive letter replaces all before it.
func (w *walker) cleanPath(raw []byte) (string, error) {
	if most := w.lim.MaxPathLength; most > 0 && len(raw) > most {
		return "", refuse(string(raw[:min(most, 128)])+"…", "has a path of more than %d bytes, which is the limit", most)
	}
	if len(raw) == 0 {
		return "", refuse("", "has a member without a name")
	}
	if isSeparator(raw[0]) {
		return "", refuse(string(raw), "is an absolute path")
	}
	w.path = w.path[:0]
	for rest := raw; len(rest) > 0; {
		var component []byte
		component, rest, _ = bytes.Cut(rest, []byte{'/'})
		if reason := badComponent(component); reason != "" {
			return "", refuse(string(raw), "%s", reason)
		}
		if len(component) == 0 || string(component) == "." {
			continue
		}
		if len(w.path) > 0 {
			w.path = append(w.path, '/')
		}
		w.path = append(w.path, component...)
	}
	if len(w.path) == 0 {
		return "", refuse(string(raw), "is the root of the archive itself")
	}
	return string(w.path), nil
}

// badComponent says what is wrong with a component, on any system.
func badComponent(component []byte) string {
	for {
		part := component
		i := bytes.IndexByte(component, '\\')
		if i >= 0 {
			part = component[:i]
		}
		if string(part) == ".." {
			return `has ".." in its path`
		}
		if len(part) >= 2 && part[1] == ':' && isLetter(part[0]) {
			return "has a Windows drive in its path"
		}
		if i < 0 {
			return ""
		}
		component = component[i+1:]
	}
}

// checkTarget checks the target of the symbolic link at path by itself; what it leads to through other
// links is for [checkTree].
func (w *walker) checkTarget(path string, raw []byte) (string, error) {
	most := w.lim.MaxPathLength
	switch {
	case most > 0 && len(raw) > most:
		return "", refuse(path, "is a link whose target has more than %d bytes, which is the limit", most)
	case len(raw) == 0:
		return "", refuse(path, "is a link without a target")
	case isSeparator(raw[0]):
		return "", refuse(path, "is a link to an absolute path")
	case bytes.IndexByte(raw, '\\') >= 0:
		return "", refuse(path, `is a link to a target with a backslash, which Windows takes for a "/"`)
	case len(raw) >= 2 && raw[1] == ':' && isLetter(raw[0]):
		return "", refuse(path, "is a link to a Windows drive")
	}
	target := string(raw)
	depth := strings.Count(path, "/")
	for rest := target; rest != ""; {
		var component string
		component, rest, _ = strings.Cut(rest, "/")
		switch component {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return "", refuse(path, "is a link that leads out of the archive, to %q", target)
			}
		default:
			depth++
		}
	}
	return target, nil
}

func isSeparator(c byte) bool { return c == '/' || c == '\\' }
func isLetter(c byte) bool    { return 'a' <= c|0x20 && c|0x20 <= 'z' }
