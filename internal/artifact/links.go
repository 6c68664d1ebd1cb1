package artifact

import (
	"slices"
	"strings"
)

// An archive unpacks safely if every directory on the way to a member is a real one, which checkTree has made
// sure of, and if no link leads out of the root. Where a link leads depends on other links only if
// its target goes up ("..") after a name, because that name may be a link that has already gone elsewhere.
// Otherwise what checkTarget counted holds: going up from a real directory stays within the root, and
// each link on the way down was itself found to lead inside.

const (
	// maxHops is how many links may be followed for one; Linux gives up after as many.
	maxHops = 40
	// maxSteps bounds the components that are looked up for all links of an archive together.
	maxSteps = 1 << 16
)

// checkLinks resolves the links that need it. The members are in order.
func checkLinks(members []Member) error {
	r := resolver{members: members}
	for i := range members {
		if m := &members[i]; m.Type == Symlink && goesUpAfterName(m.Target) {
			if err := r.resolve(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func goesUpAfterName(target string) bool {
	name := false
	for component := range strings.SplitSeq(target, "/") {
		switch component {
		case "", ".":
		case "..":
			if name {
				return true
			}
		default:
			name = true
		}
	}
	return false
}

// resolver follows links through an archive, as a kernel would through what it unpacks to.
type resolver struct {
	members []Member
	steps   int
}

func (r *resolver) resolve(link *Member) error {
	at := parent(link.Path)
	todo := []string{link.Target} // what is left to walk, the last first
	for hops := 0; len(todo) > 0; {
		component, rest, more := strings.Cut(todo[len(todo)-1], "/")
		if todo[len(todo)-1] = rest; !more {
			todo = todo[:len(todo)-1]
		}
		if r.steps++; r.steps > maxSteps {
			return refuse(link.Path, "is a link that takes too long to resolve")
		}
		switch component {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return refuse(link.Path, leadsOut, link.Target)
			}
			at = parent(at)
			continue
		}
		next := join(at, component)
		switch found, target := r.look(next); found {
		case Dir:
			at = next
		case Symlink:
			if hops++; hops > maxHops {
				return refuse(link.Path, "is a link that leads through more than %d others, or round in circles", maxHops)
			}
			todo = append(todo, target)
		default:
			// A link into nothing is harmless as long as it does not go up from there: the name may
			// come to be a link after all, in the workspace.
			if slices.ContainsFunc(todo, goesUp) {
				return refuse(link.Path, "is a link to %.200q, which goes up from what is no directory of the archive", link.Target)
			}
			return nil
		}
	}
	return nil
}

// look says what is at path: a directory, named or implied; a link, with its target; 0 for anything else.
func (r *resolver) look(path string) (Type, string) {
	i, found := slices.BinarySearchFunc(r.members, path, func(m Member, path string) int { return comparePaths(m.Path, path) })
	switch {
	case found && r.members[i].Type == File:
		return 0, ""
	case found:
		return r.members[i].Type, r.members[i].Target
	case i < len(r.members) && isUnder(r.members[i].Path, path):
		return Dir, ""
	}
	return 0, ""
}

func goesUp(target string) bool {
	for component := range strings.SplitSeq(target, "/") {
		if component == ".." {
			return true
		}
	}
	return false
}

func parent(path string) string {
	return path[:max(strings.LastIndexByte(path, '/'), 0)]
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
