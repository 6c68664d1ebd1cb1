package doctor

import (
	"bufio"
	"errors"
	"io"
	"regexp"
	"strings"
)

// maxLock bounds how much of a lock file is read. Those of the largest workspaces have some tens of MB.
const maxLock = 64 << 20

// lockFiles are those of npm, pnpm, Yarn and Bun.
var lockFiles = []string{"package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"}

// readLock finds the versions of the packages that matter in the first lock file there is. It reads line by line
// and knows each format only as far as that takes: all four tools write one fact on one line.
func (w *workspace) readLock() {
	for _, name := range lockFiles {
		f, err := w.open(name)
		if err != nil {
			continue
		}
		w.lockFile = name
		w.locked = scanLock(io.LimitReader(f, maxLock), append([]string{"nx"}, rivalNames()...))
		f.Close()
		return
	}
}

var versionLine = regexp.MustCompile(`^\s+"?version"?:?\s+"?([0-9][^",\s]*)`)

func scanLock(r io.Reader, names []string) map[string]string {
	found := make(map[string]string)
	lines := bufio.NewReaderSize(r, 64<<10)
	pending := "" // a package whose version comes on one of the next lines
	for {
		line, err := lines.ReadSlice('\n')
		text := string(line)
		for errors.Is(err, bufio.ErrBufferFull) { // No fact is on a line of such length.
			_, err = lines.ReadSlice('\n')
		}
		if m := versionLine.FindStringSubmatch(text); m != nil && pending != "" {
			found[pending], pending = m[1], ""
		}
		if end := strings.TrimSpace(text); end == "" || end[0] == '}' {
			pending = "" // an npm link has no version of its own
		}
		for _, name := range names {
			if version, ok := lockLine(text, name); ok {
				if version != "" {
					found[name] = version
				} else {
					pending = name
				}
			}
		}
		if err != nil {
			return found
		}
	}
}

// lockLine recognizes the line on which a package begins, and its version if that is on the same line.
func lockLine(line, name string) (version string, ok bool) {
	s := strings.TrimSpace(line)
	switch {
	case s == `"node_modules/`+name+`": {`: // npm
		return "", true
	case strings.HasPrefix(s, `"`+name+`": ["`+name+`@`): // bun
		s = strings.TrimPrefix(s, `"`+name+`": ["`+name+`@`)
		version, _, _ = strings.Cut(s, `"`)
		return version, version != ""
	}
	key := strings.TrimLeft(s, `'"/`)
	after, ok := strings.CutPrefix(key, name+"@")
	if !ok || !strings.HasSuffix(s, ":") {
		return "", false
	}
	if line[0] != ' ' { // Yarn: the key is a range, the version follows
		return "", true
	}
	version = strings.TrimRight(after, `:'"`) // pnpm: the key is name@version(peers)
	version, _, _ = strings.Cut(version, "(")
	return version, version != "" && version[0] >= '0' && version[0] <= '9'
}
