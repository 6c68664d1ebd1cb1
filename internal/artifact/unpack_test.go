package artifact_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// unpacked is what becomes of an archive in the hands of a client that follows everything, as Nx before 23.0.2
// does, in a folder that exists in memory only.
type unpacked struct {
	root     *node
	files    int
	problems []string // what left the root, or would have failed a build
}

// node is a directory (children), a link (target) or a file.
type node struct {
	parent   *node
	children map[string]*node
	target   string
	link     bool
}

func newDir(parent *node) *node { return &node{parent: parent, children: map[string]*node{}} }

// unpack shares nothing with the package under test, and reads as little as it can of what an archive says.
func unpack(body []byte) *unpacked {
	u := &unpacked{root: newDir(nil)}
	zr, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		u.fail("gzip: %v", err)
		return u
	}
	plain, err := io.ReadAll(zr)
	if err != nil {
		u.fail("gzip: %v", err)
		return u
	}
	var longName, longTarget string
	for {
		if len(plain) < 512 {
			u.fail("the tar ends without an end")
			return u
		}
		header := plain[:512]
		plain = plain[512:]
		if len(bytes.Trim(header, "\x00")) == 0 {
			break
		}
		size := numeric(header[124:136])
		if header[156] == 'S' {
			for more := header[482]; more != 0 && len(plain) >= 512; plain = plain[512:] {
				more = plain[504]
			}
		}
		if size < 0 || size > len(plain) {
			u.fail("a member of %d bytes is cut", size)
			return u
		}
		data := plain[:size]
		plain = plain[min((size+511)&^511, len(plain)):]
		name, target := cstring(header[:100]), cstring(header[157:257])
		if string(header[257:265]) == "ustar\x0000" && header[345] != 0 {
			name = cstring(header[345:500]) + "/" + name
		}
		switch header[156] {
		case 'L':
			longName = strings.TrimSuffix(string(data), "\x00")
			continue
		case 'K':
			longTarget = strings.TrimSuffix(string(data), "\x00")
			continue
		case 'x':
			longName, longTarget = paxValue(data, "path"), paxValue(data, "linkpath")
			continue
		}
		if longName != "" {
			name, longName = longName, ""
		}
		if longTarget != "" {
			target, longTarget = longTarget, ""
		}
		if name != "code" && name != "terminalOutput" {
			u.member(name, header[156], target)
		}
	}
	u.follow(u.root, "")
	return u
}

// paxValue finds a key as the client's library does: a record is a line, one of a wrong length is none, the first counts.
func paxValue(data []byte, key string) string {
	for line := range strings.SplitSeq(string(data), "\n") {
		length, record, ok := strings.Cut(line, " ")
		k, value, ok2 := strings.Cut(record, "=")
		if n, err := strconv.Atoi(length); ok && ok2 && err == nil && n == len(line)+1 && k == key {
			return value
		}
	}
	return ""
}

func (u *unpacked) fail(format string, args ...any) {
	u.problems = append(u.problems, fmt.Sprintf(format, args...))
}

// member makes one member, and the directories on the way to it.
func (u *unpacked) member(name string, flag byte, target string) {
	if strings.HasPrefix(name, "/") {
		u.fail("%q: absolute", name)
		return
	}
	components := strings.Split(strings.TrimRight(name, "/"), "/")
	hops := 0
	dir := u.walk(u.root, components[:len(components)-1], true, &hops)
	last := components[len(components)-1]
	if dir == nil || dir.children == nil || last == ".." || last == "." || last == "" {
		u.fail("%q: has no place", name)
		return
	}
	u.files++
	there := dir.children[last]
	switch flag {
	case '5':
		if there == nil {
			dir.children[last] = newDir(dir)
		} else if there.children == nil {
			u.fail("%q: not a directory", name)
		}
	case '2':
		if there != nil || target == "" {
			u.fail("%q: cannot make the link", name)
		}
		dir.children[last] = &node{parent: dir, link: true, target: target}
	case '0', 0, 'S':
		if there != nil {
			u.fail("%q: is there", name)
		}
		dir.children[last] = &node{parent: dir}
	default:
		u.fail("%q: type %q", name, flag)
	}
}

// walk goes from dir along components as a kernel would. It returns nil where there is nothing.
func (u *unpacked) walk(dir *node, components []string, create bool, hops *int) *node {
	at := dir
	for _, component := range components {
		if at == nil || at.children == nil {
			return nil
		}
		switch component {
		case "", ".":
			continue
		case "..":
			if at.parent == nil {
				u.fail("left the root by way of %q", strings.Join(components, "/"))
				return nil
			}
			at = at.parent
			continue
		}
		next := at.children[component]
		switch {
		case next == nil && create:
			next = newDir(at)
			at.children[component] = next
		case next != nil && next.link:
			if *hops++; *hops > 100 {
				return nil
			}
			if strings.HasPrefix(next.target, "/") {
				u.fail("left the root by way of a link to %q", next.target)
				return nil
			}
			next = u.walk(at, strings.Split(next.target, "/"), false, hops)
		}
		at = next
	}
	return at
}

// follow tries all links under dir.
func (u *unpacked) follow(dir *node, path string) {
	for name, child := range dir.children {
		if child.link {
			hops := 0
			u.walk(dir, []string{name}, false, &hops)
		} else if child.children != nil {
			u.follow(child, path+"/"+name)
		}
	}
}

func cstring(field []byte) string {
	s, _, _ := strings.Cut(string(field), "\x00")
	return s
}

func numeric(field []byte) int {
	if field[0]&0x80 != 0 {
		n := 0
		for _, c := range field[4:] {
			n = n<<8 | int(c)
		}
		return n
	}
	n, err := strconv.ParseInt(strings.Trim(cstring(field), " "), 8, 64)
	if err != nil {
		return -1
	}
	return int(n)
}
