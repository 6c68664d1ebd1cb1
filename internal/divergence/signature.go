package divergence

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// codeName is the member that holds a task's exit status. It lies beside the outputs of every task.
const codeName = "code"

// signature stands for what differs, so that the divergences of one task that is not deterministic can be told from others. A hash says nothing of
// its task; the paths do. It is the SHA-256 of
//
//   - the directory that all of the trusted archive lies in, which tells tasks apart whose exit status alone differs, and
//   - the paths that differ, in order and each once, with what differs: the content, the mode, the type, a link's target, or that one side alone has it,
//
// with "*" in the place of what looks like a digest or a number in a name, as bundlers put into it. One file more, one mode changed, one file that is a link:
// each is another signature.
func signature(differing []pair, trusted map[string]artifact.Member) artifact.Digest {
	patterns := make(map[string]struct{})
	for i := range differing {
		patterns[normal(differing[i].path)+"\x00"+differing[i].kind] = struct{}{}
	}
	h := sha256.New()
	fmt.Fprintf(h, "bezoar divergence 1\n%s\x00\x00", normal(commonDir(maps.Keys(trusted))))
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		fmt.Fprintf(h, "%s\x00\x00", pattern) // no path has a NUL
	}
	return artifact.Digest(h.Sum(nil))
}

// commonDir is the deepest directory that all paths but that of the exit status lie in, or "".
func commonDir(paths func(func(string) bool)) string {
	dir, first := "", true
	for path := range paths {
		if path == codeName {
			continue
		}
		if first {
			dir, first = path, false
			continue
		}
		for dir != "" && path != dir && !strings.HasPrefix(path, dir+"/") {
			dir = dir[:max(0, strings.LastIndexByte(dir, '/'))]
		}
	}
	return dir
}

// normal puts "*" in the place of what changes in a name from build to build: words of at least 6 letters and digits with a digit among them.
func normal(path string) string {
	var b strings.Builder
	for word := range wordsOf(path) {
		if len(word) >= 6 && strings.ContainsAny(word, "0123456789") {
			word = "*"
		}
		b.WriteString(word)
	}
	return b.String()
}

// wordsOf yields the runs of letters and digits of a text, and what is between them, in order.
func wordsOf(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for begin, i := 0, 1; i <= len(text); i++ {
			if i < len(text) && isWord(text[i]) == isWord(text[begin]) {
				continue
			}
			if !yield(text[begin:i]) {
				return
			}
			begin = i
		}
	}
}

func isWord(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }

// Run names the run that made an entry: what counts as one time for trusted builds. A static token has no runs; with one, a day counts.
func Run(r *cache.Record) string {
	p := &r.Producer
	if p.RunID != "" {
		return strings.Join([]string{p.Issuer, p.RepositoryID, p.RunID}, "\x00")
	}
	return strings.Join([]string{p.Issuer, p.TokenID, p.Subject, r.Created.UTC().Format("2006-01-02")}, "\x00")
}

// Maker names who made an entry: what counts as one person for all others. It names too few rather than too many: what the same person could vary, such as
// the branch, the subject or the run, does not go in.
func Maker(r *cache.Record) string {
	switch p := &r.Producer; {
	case p.ActorID != "":
		return strings.Join([]string{"actor", p.Issuer, p.ActorID}, "\x00")
	case p.Developer != "":
		return "developer\x00" + p.Developer
	case p.TokenID != "":
		return "token\x00" + p.TokenID
	default:
		return strings.Join([]string{p.Kind, p.Issuer}, "\x00")
	}
}
