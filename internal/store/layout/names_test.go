package layout

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"12777289511367993887":   "12777289511367993887",
		"Ab":                     "%41b",
		"aB":                     "a%42",
		"a-b_c.d":                "a-b_c.d",
		"-rf":                    "%2drf",
		"trusted":                "trusted",
		"pr/17":                  "pr%2f17",
		"branch/refs/heads/ü":    "branch%2frefs%2fheads%2f%c3%bc",
		".":                      "%2e",
		"..":                     "%2e%2e",
		"x.":                     "x%2e",
		"100%":                   "100%25",
		"con":                    "%63on",
		"lpt1.x":                 "%6cpt1.x",
		"console":                "console",
		strings.Repeat("a", 140): strings.Repeat("a", 140),
		strings.Repeat("a", 141): "=6e816ec42ddb7baf8dc674b626a858bbffaf76b6f43c4b7ac94c82c9588c963b",
	} {
		if got := FileName(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

// TestFileNameProperties takes any bytes for a name, more than keys allow.
func TestFileNameProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOfN(rapid.Byte(), 1, 600).Draw(t, "name"))
		escaped := escape(name)
		if back, err := url.PathUnescape(escaped); err != nil || back != name {
			t.Fatalf("%q became %q, which is %q, %v", name, escaped, back, err)
		}
		if isDevice(escaped) {
			t.Fatalf("%q is a device", escaped)
		}
		got := FileName(name)
		if got == "" || len(got) > MaxName || strings.ToLower(got) != got || strings.Trim(got, ".") != got || got[0] == '-' {
			t.Fatalf("%q became %q", name, got)
		}
		for _, c := range []byte(got) {
			if c <= ' ' || c >= 0x7f || strings.IndexByte(`/\:*?"<>|`, c) >= 0 {
				t.Fatalf("%q became %q", name, got)
			}
		}
		if hashed := got[0] == '='; hashed != (len(escaped) > MaxName) {
			t.Fatalf("%q became %q", name, got)
		}
	})
}
