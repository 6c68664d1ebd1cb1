package policy

import (
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// fixtures are the claims of all examples, as JSON.
func fixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(examples + "claims/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no claims: %v", err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		all[filepath.Base(filepath.Dir(f))+"/"+filepath.Base(f)] = []byte(read(t, f))
	}
	return all
}

// seeds adds the files of TestLoad of one kind.
func seeds(f *testing.F, name string) {
	cases, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range cases {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if archive.Files[0].Name == name {
			f.Add(archive.Files[0].Data)
		}
	}
}

// inWords says whether an error is [Problems] that a terminal can show.
func inWords(t *testing.T, err error) {
	problems, ok := errors.AsType[Problems](err)
	if !ok || len(problems) == 0 {
		t.Fatalf("an error without problems: %v", err)
	}
	for _, p := range problems {
		if p.What == "" || p.Hint == "" || strings.ContainsAny(p.Error(), "\n\r\x1b") {
			t.Errorf("a problem in these words: %q", p.Error())
		}
	}
}

// FuzzParse says of any file: it is refused in words, or a policy that judges all claims soundly and is the same when it is read again.
func FuzzParse(f *testing.F) {
	seeds(f, "policy.yaml")
	f.Add([]byte(read(f, examples+"policy.yaml")))
	f.Add([]byte(read(f, examples+"policy-oidc.yaml")))
	all := fixtures(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("p.yaml", data)
		if err != nil {
			inWords(t, err)
			return
		}
		again, err := Parse("other.yaml", append([]byte("# a comment\n"), data...))
		if err == nil && again.Fingerprint() != p.Fingerprint() {
			t.Error("a comment changes what the policy means")
		}
		p.Warnings()
		for _, w := range p.Workspaces() {
			if s, ok := p.Settings(w); !ok || s.SessionTTL <= 0 || s.SessionTTL > s.SessionMax {
				t.Errorf("%s has %+v", w, s)
			}
		}
		for name, text := range all {
			claims, err := ParseClaims(text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			claims["aud"] = p.Audience()
			for _, w := range append(p.Workspaces(), "") {
				sound(t, p, p.JudgeClaims(claims, w))
			}
		}
	})
}

// mayBeTrusted is what the tables say of trusted, in a few lines that share nothing with the rules: claims that are not all of this must never write trusted entries.
func mayBeTrusted(iss string, c map[string]any) bool {
	one := func(name string, values ...string) bool {
		s, ok := c[name].(string)
		return ok && slices.Contains(values, s)
	}
	switch iss {
	case "https://token.actions.githubusercontent.com":
		return one("repository_id", "456789") && one("repository_owner_id", "123456") && one("ref_type", "branch") && one("ref", "refs/heads/main") &&
			one("event_name", "push", "schedule") && one("ref_protected", "true") && one("runner_environment", "github-hosted")
	case "https://gitlab.example.com":
		return one("project_id", "77") && one("job_project_id", "77") && one("ref_type", "branch") && one("ref_path", "refs/heads/main") && one("pipeline_source", "push", "schedule") && one("ref_protected", "true")
	}
	return false
}

// FuzzJudge says of any claims: they are judged soundly, and trusted only if the oracle says so, too.
func FuzzJudge(f *testing.F) {
	for _, text := range fixtures(f) {
		f.Add(text)
	}
	f.Add([]byte(`{"iss":"https://gitlab.example.com","job_project_id":"77","project_id":"77","ref_path":"\ud800"}`))
	p := parse(f, read(f, examples+"policy.yaml"))
	f.Fuzz(func(t *testing.T, data []byte) {
		claims, err := ParseClaims(data)
		if err != nil {
			return
		}
		iss, _ := claims["iss"].(string)
		for _, w := range []cache.Workspace{"", "web", "library", "nobody"} {
			d := p.Judge(Identity{Issuer: iss, Claims: claims}, w)
			sound(t, p, d)
			if (slices.Contains(d.Grant.Read, cache.Trusted) || d.Grant.Write != "") && !d.Allowed {
				t.Errorf("denied with %+v", d.Grant)
			}
			if d.Grant.Write == cache.Trusted && !mayBeTrusted(iss, claims) {
				t.Errorf("trusted: %s", data)
			}
			if _, err := json.Marshal(d); err != nil {
				t.Error(err)
			}
			var b strings.Builder
			if err := d.Explain(&b); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzTests says of any file of tests: it is refused in words, or can be run.
func FuzzTests(f *testing.F) {
	seeds(f, "tests.yaml")
	f.Add([]byte(read(f, examples+"policy-test.yaml")))
	p := parse(f, read(f, examples+"policy.yaml"))
	push := []byte(read(f, examples+"claims/github/push-main.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tests, err := ParseTests("tests.yaml", data)
		if err != nil {
			inWords(t, err)
			return
		}
		for _, r := range tests.Run(p, func(string) ([]byte, error) { return push, nil }) {
			if r.Name == "" || r.Line < 1 {
				t.Errorf("a result without name or line: %+v", r)
			}
		}
	})
}

// TestForeignIdsGetNothing is the property that no claims with the ids of others ever get a grant, whatever else they say.
func TestForeignIdsGetNothing(t *testing.T) {
	p := parse(t, read(t, examples+"policy.yaml"))
	bases := map[string]map[string]any{}
	values := []any{"", "true", "false", "branch", "tag", "push", "schedule", "merge_request_event", "refs/heads/main", "refs/tags/v1", "refs/pull/1/merge", json.Number("1"), true, nil, []any{}}
	for name := range fixtures(t) {
		if !strings.HasPrefix(name, "oidc/") {
			bases[name] = fixture(t, strings.TrimSuffix(name, ".json"))
		}
	}
	names := slices.Sorted(maps.Keys(bases))
	// Some of them are trusted as they are, or the property would say little. Whether the drawn ones are is left to chance.
	if !slices.ContainsFunc(names, func(name string) bool {
		iss, _ := bases[name]["iss"].(string)
		return p.Judge(Identity{Issuer: iss, Claims: bases[name]}, "").Grant.Write == cache.Trusted
	}) {
		t.Fatal("none of the claims is trusted as it stands")
	}
	rapid.Check(t, func(rt *rapid.T) {
		claims := copyOf(bases[rapid.SampledFrom(names).Draw(rt, "claims")]).(map[string]any)
		all := slices.Sorted(maps.Keys(claims))
		for range rapid.IntRange(0, 4).Draw(rt, "changes") {
			name := rapid.SampledFrom(all).Draw(rt, "name")
			switch rapid.IntRange(0, 3).Draw(rt, "change") {
			case 0:
				delete(claims, name)
			case 1:
				claims[name] = rapid.SampledFrom(values).Draw(rt, "value")
			case 2:
				claims[name] = rapid.String().Draw(rt, "text")
			case 3:
				claims[name] = claims[rapid.SampledFrom(all).Draw(rt, "of")]
			}
		}
		iss := rapid.SampledFrom([]string{"https://token.actions.githubusercontent.com", "https://gitlab.example.com"}).Draw(rt, "issuer")
		d := p.Judge(Identity{Issuer: iss, Claims: claims}, rapid.SampledFrom([]cache.Workspace{"", "web", "library"}).Draw(rt, "named"))
		if d.Grant.Write == cache.Trusted && !mayBeTrusted(iss, claims) {
			rt.Fatalf("trusted: %v", claims)
		}
		github := claims["repository_id"] == "456789" && claims["repository_owner_id"] == "123456"
		job, there := claims["job_project_id"]
		gitlab := job == "77" || !there && claims["project_id"] == "77"
		ours := github
		if iss == "https://gitlab.example.com" {
			ours = gitlab
		}
		if d.Allowed && !ours {
			rt.Fatalf("a grant for somebody else: %v", claims)
		}
	})
}
