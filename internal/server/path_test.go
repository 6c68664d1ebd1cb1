package server

import (
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct {
		path         string
		ok           bool
		prefix, hash string
	}{
		{"/v1/cache/12777289511367993887", true, "", "12777289511367993887"},
		{"//v1/cache/1", true, "", "1"},
		{"/v1//cache///1", true, "", "1"},
		{"/team-a/v1/cache/1", true, "team-a", "1"},
		{"/team-a//v1/cache/1", true, "team-a", "1"},
		{"/any/long/prefix/web/v1/cache/1", true, "web", "1"},
		{"/v1/cache/v1/cache/1", true, "cache", "1"},
		{"/v1/cache/", true, "", ""},
		{"/v1/cache/a%2fb", true, "", "a%2fb"},
		{"/%77eb/v1/cache/1", true, "%77eb", "1"},
		{"/v1/cache", false, "", ""},
		{"/v1/cache/1/", false, "", ""},
		{"/v1/cache/1/2", false, "", ""},
		{"/v2/cache/1", false, "", ""},
		{"/v1/Cache/1", false, "", ""},
		{"/xv1/cache/1", false, "", ""},
		{"/cache/1", false, "", ""},
		{"/", false, "", ""},
		{"", false, "", ""},
		{"*", false, "", ""},
	} {
		got, ok := parseTarget(c.path)
		if ok != c.ok || ok && got != (target{c.prefix, c.hash}) {
			t.Errorf("parseTarget(%q) = %+v, %v; want %q, %q, %v", c.path, got, ok, c.prefix, c.hash, c.ok)
		}
	}
}

func TestOnlyKnownWorkspacesAreNamed(t *testing.T) {
	known := func(w cache.Workspace) bool { return w == "web" || w == "Web" }
	for prefix, want := range map[string]cache.Workspace{
		"web": "web", "": "", "other": "", "Web": "", "%77eb": "", "..": "", "web ": "",
	} {
		if got := (target{prefix: prefix}).workspace(known); got != want {
			t.Errorf("prefix %q names workspace %q, want %q", prefix, got, want)
		}
	}
}

// FuzzTarget: whatever the path, what is taken for a hash and passes its check is a plain name, and stands at the path's end.
func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"/v1/cache/1", "//v1/cache/1", "/w/v1/cache/a_B-9", "/v1/cache/../../etc", "/v1/cache/%2e", "/v1/cache/a?b", "/\x00/v1/cache/1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		target, ok := parseTarget(path)
		if !ok {
			return
		}
		if !strings.HasSuffix(path, "/"+target.hash) {
			t.Fatalf("hash %q is not the end of %q", target.hash, path)
		}
		hash, err := cache.ParseHash(target.hash)
		if err != nil {
			return
		}
		if strings.ContainsAny(string(hash), "/\\.%\x00 :") || len(hash) > cache.MaxHash {
			t.Fatalf("%q passed for a hash", hash)
		}
		if strings.ContainsAny(target.prefix, "/") {
			t.Fatalf("prefix %q is more than a segment", target.prefix)
		}
	})
}
