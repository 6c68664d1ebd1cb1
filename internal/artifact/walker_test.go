package artifact

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestRatio(t *testing.T) {
	for _, c := range []struct {
		stream, holes, uploaded int64
		refused                 bool
	}{
		{RatioFloor, 0, 1, false},
		{RatioFloor + 1, 0, 1, true},
		{0, HoleFloor, 1, false},
		{RatioFloor - HoleFloor, HoleFloor, 1, false},
		{RatioFloor, HoleFloor, 1, true},
		{0, HoleFloor + 1, 1, true},
		{0, 200 * (10 << 20), 10 << 20, false},
		{0, 200*(10<<20) + 200, 10 << 20, true},
		{200 * (10 << 20), 0, 10 << 20, false},
		{200*(10<<20) + 200, 0, 10 << 20, true},
		{1, math.MaxInt64, 10 << 20, true},
	} {
		w := walker{lim: Limits{MaxRatio: 200}, stream: c.stream, holes: c.holes}
		w.upload.n = c.uploaded
		if err := w.checkInflated(); (err != nil) != c.refused {
			t.Errorf("%+v: got %v", c, err)
		}
	}
}

func TestUTF8InPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.OneOf(
			rapid.Map(rapid.Rune(), func(r rune) []byte { return utf8.AppendRune(nil, r) }),
			rapid.Map(rapid.Byte(), func(b byte) []byte { return []byte{b} }),
		)).Draw(t, "text")
		var whole []byte
		for _, part := range text {
			whole = append(whole, part...)
		}
		var c utf8Check
		got := true
		for rest := whole; len(rest) > 0 && got; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			got = c.write(rest[:n])
			rest = rest[n:]
		}
		if got = got && c.whole(); got != utf8.Valid(whole) {
			t.Fatalf("%q: got %v", whole, got)
		}
	})
}

func TestComparePaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.StringOfN(rapid.SampledFrom([]rune("ab/- .0\u00e9")), 0, 40, -1)
		a, b := path.Draw(t, "a"), path.Draw(t, "b")
		key := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
		if got, want := comparePaths(a, b), strings.Compare(key(a), key(b)); got != want {
			t.Fatalf("%q and %q: got %d, want %d", a, b, got, want)
		}
	})
}

func TestFold(t *testing.T) {
	var f folder
	for path, want := range map[string]string{
		"a/b.c":           "a/b.c",
		"A/B.C":           "a/b.c",
		"a./b. ":          "a/b",
		`a\B`:             "a/b",
		"\u212aelvin":     "kelvin",
		"\u017fharp":      "sharp",
		"g\u200ci\u200dt": "git",
		"\u00c9t\u00e9":   "\u00e9t\u00e9",
		"\u03c2\u03a3":    "\u03c3\u03c3",
	} {
		if got := f.fold(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	// The short way gives what the long way does.
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.StringOfN(rapid.SampledFrom([]rune("abz09-_/.. A")), 1, 12, -1).Draw(t, "path")
		if long := f.fold("A" + path); isFolded(path) && long != "a"+path {
			t.Fatalf("%q: got %q", path, long[1:])
		}
	})
}
