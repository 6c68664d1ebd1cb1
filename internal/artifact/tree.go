package artifact

import (
	"cmp"
	"slices"
	"strings"
)

// checkTree checks what only shows once all members are known, whatever their order: paths that are there
// twice, members under a file or a link, and where links lead. It sorts the members by [comparePaths] and
// returns them with directories that are there again left out.
func checkTree(members []Member, links bool) ([]Member, error) {
	slices.SortFunc(members, func(a, b Member) int { return comparePaths(a.Path, b.Path) })
	kept := members[:0]
	var above []int // the members of kept that the current one lies under, outermost first
	for _, m := range members {
		if n := len(kept); n > 0 && kept[n-1].Path == m.Path {
			if again := &kept[n-1]; again.Type != Dir || m.Type != Dir || again.Mode != m.Mode {
				return nil, refuse(m.Path, "is there more than once")
			}
			continue
		}
		for n := len(above); n > 0 && !isUnder(m.Path, kept[above[n-1]].Path); n = len(above) {
			above = above[:n-1]
		}
		if n := len(above); n > 0 {
			switch over := &kept[above[n-1]]; over.Type {
			case Symlink:
				return nil, refuse(m.Path, "would be written through the link %.200q", over.Path)
			case File:
				return nil, refuse(m.Path, "lies under %.200q, which is a file", over.Path)
			}
		}
		above = append(above, len(kept))
		kept = append(kept, m)
	}
	if !links {
		return kept, nil
	}
	if err := checkAliases(kept); err != nil {
		return nil, err
	}
	return kept, checkLinks(kept)
}

// comparePaths orders paths component by component: a path comes right before what lies under it. It is the order
// of bytes with "/" before all others.
func comparePaths(a, b string) int {
	i, n := 0, min(len(a), len(b))
	for i+16 <= n && a[i:i+16] == b[i:i+16] {
		i += 16
	}
	for ; i < n; i++ {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

// isUnder reports whether path lies under dir.
func isUnder(path, dir string) bool {
	return len(path) > len(dir) && path[len(dir)] == '/' && strings.HasPrefix(path, dir)
}
