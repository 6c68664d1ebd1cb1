package artifact

import (
	"bytes"
	"slices"
	"unicode"
	"unicode/utf8"
)

// alias is the folded path of a link.
type alias struct {
	path string
	link *Member
}

// checkAliases refuses members that some system would take for a link of the archive or write through one, because it
// does not tell names apart as Linux does: case (macOS, Windows), backslashes, dots and spaces at the
// end (Windows), characters that do not show (HFS+). The checks of links would not hold there. Unicode's composed and
// decomposed forms, the same to macOS, are not folded.
func checkAliases(members []Member) error {
	var f folder
	var links []alias
	for i := range members {
		if m := &members[i]; m.Type == Symlink {
			links = append(links, alias{f.fold(m.Path), m})
		}
	}
	slices.SortFunc(links, func(a, b alias) int { return comparePaths(a.path, b.path) })
	for i := 1; i < len(links); i++ {
		if a := links[i]; links[i-1].covers(a.path) {
			return refuseAlias(a.link, links[i-1].link)
		}
	}
	for i := range members {
		m := &members[i]
		if m.Type == Symlink {
			continue
		}
		// No link lies under another, so the last one that is not after path is the only one that can cover it.
		path := f.fold(m.Path)
		at, found := slices.BinarySearchFunc(links, path, func(a alias, path string) int { return comparePaths(a.path, path) })
		if found {
			at++
		}
		if at > 0 && links[at-1].covers(path) {
			return refuseAlias(m, links[at-1].link)
		}
	}
	return nil
}

// covers reports whether the folded path is that of the link or lies under it.
func (a alias) covers(path string) bool { return path == a.path || isUnder(path, a.path) }

func refuseAlias(m, link *Member) error {
	return refuse(m.Path, "cannot be told from, or lies under, the link %.200q on systems that fold names", link.Path)
}

// folder maps paths so that those that some system takes for the same become the same.
type folder struct{ buf []byte }

func (f *folder) fold(path string) string {
	if isFolded(path) {
		return path
	}
	f.buf = f.buf[:0]
	start := 0 // of the component
	for _, r := range path {
		switch {
		case r == '/' || r == '\\':
			f.buf = append(f.trim(start), '/')
			start = len(f.buf)
		case r < utf8.RuneSelf:
			f.buf = append(f.buf, byte(unicode.ToLower(r)))
		case !unicode.Is(unicode.Cf, r):
			f.buf = utf8.AppendRune(f.buf, foldRune(r))
		}
	}
	f.buf = f.trim(start)
	return string(f.buf)
}

// trim drops dots and spaces at the end of the component that begins at start.
func (f *folder) trim(start int) []byte {
	return f.buf[:start+len(bytes.TrimRight(f.buf[start:], ". "))]
}

// foldRune is one and the same for all runes that differ in case alone.
func foldRune(r rune) rune {
	least := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		least = min(least, next)
	}
	return unicode.ToLower(least)
}

// isFolded reports whether fold surely leaves path as it is; most paths are so.
func isFolded(path string) bool {
	for i := range len(path) {
		switch c := path[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '/':
		case c == '.' && i+1 < len(path) && path[i+1] != '/':
		default:
			return false
		}
	}
	return true
}
