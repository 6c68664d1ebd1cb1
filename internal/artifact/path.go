package artifact

import (
	"bytes"
	"strings"
)

// maxComponent is the longest name, in bytes, that Linux, macOS and Windows can all hold. An archive with a longer
// one fails the build of whoever unpacks it.
const maxComponent = 255

// cleanPath checks the path of a member and takes it apart from what does not matter: empty and "."
// components. A path that holds a backslash is a plain name on Linux and macOS, so it is let through, but only
// if it is harmless on Windows too, where a backslash separates and a drive letter replaces all before it.
func (w *walker) cleanPath(raw []byte) (string, error) {
	if most := w.lim.MaxPathLength; most > 0 && len(raw) > most {
		return "", refuse(string(raw), "has a path of more than %d bytes, which is the limit", most)
	}
	if len(raw) == 0 {
		return "", refuse("", "has a member without a name")
	}
	if isSeparator(raw[0]) {
		return "", refuse(string(raw), "is an absolute path")
	}
	w.path = w.path[:0]
	dot := false
	for rest := raw; len(rest) > 0; {
		var component []byte
		component, rest, _ = bytes.Cut(rest, []byte{'/'})
		if reason := badComponent(component); reason != "" {
			return "", refuse(string(raw), "%s", reason)
		}
		if len(component) == 0 {
			continue
		}
		if dot = string(component) == "."; dot {
			continue
		}
		if len(w.path) > 0 {
			w.path = append(w.path, '/')
		}
		w.path = append(w.path, component...)
	}
	switch {
	case len(w.path) == 0:
		return "", refuse(string(raw), "is the root of the archive itself")
	case dot: // clients before 23.0.2 fail to make "a/." unless there is an "a"
		return "", refuse(string(raw), `has "." at its end`)
	}
	return string(w.path), nil
}

// badComponent says what is wrong with a component, on any system.
func badComponent(component []byte) string {
	if len(component) > maxComponent {
		return "has a name of more than 255 bytes in its path"
	}
	for {
		part := component
		i := bytes.IndexByte(component, '\\')
		if i >= 0 {
			part = component[:i]
		}
		if string(part) == ".." {
			return `has ".." in its path`
		}
		if hasDrive(part) {
			return "has a Windows drive in its path"
		}
		if i < 0 {
			return ""
		}
		component = component[i+1:]
	}
}

const leadsOut = "is a link that leads out of the archive, to %.200q"

// checkTarget checks the target of the symbolic link at path as far as it can be by itself: that it is relative, and
// that the steps up that it begins with stay inside. What it leads to through other members is for
// [checkLinks].
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
	case hasDrive(raw):
		return "", refuse(path, "is a link to a Windows drive")
	}
	target := string(raw)
	depth := strings.Count(path, "/")
	for component := range strings.SplitSeq(target, "/") {
		if component == "" || component == "." {
			continue
		}
		if component != ".." {
			break // where it goes from here is not for this member alone to say
		}
		if depth--; depth < 0 {
			return "", refuse(path, leadsOut, target)
		}
	}
	return target, nil
}

func isSeparator(c byte) bool { return c == '/' || c == '\\' }

// hasDrive reports whether name begins with a Windows drive: even "c:name", without a slash, leaves the folder that
// it is unpacked in, for the working directory. Names such as "a:b" are real on Linux, and where A and
// B would be drives, they would be floppy disks; so drives begin with C.
func hasDrive(name []byte) bool {
	return len(name) >= 2 && name[1] == ':' && 'c' <= name[0]|0x20 && name[0]|0x20 <= 'z'
}
