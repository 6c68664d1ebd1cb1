package trust

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func TestGrants(t *testing.T) {
	for _, tt := range []struct {
		access Access
		read   []cache.Scope
		write  cache.Scope
	}{
		{Read, []cache.Scope{"trusted"}, ""},
		{Isolated, []cache.Scope{"trusted", "token/ID"}, "token/ID"},
		{Trusted, []cache.Scope{"trusted"}, "trusted"},
		{"admin", nil, ""}, // what a later release or a hand may have written into the ledger
	} {
		t.Run(string(tt.access), func(t *testing.T) {
			m := newMade("ci", "web", tt.access)
			a := newTestAuthenticator(t, Options{Source: &fakeSource{tokens: []Token{m.Token}}})
			got, err := a.Grant(t.Context(), m.bearer(), "")
			if err != nil {
				t.Fatal(err)
			}
			own := cache.Scope("token/" + m.ID)
			want := cache.Grant{Workspace: "web", Write: tt.write, Producer: cache.Producer{Kind: "token", TokenID: m.ID, TokenName: "ci"}}
			for _, s := range tt.read {
				if s == "token/ID" {
					s = own
				}
				want.Read = append(want.Read, s)
			}
			if want.Write == "token/ID" {
				want.Write = own
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatal(diff)
			}
			for _, s := range append(got.Read, got.Write) {
				if _, err := cache.ParseScope(string(s)); s != "" && err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// Every form of the header, for a token in every state.
func TestCredentials(t *testing.T) {
	source := &fakeSource{}
	record := func(name string, edit func(*Token)) made {
		m := newMade(name, "web", Trusted)
		if edit != nil {
			edit(&m.Token)
		}
		source.create(m.Token)
		return m
	}
	hour := time.Hour
	active := record("active", nil)
	lasting := record("lasting", func(t *Token) { t.Expires = start.Add(1) })
	expired := record("expired", func(t *Token) { t.Expires = start })
	longExpired := record("long expired", func(t *Token) { t.Expires = start.Add(-hour) })
	revoked := record("revoked", func(t *Token) { t.Revoked = start.Add(-hour) })
	both := record("revoked and expired", func(t *Token) { t.Expires, t.Revoked = start.Add(-hour), start.Add(-2*hour) })
	stranger := newMade("stranger", "web", Trusted)
	library := newMade("library", "library", Read)
	source.create(library.Token)
	a := newTestAuthenticator(t, Options{Source: source})

	swap := func(s string) string { return s[:14] + s[15:16] + s[14:15] + s[16:] }
	tests := []struct {
		name, header string
		workspace    cache.Workspace
		want         error
		secret       string
	}{
		{"active", active.bearer(), "", nil, active.text},
		{"active, its workspace named", active.bearer(), "web", nil, active.text},
		{"scheme in another case", "bEARER " + active.text, "", nil, active.text},
		{"several blanks", "  Bearer \t " + active.text + " \t", "", nil, active.text},
		{"a moment before the expiry", lasting.bearer(), "", nil, lasting.text},
		{"another known workspace named", active.bearer(), "library", ErrOtherWorkspace, active.text},
		{"default workspace named", active.bearer(), "default", ErrOtherWorkspace, active.text},

		{"no header", "", "", ErrNoCredential, ""},
		{"blank header", " \t ", "", ErrNoCredential, ""},
		{"bare Bearer", "Bearer", "", ErrNoCredential, ""},
		{"bare bearer", "bearer", "library", ErrNoCredential, ""},
		{"Bearer and blanks", "Bearer  \t ", "", ErrNoCredential, ""},

		{"expired this instant", expired.bearer(), "", ErrExpired, expired.text},
		{"expired", longExpired.bearer(), "", ErrExpired, longExpired.text},
		{"expired, another workspace named", longExpired.bearer(), "library", ErrExpired, longExpired.text},
		{"revoked", revoked.bearer(), "", ErrRevoked, revoked.text},
		{"revoked, another workspace named", revoked.bearer(), "library", ErrRevoked, revoked.text},
		{"revoked and expired", both.bearer(), "", ErrRevoked, both.text},
		{"forged", stranger.bearer(), "", ErrUnknown, stranger.text},
		{"forged, another workspace named", stranger.bearer(), "library", ErrUnknown, stranger.text},

		{"no scheme", active.text, "", ErrMalformed, active.text},
		{"Basic", "Basic " + active.text, "", ErrMalformed, active.text},
		{"Basic without more", "Basic", "", ErrMalformed, ""},
		{"another word", "Bearerx " + active.text, "", ErrMalformed, active.text},
		{"no blank", "Bearer" + active.text, "", ErrMalformed, active.text},
		{"colon", "Bearer: " + active.text, "", ErrMalformed, active.text},
		{"twice", "Bearer Bearer " + active.text, "", ErrMalformed, active.text},
		{"two tokens", active.bearer() + " " + active.text, "", ErrMalformed, active.text},
		{"comma", active.bearer() + ",", "", ErrMalformed, active.text},
		{"quoted", `Bearer "` + active.text + `"`, "", ErrMalformed, active.text},
		{"cut", "Bearer " + active.text[:TokenLength-1], "", ErrMalformed, active.text},
		{"cut in front", "Bearer " + active.text[1:], "", ErrMalformed, active.text},
		{"longer", active.bearer() + "x", "", ErrMalformed, active.text},
		{"upper case", "Bearer " + strings.ToUpper(active.text), "", ErrMalformed, strings.ToUpper(active.text)},
		{"mistyped", "Bearer " + swap(stableToken), "", ErrMalformed, swap(stableToken)},
		{"line break", active.bearer() + "\n", "", ErrMalformed, active.text},
		{"no-break space", "Bearer\u00a0" + active.text, "", ErrMalformed, active.text},
		{"NUL", active.bearer() + "\x00", "", ErrMalformed, active.text},
		{"unexpanded variable", "Bearer $NX_TOKEN", "", ErrMalformed, "$NX_TOKEN"},
		{"somebody else's secret", "Bearer ghp_abcdefghijklmnopqrstuvwxyz0123456789", "", ErrMalformed, "ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
		{"hash for the token", "Bearer " + active.Hash.String(), "", ErrMalformed, active.Hash.String()},
		{"id for the token", "Bearer " + active.ID, "", ErrMalformed, ""},
		{"huge", "Bearer " + strings.Repeat("A", MaxAuthorization), "", ErrMalformed, strings.Repeat("A", 53)},
		{"huge and blank", strings.Repeat(" ", MaxAuthorization+1), "", ErrMalformed, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			grant, err := a.Grant(t.Context(), tt.header, tt.workspace)
			if tt.want == nil {
				if err != nil || grant.Write != cache.Trusted {
					t.Fatalf("got %+v, %v", grant, err)
				}
				return
			}
			wantDenial(t, err, tt.want, tt.secret)
			if diff := cmp.Diff(cache.Grant{}, grant); diff != "" {
				t.Fatalf("denied, and yet granted: %s", diff)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	source := &fakeSource{}
	a := newTestAuthenticator(t, Options{Source: source})
	if !a.Open() {
		t.Fatal("without any token the doors are closed")
	}
	want := cache.Grant{Workspace: "default", Read: []cache.Scope{"trusted"}, Write: "trusted", Producer: cache.Producer{Kind: "anonymous"}}
	m := newMade("ci", "default", Read)
	for _, header := range []string{"", "Bearer", "Basic xyz", m.bearer(), strings.Repeat("x", 1<<20)} {
		got, err := a.Grant(t.Context(), header, "")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Fatal(err, diff)
		}
	}
	if _, err := a.Grant(t.Context(), "", "default"); err != nil {
		t.Fatal(err)
	}
	_, err := a.Grant(t.Context(), "", "web")
	wantDenial(t, err, ErrOtherWorkspace)

	// An upload that began while the server was open does not end after it was closed.
	if err := a.Valid(t.Context(), "", "", want); err != nil {
		t.Fatal(err)
	}
	source.create(m.Token)
	a.look(t.Context())
	wantDenial(t, a.Valid(t.Context(), "", "", want), ErrNoCredential)
	_, err = a.Grant(t.Context(), "", "")
	wantDenial(t, err, ErrNoCredential)
	if a.Open() {
		t.Fatal("open although there is a token")
	}
}

func TestNothingReopens(t *testing.T) {
	m := newMade("ci", "default", Trusted)
	for name, edit := range map[string]func(*Token){
		"revoked": func(t *Token) { t.Revoked = start },
		"expired": func(t *Token) { t.Expires = start },
	} {
		t.Run(name, func(t *testing.T) {
			token := m.Token
			edit(&token)
			if a := newTestAuthenticator(t, Options{Source: &fakeSource{tokens: []Token{token}}}); a.Open() {
				t.Fatal("open although there was a token")
			}
		})
	}
	t.Run("source forgets", func(t *testing.T) {
		source := &fakeSource{tokens: []Token{m.Token}}
		a := newTestAuthenticator(t, Options{Source: source})
		grant, err := a.Grant(t.Context(), m.bearer(), "")
		if err != nil {
			t.Fatal(err)
		}
		source.change(func(s *fakeSource) { s.tokens, s.version = nil, 7 })
		a.look(t.Context())
		if a.Open() {
			t.Fatal("reopened")
		}
		wantDenial(t, a.Valid(t.Context(), m.bearer(), "", grant), ErrUnknown)
	})
}

func TestValid(t *testing.T) {
	now := start
	source := &fakeSource{}
	first, second := newMade("first", "web", Isolated), newMade("second", "web", Trusted)
	second.Expires = start.Add(time.Minute)
	source.create(first.Token)
	source.create(second.Token)
	a := newTestAuthenticator(t, Options{Source: source, Now: func() time.Time { return now }})
	var grants []cache.Grant
	for _, m := range []made{first, second} {
		grant, err := a.Grant(t.Context(), m.bearer(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Valid(t.Context(), m.bearer(), "", grant); err != nil {
			t.Fatal(err)
		}
		grants = append(grants, grant)
	}
	source.revoke(first.ID, now)
	a.look(t.Context())
	wantDenial(t, a.Valid(t.Context(), first.bearer(), "", grants[0]), ErrRevoked, first.text)
	if err := a.Valid(t.Context(), second.bearer(), "", grants[1]); err != nil {
		t.Fatal("another token's revocation:", err)
	}
	now = second.Expires
	wantDenial(t, a.Valid(t.Context(), second.bearer(), "", grants[1]), ErrExpired, second.text)
	wantDenial(t, a.Valid(t.Context(), newMade("x", "web", Trusted).bearer(), "", cache.Grant{}), ErrUnknown)
}

// TestValidElsewhere: an upload that began where its credential is no longer good for is not kept, though the credential is good for another place.
func TestValidElsewhere(t *testing.T) {
	open := testSettings
	open.PublicRead = true
	everywhere := func(r *fakeRules) {
		r.settings["default"], r.settings["web"] = open, open
	}
	b := newBench(t, nil, nil)
	anonymous, err := b.Grant(t.Context(), "", "default")
	if err != nil || anonymous.Write != cache.Trusted {
		t.Fatal(anonymous, err)
	}
	b.setRules(newRules("p", everywhere))
	wantDenial(t, b.Valid(t.Context(), "", "default", anonymous), ErrNoCredential)

	identity := b.identity("kind", "main")
	grant := b.mustGrant(identity)
	for name, edit := range map[string]func(*cache.Grant){
		"another workspace": func(g *cache.Grant) { g.Workspace = "library" },
		"another scope":     func(g *cache.Grant) { g.Write = "pr/17" },
	} {
		began := grant
		edit(&began)
		if err := b.valid(identity, began); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.valid(identity, grant); err != nil {
		t.Error(err)
	}
}

func TestFixedTokens(t *testing.T) {
	fixed := newMade("fixed", "web", Trusted)
	fixed.Created = time.Time{}
	pass := func(a *Authenticator) error {
		_, err := a.Grant(t.Context(), fixed.bearer(), "")
		return err
	}
	t.Run("alone", func(t *testing.T) {
		a := newTestAuthenticator(t, Options{Fixed: []Token{fixed.Token}, Workspaces: []cache.Workspace{"library"}})
		if err := pass(a); err != nil || a.Open() {
			t.Fatal(err, a.Open())
		}
		if got := a.Workspaces(); !slices.Equal(got, []cache.Workspace{"default", "library", "web"}) {
			t.Fatal(got)
		}
		if !a.Known("library") || !a.Known("default") || a.Known("webb") || a.Known("") {
			t.Fatal("wrong workspaces known")
		}
	})
	t.Run("revoked in the source", func(t *testing.T) {
		recorded := fixed.Token
		recorded.Revoked = start
		wantDenial(t, pass(newTestAuthenticator(t, Options{Fixed: []Token{fixed.Token}, Source: &fakeSource{tokens: []Token{recorded}}})), ErrRevoked)
	})
	t.Run("narrower in the source", func(t *testing.T) {
		recorded := fixed.Token
		recorded.Access, recorded.Expires = Read, start.Add(1)
		a := newTestAuthenticator(t, Options{Fixed: []Token{fixed.Token}, Source: &fakeSource{tokens: []Token{recorded}}})
		if grant, err := a.Grant(t.Context(), fixed.bearer(), ""); err != nil || grant.Write != "" {
			t.Fatal(grant, err)
		}
	})
	t.Run("narrower in the configuration", func(t *testing.T) {
		narrow := fixed.Token
		narrow.Expires = start
		wantDenial(t, pass(newTestAuthenticator(t, Options{Fixed: []Token{narrow}, Source: &fakeSource{tokens: []Token{fixed.Token}}})), ErrExpired)
		recorded := fixed.Token
		recorded.Expires = start.Add(time.Hour)
		for _, both := range [][2]Token{{narrow, recorded}, {recorded, narrow}} {
			wantDenial(t, pass(newTestAuthenticator(t, Options{Fixed: both[:1], Source: &fakeSource{tokens: both[1:]}})), ErrExpired)
		}
		narrow = fixed.Token
		narrow.Access = Isolated
		a := newTestAuthenticator(t, Options{Fixed: []Token{narrow}, Source: &fakeSource{tokens: []Token{fixed.Token}}})
		if grant, err := a.Grant(t.Context(), fixed.bearer(), ""); err != nil || grant.Write == cache.Trusted {
			t.Fatal(grant, err)
		}
	})

	for name, edit := range map[string]func(*Token) []Token{
		"twice":                                  func(t *Token) []Token { return []Token{*t, *t} },
		"no hash":                                func(t *Token) []Token { t.Hash = TokenHash{}; return []Token{*t} },
		"another's id":                           func(t *Token) []Token { t.ID = "0123456789ab"; return []Token{*t} },
		"no access":                              func(t *Token) []Token { t.Access = ""; return []Token{*t} },
		"bad workspace":                          func(t *Token) []Token { t.Workspace = "Web"; return []Token{*t} },
		"no name":                                func(t *Token) []Token { t.Name = ""; return []Token{*t} },
		"two workspaces":                         func(t *Token) []Token { t.Workspace = "library"; return []Token{*t} },
		"somebody's":                             func(t *Token) []Token { t.Access, t.Developer = Isolated, "jo"; return []Token{*t} },
		"a developer who writes trusted entries": func(t *Token) []Token { t.Developer = "jo"; return []Token{*t} },
		"a developer without a sound name":       func(t *Token) []Token { t.Access, t.Developer = Isolated, "jo/../x"; return []Token{*t} },
	} {
		t.Run(name, func(t *testing.T) {
			token := fixed.Token
			_, err := NewAuthenticator(t.Context(), Options{
				Fixed: edit(&token), Source: &fakeSource{tokens: []Token{fixed.Token}}, Logger: new(logBook).logger(),
			})
			if err == nil {
				t.Fatal("taken")
			}
		})
	}
}

func TestSourceFailsAtTheStart(t *testing.T) {
	trouble := errors.New("disk on fire")
	if _, err := NewAuthenticator(t.Context(), Options{Source: &fakeSource{err: trouble}}); !errors.Is(err, trouble) {
		t.Fatalf("got %v", err)
	}
}

func TestParseTokenName(t *testing.T) {
	text, hash := NewToken()
	for _, good := range []string{"ci", "CI-main", "jo@laptop.local", "12", "0_", strings.Repeat("x", MaxTokenName), "0123456789xy"} {
		if _, err := ParseTokenName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", " ci", "ci ", "a b", "-ci", ".ci", "@ci", "a\nb", "a\x1b[31m", "a\u202eb", "jürgen", "a/b", "\xff",
		strings.Repeat("x", MaxTokenName+1), hash.ID(), text, "x" + text} {
		_, err := ParseTokenName(bad)
		if err == nil {
			t.Errorf("took %q", bad)
			continue
		}
		wantNoSecret(t, err.Error(), text)
	}
}

func FuzzAuthorization(f *testing.F) {
	m := newMade("ci", "web", Trusted)
	for _, seed := range []string{"", "Bearer", "Bearer ", m.bearer(), "bearer\t" + m.text + " ", "Basic " + m.text, "Bearer\x00" + m.text, m.text} {
		f.Add(seed)
	}
	a, err := NewAuthenticator(f.Context(), Options{
		Fixed: []Token{m.Token}, Now: func() time.Time { return start }, Logger: new(logBook).logger(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, header string) {
		_, err := a.Grant(t.Context(), header, "")
		passes := len(header) <= MaxAuthorization && len(header) > len(m.text) &&
			strings.EqualFold(strings.Trim(header[:strings.Index(header+m.text, m.text)], " \t"), "Bearer") &&
			strings.HasSuffix(strings.TrimRight(header, " \t"), m.text)
		if (err == nil) != passes {
			t.Fatalf("%q: %v", header, err)
		}
		if _, ok := errors.AsType[*DeniedError](err); err != nil && !ok {
			t.Fatalf("got %T", err)
		}
	})
}
