package session

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

var (
	start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	first = keyring.Key{ID: "one", Secret: &keyring.Secret{1}}
	other = keyring.Key{ID: "two", Secret: &keyring.Secret{2}}
)

func sample() *Session {
	id := NewID()
	return &Session{
		ID: id,
		Grant: cache.Grant{
			Workspace: "web", Read: []cache.Scope{"trusted", "branch/refs/heads/ä <b>&"}, Write: "branch/refs/heads/ä <b>&",
			Producer: cache.Producer{
				Kind: "ci", Provider: "github", Issuer: "https://issuer.example", Subject: "repo:acme/web", Session: id,
				Repository: "acme/web", RepositoryID: "456789", RunID: "17", ActorID: "9",
			},
		},
		Issuer: "https://issuer.example",
		Claims: map[string]any{
			"event_name": "push", "repository_id": "456789", "run_id": json.Number("17"), "big": json.Number("12345678901234567890"),
			"flag": true, "nothing": nil, "list": []any{"a", map[string]any{"b": "c"}},
		},
		Policy: "sha256:abc", Rule: "github push, another branch", Issued: start, Expires: start.Add(time.Hour),
	}
}

func mint(t testing.TB, s *Session, keys ...keyring.Key) string {
	t.Helper()
	text, err := Mint(keys, s)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestASessionComesBackAsItWas(t *testing.T) {
	for name, edit := range map[string]func(*Session){
		"whole":    func(*Session) {},
		"read":     func(s *Session) { s.Grant.Write, s.Grant.Read = "", []cache.Scope{"trusted"} },
		"bypass":   func(s *Session) { s.Grant.Write, s.Grant.Read = "", nil },
		"no rule":  func(s *Session) { s.Rule = "" },
		"a moment": func(s *Session) { s.Expires = s.Issued.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			want := sample()
			edit(want)
			text := mint(t, want, first)
			if found := regexp.MustCompile(Pattern).FindString("x=" + text + ";"); found != text {
				t.Errorf("secret scanners find %d of %d bytes", len(found), len(text))
			}
			got, err := Parse(keyring.Keys{first}, text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if id, err := PeekID(text); err != nil || id != want.ID {
				t.Errorf("peeked %q, %v", id, err)
			}
		})
	}
}

func TestIDs(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		id := NewID()
		if !IsID(id) || seen[id] {
			t.Fatalf("%q", id)
		}
		seen[id] = true
	}
	for _, wrong := range []string{"", "0", strings.Repeat("0", 31), strings.Repeat("0", 34), strings.Repeat("A", 32), strings.Repeat("g", 32)} {
		if IsID(wrong) {
			t.Errorf("took %q", wrong)
		}
	}
}

// Both keys are known while one takes over from the other, in every order in which replicas learn of it.
func TestRotation(t *testing.T) {
	byOld, byNew := mint(t, sample(), first, other), mint(t, sample(), other, first)
	for _, tt := range []struct {
		keys   keyring.Keys
		text   string
		expect error
	}{
		{keyring.Keys{first}, byOld, nil},
		{keyring.Keys{first, other}, byOld, nil},
		{keyring.Keys{other, first}, byOld, nil},
		{keyring.Keys{first, other}, byNew, nil},
		{keyring.Keys{other}, byNew, nil},
		{keyring.Keys{first}, byNew, ErrUnknownKey},
		{keyring.Keys{other}, byOld, ErrUnknownKey},
		{nil, byOld, ErrUnknownKey},
		// The name of a key with another secret.
		{keyring.Keys{{ID: "one", Secret: &keyring.Secret{9}}}, byOld, ErrForged},
	} {
		if _, err := Parse(tt.keys, tt.text); !errors.Is(err, tt.expect) {
			t.Errorf("%v: %v", tt.keys, err)
		}
	}
}

// Whatever single byte is changed, removed or added: nothing of it passes, not even in the bits that base64 leaves unused.
func TestTampering(t *testing.T) {
	text := mint(t, sample(), first)
	keys := keyring.Keys{first}
	try := func(wrong string) {
		t.Helper()
		if wrong == text {
			return
		}
		if _, err := Parse(keys, wrong); err == nil {
			t.Fatalf("took a changed token:\n%s\n%s", text, wrong)
		} else if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrForged) && !errors.Is(err, ErrUnknownKey) {
			t.Fatalf("%v, for a changed token", err)
		}
	}
	for i := range text {
		for bit := range 8 {
			try(text[:i] + string([]byte{text[i] ^ 1<<bit}) + text[i+1:])
		}
		for _, c := range []string{"", "A", "_", ".", "=", "\n", "\r", " "} {
			try(text[:i] + c + text[i+1:])
			try(text[:i] + c + text[i:])
		}
	}
	for _, end := range []string{"\n", "=", ".", "A", ".e30"} {
		try(text + end)
	}
	// Parts of another genuine token.
	a, b := strings.Split(text, "."), strings.Split(mint(t, sample(), first), ".")
	try(a[0] + "." + b[1] + "." + a[2])
	try(a[0] + "." + a[1] + "." + b[2])
	try(a[0] + ".." + a[2])
	try(a[0] + "." + a[1] + ".")
}

// sign makes a token around a payload of any kind.
func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, header map[string]any, data string) string {
	t.Helper()
	opts := &jose.SignerOptions{}
	for k, v := range header {
		opts = opts.WithHeader(jose.HeaderKey(k), v)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return Prefix + text
}

func TestOtherSignatures(t *testing.T) {
	data, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	long := make([]byte, 64)
	copy(long, first.Secret[:])
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for name, tt := range map[string]struct {
		text string
		want error
	}{
		"HS512":           {sign(t, jose.HS512, long, map[string]any{"kid": "one"}, string(data)), ErrMalformed},
		"none":            {Prefix + b64(`{"alg":"none","kid":"one"}`) + "." + b64(string(data)) + ".", ErrMalformed},
		"no kid":          {sign(t, jose.HS256, first.Secret[:], nil, string(data)), ErrUnknownKey},
		"another's kid":   {sign(t, jose.HS256, other.Secret[:], map[string]any{"kid": "one"}, string(data)), ErrForged},
		"kid of a number": {Prefix + b64(`{"alg":"HS256","kid":1}`) + "." + b64(string(data)) + "." + strings.Repeat("A", 43), ErrMalformed},
		"two kids":        {Prefix + b64(`{"alg":"HS256","kid":"one","kid":"one"}`) + "." + b64(string(data)) + "." + strings.Repeat("A", 43), ErrMalformed},
		"no header":       {Prefix + "." + b64(string(data)) + "." + strings.Repeat("A", 43), ErrMalformed},
		"JSON form":       {Prefix + `{"payload":"e30","protected":"e30","signature":""}`, ErrMalformed},
		"prefix alone":    {Prefix, ErrMalformed},
		"no prefix":       {strings.TrimPrefix(mint(t, sample(), first), Prefix), ErrMalformed},
		"another prefix":  {"bzr_" + strings.TrimPrefix(mint(t, sample(), first), Prefix), ErrMalformed},
		"huge":            {Prefix + strings.Repeat("A", MaxSize), ErrMalformed},
		"many dots":       {Prefix + strings.Repeat(".", 1000), ErrMalformed},
		"empty":           {"", ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(keyring.Keys{first}, tt.text); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// What is well signed but not what this release writes is refused whole.
func TestOtherPayloads(t *testing.T) {
	data, err := sample().encode()
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	replace := func(old, with string) string {
		if strings.Count(good, old) != 1 {
			t.Fatalf("%q is %d times in %s", old, strings.Count(good, old), good)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, data := range map[string]string{
		"a later version":   replace(`"v":1`, `"v":2`),
		"no version":        replace(`"v":1,`, ``),
		"an unknown field":  replace(`"v":1`, `"v":1,"only_on_sundays":true`),
		"unknown producer":  replace(`"kind":"ci"`, `"kind":"ci","planet":"x"`),
		"another type":      replace(`"workspace":"web"`, `"workspace":7`),
		"a bad workspace":   replace(`"workspace":"web"`, `"workspace":"Web"`),
		"no workspace":      replace(`"workspace":"web",`, ``),
		"a bad scope":       replace(`"read":["trusted",`, `"read":["everything",`),
		"a bad write scope": replace(`"write":"branch/`, `"write":"trusted/`),
		"no id":             replace(`"sid":"`, `"sid":"x`),
		"no policy":         replace(`"policy":"sha256:abc"`, `"policy":""`),
		"no issuer":         replace(`"iss":"https://issuer.example"`, `"iss":""`),
		"no end":            replace(fmt.Sprintf(`"exp":%d`, start.Add(time.Hour).Unix()), `"exp":0`),
		"trailing data":     good + "{}",
		"cut":               good[:len(good)-1],
		"no object":         `[]`,
		"null":              `null`,
		"nothing":           ``,
	} {
		t.Run(name, func(t *testing.T) {
			text := sign(t, jose.HS256, first.Secret[:], map[string]any{"kid": "one"}, data)
			if s, err := Parse(keyring.Keys{first}, text); !errors.Is(err, ErrVersion) && (data != "" || !errors.Is(err, ErrMalformed)) {
				t.Fatalf("got %+v, %v", s, err)
			}
		})
	}
}

func TestMintRefuses(t *testing.T) {
	if _, err := Mint(nil, sample()); !errors.Is(err, ErrNoKeys) {
		t.Errorf("without keys: %v", err)
	}
	large := sample()
	large.Claims["x"] = strings.Repeat("x", MaxSize)
	if _, err := Mint(keyring.Keys{first}, large); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large: %v", err)
	}
	for name, edit := range map[string]func(*Session){
		"no id":          func(s *Session) { s.ID = "" },
		"no workspace":   func(s *Session) { s.Grant.Workspace = "" },
		"a bad scope":    func(s *Session) { s.Grant.Write = "everything" },
		"a bad read":     func(s *Session) { s.Grant.Read[0] = "pr/\n" },
		"no policy":      func(s *Session) { s.Policy = "" },
		"no issuer":      func(s *Session) { s.Issuer = "" },
		"over at once":   func(s *Session) { s.Expires = s.Issued },
		"not to be JSON": func(s *Session) { s.Claims["f"] = func() {} },
	} {
		s := sample()
		edit(s)
		if text, err := Mint(keyring.Keys{first}, s); err == nil {
			t.Errorf("%s: made %s", name, text)
		}
	}
	// The largest that is made is read.
	for n := 5200; ; n++ {
		s := sample()
		s.Claims["x"] = strings.Repeat("x", n)
		text, err := Mint(keyring.Keys{first}, s)
		if errors.Is(err, ErrTooLarge) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(keyring.Keys{first}, text); err != nil {
			t.Fatalf("%d bytes: %v", len(text), err)
		}
	}
}

func TestPeekIDRefuses(t *testing.T) {
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	for _, wrong := range []string{"", Prefix, Prefix + "a.b.c", Prefix + b64("{}") + "." + b64("{}") + ".", Prefix + b64("{}") + "." + b64(`{"sid":"x"}`) + ".",
		Prefix + b64("{}") + "." + b64(`[]`) + ".", "bzr_" + strings.Repeat("0", 49)} {
		if id, err := PeekID(wrong); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %q, %v", wrong, id, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	// Each of the fuzzer's processes has to make the same one.
	fixed := sample()
	fixed.ID = strings.Repeat("0", 32)
	good := mint(f, fixed, first)
	for _, seed := range []string{"", Prefix, good, good + "\n", good[:len(good)-1], strings.ToUpper(good), mint(f, sample(), other),
		strings.Replace(good, ".", "..", 1), Prefix + "e30.e30.e30", sign(f, jose.HS256, first.Secret[:], map[string]any{"kid": "one"}, `{"v":1}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(keyring.Keys{first}, text)
		if err == nil {
			if text != good {
				t.Fatalf("took %q: %+v", text, s)
			}
			return
		}
		// The very texts, with nothing of what was presented.
		if !slices.Contains([]error{ErrMalformed, ErrForged, ErrUnknownKey}, err) && !errors.Is(err, ErrVersion) {
			t.Fatalf("got %v", err)
		}
		PeekID(text)
	})
}

// Behind a good signature, too, anything may stand: a mistake of another release, or of ours.
func FuzzPayload(f *testing.F) {
	good, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", "{}", "null", string(good), `{"v":1e0}`, `{"v":1,"claims":{"a":[[[[]]]]}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrVersion) {
				t.Fatalf("got %v", err)
			}
			return
		}
		again, err := s.encode()
		if err != nil {
			t.Fatalf("%s cannot be written again: %v", data, err)
		}
		back, err := decode(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(s, back, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
