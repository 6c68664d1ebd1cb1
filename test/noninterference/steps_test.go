package noninterference

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// action is a kind of step.
type action string

const (
	read     action = "read"     // GET, or HEAD
	upload   action = "upload"   // PUT of a whole artifact
	begin    action = "begin"    // PUT of the first half of one; the rest follows when the history says so
	finish   action = "finish"   // the second half
	cut      action = "cut"      // the client leaves before the second half
	exchange action = "exchange" // a CI's token for a session
	odd      action = "odd"      // a method that artifacts do not have

	// What those do who run the server. These steps are in every run.
	pass   action = "pass"   // time passes
	reload action = "reload" // another policy
	revoke action = "revoke" // of a static token, or of a run, actor, session or subject
	lift   action = "lift"   // of the last revocation of an identity
	evict  action = "evict"  // an entry is removed
	purge  action = "purge"  // all that somebody wrote is removed

	// What somebody does who has the disk or the bucket, but not the server's keys.
	tamper action = "tamper"
)

// credential says which of his credentials somebody presents.
type credential string

const (
	usual    credential = ""                         // a static token; a session, after an exchange if he has none that is good; his CI's token, if that is his way
	kept     credential = "a session kept for long"  // whatever session he has, be it expired
	raw      credential = "his CI's own token"       // GitHub's are refused as a bearer
	spent    credential = "a CI's token of before"   // that was exchanged before
	none     credential = "no credential"            //
	bare     credential = "a bare Bearer"            //
	flipped  credential = "a tampered credential"    // one character is another one
	rewrites credential = "a rewritten credential"   // its payload says trusted now
	longer   credential = "a credential with a tail" // something was pasted to it
	shorter  credential = "a cut credential"         //
)

// good reports whether the credential is his own, as he got it.
func (c credential) good() bool { return c == usual || c == kept || c == raw || c == spent }

// content is what an upload brings.
type content string

const (
	whole     content = ""
	torn      content = "a torn archive"
	escaping  content = "an archive that leaves its directory"
	twoCodes  content = "an archive with two results"
	tooShort  content = "fewer bytes than announced"
	tooLong   content = "more bytes than announced"
	unlengthy content = "no length"
)

// trick is a path for a hash, and what it names.
type trick struct {
	// path is a template: %w is the workspace of who asks, %o another one, %h the hash.
	path  string
	names naming
}

type naming int

const (
	namesNone    naming = iota // no workspace: the credential decides
	namesOwn                   // the workspace of who asks
	namesOther                 // one that is not his
	namesNothing               // no artifact at all
)

// plain are the paths that clients use, and tricks those that they do not.
var (
	plain  = []trick{{"/v1/cache/%h", namesNone}, {"/%w/v1/cache/%h", namesOwn}, {"//v1/cache/%h", namesNone}, {"/prefix/%w/v1/cache/%h", namesOwn}}
	tricks = []trick{
		{"/%o/v1/cache/%h", namesOther},
		{"/%w/%o/v1/cache/%h", namesOther},
		{"/%o/%w/v1/cache/%h", namesOwn},
		{"/v1/cache/%o/v1/cache/%h", namesOther},
		{"/v1/cache/../../%o/v1/cache/%h", namesOther},
		{"/%w%2F%o/v1/cache/%h", namesNone},
		{"/%o%00/v1/cache/%h", namesNone},
		{"/trusted/v1/cache/%h", namesNone},
		{"/%w/trusted/v1/cache/%h", namesNone},
		{"/WEB/v1/cache/%h", namesNone},
		{"/v1/cache/%h?workspace=%o&scope=trusted", namesNone},
		{"/%w/v1/cache/%h?token=x;scope=trusted", namesOwn},
		{"/v1/cache/trusted%2F%h", namesNothing},
		{"/v1/cache/%h%2e", namesNothing},
		{"/v1/cache/%h/", namesNothing},
		{"/v1/cache/%h;trusted", namesNothing},
		{"/v1/cache/trusted/%h", namesNothing},
		{"/V1/Cache/%h", namesNothing},
		{"/v1%2Fcache%2F%h", namesNothing},
	}
)

// hostile are headers that mean nothing here, and must go on to.
var hostile = [][2]string{
	{"X-Scope", "trusted"}, {"X-Bezoar-Scope", "trusted"}, {"X-Cache-Scope", "trusted"}, {"X-Workspace", "library"}, {"X-Bezoar-Workspace", "library"},
	{"X-Original-URL", "/library/v1/cache/1"}, {"X-Rewrite-URL", "/v1/cache/1"}, {"X-HTTP-Method-Override", "PUT"},
	{"X-Forwarded-For", "127.0.0.1"}, {"X-Forwarded-User", "admin"}, {"X-Forwarded-Prefix", "/library"}, {"X-Remote-User", "admin"},
	{"X-GitHub-Ref", "refs/heads/main"}, {"Cookie", "session=trusted"}, {"Authorization", "Bearer trusted"}, {"Proxy-Authorization", "Bearer trusted"},
	{"Range", "bytes=0-3"}, {"If-None-Match", "*"}, {"Expect", "200-ok"}, {"Trailer", "X-Scope"}, {"Content-Encoding", "identity"},
}

// step is one thing that happens. All of it is drawn before anything happens, so that a history can be told, and run more than once.
type step struct {
	do     action
	who    *principal
	with   credential
	hash   cache.Hash
	trick  trick
	extra  [2]string
	head   bool
	brings content
	fault  fault

	after  time.Duration        // of pass
	policy int                  // of reload
	kind   trust.RevocationKind // of revoke, if who is no static token
	other  *principal           // of tamper: whose entry is put in the place of the one of who
	swap   string               // of tamper
	from   cache.Hash           // of tamper
}

func (s step) String() string {
	b := new(strings.Builder)
	switch s.do {
	case pass:
		return fmt.Sprintf("%v pass", s.after)
	case reload:
		return fmt.Sprintf("the policy is %s", policyNames[s.policy])
	case revoke:
		return fmt.Sprintf("revoke %s of %v", s.kind, s.who)
	case lift:
		return "lift the last revocation"
	case evict:
		return fmt.Sprintf("evict what %v has under %s", s.who, s.hash)
	case purge:
		return fmt.Sprintf("purge what %v wrote", s.who)
	case tamper:
		return fmt.Sprintf("somebody with the disk: %s (entry of %v under %s, for that of %v under %s)", s.swap, s.other, s.from, s.who, s.hash)
	}
	fmt.Fprintf(b, "%v: %s", s.who, s.do)
	if s.head {
		b.WriteString(" (HEAD)")
	}
	if s.do != exchange {
		fmt.Fprintf(b, " %s", strings.NewReplacer("%w", string(s.who.workspace), "%o", string(otherWorkspace(s.who.workspace)), "%h", string(s.hash)).Replace(s.trick.path))
	}
	if s.brings != whole {
		fmt.Fprintf(b, ", %s", s.brings)
	}
	if s.with != usual {
		fmt.Fprintf(b, ", with %s", s.with)
	}
	if s.extra[0] != "" {
		fmt.Fprintf(b, ", %s: %s", s.extra[0], s.extra[1])
	}
	if s.fault != noFault {
		fmt.Fprintf(b, ", while %s", s.fault)
	}
	return b.String()
}

// GoString is what rapid prints.
func (s step) GoString() string { return s.String() }

func (s step) method() string {
	switch {
	case s.do == odd:
		return http.MethodDelete
	case s.do == read && s.head:
		return http.MethodHead
	case s.do == read:
		return http.MethodGet
	}
	return http.MethodPut
}

var policyNames = [variants]string{ordinary: "the ordinary one", moved: "the one with another trusted branch", tight: "the tight one", shrunk: "the one without the library"}

func otherWorkspace(w cache.Workspace) cache.Workspace {
	if w == web {
		return library
	}
	return web
}

// storage is where entries are kept.
type storage int

const (
	inMemory storage = iota
	onFiles
)

// history is what happens, and to whom it matters.
type history struct {
	steps []step
	// stay are the groups whose steps are in both runs, the trusted one among them.
	stay map[string]bool
	// real says that tokens are signed and verified in earnest; else something in their form is taken at its word, which is faster.
	real bool
	// where is where the entries are kept.
	where storage
}

// isKept reports whether a step is in the run without the others.
func (h *history) isKept(s step) bool {
	switch s.do {
	case pass, reload, revoke, lift, evict, purge:
		return true
	case tamper:
		return false
	}
	return h.stay[s.who.group]
}

func (h *history) String() string {
	b := new(strings.Builder)
	var groups []string
	for g := range h.stay {
		groups = append(groups, g)
	}
	slices.Sort(groups)
	fmt.Fprintf(b, "compared are the answers to: %s (their steps have a *)\n", strings.Join(groups, "; "))
	for i, s := range h.steps {
		mark := " "
		if h.isKept(s) {
			mark = "*"
		}
		fmt.Fprintf(b, "%s %3d  %v\n", mark, i, s)
	}
	return b.String()
}

var hashes = []cache.Hash{"1", "11", "aB", "Ab", "4503599627370497", "x_-9"}

// drawHistory makes up a history. A few people and a few hashes are enough for them to get into each other's way.
func drawHistory(t *rapid.T, principals []*principal, where storage) *history {
	h := &history{stay: map[string]bool{trusted: true}, where: where}
	h.real = rapid.IntRange(0, 7).Draw(t, "real tokens") == 7
	var clean, others []*principal
	for _, p := range principals {
		if p.group == trusted {
			clean = append(clean, p)
		} else {
			others = append(others, p)
		}
	}
	var cast []*principal
	for range rapid.IntRange(1, 3).Draw(t, "trusted people") {
		cast = append(cast, rapid.SampledFrom(clean).Draw(t, "trusted"))
	}
	for range rapid.IntRange(1, 5).Draw(t, "other people") {
		n := rapid.IntRange(0, len(others)-1).Draw(t, "other")
		if last := slices.Index(others, cast[len(cast)-1]); last >= 0 && rapid.Bool().Draw(t, "alike") {
			n = (last + 1) % len(others) // those who look alike stand beside each other
		}
		p := others[n]
		cast = append(cast, p)
		if rapid.IntRange(0, 3).Draw(t, "stays") == 3 {
			h.stay[p.group] = true
		}
	}
	steps := stepOf(cast, rapid.SliceOfNDistinct(rapid.SampledFrom(hashes), 1, 3, rapid.ID).Draw(t, "hashes"))
	t.Repeat(map[string]func(*rapid.T){"step": func(t *rapid.T) { h.steps = append(h.steps, steps.Draw(t, "step")) }})
	return h
}

// weighted are the actions, each as often as it is wanted.
var weighted = slices.Concat(
	slices.Repeat([]action{read}, 12), slices.Repeat([]action{upload}, 12), slices.Repeat([]action{begin}, 3), slices.Repeat([]action{finish}, 3),
	[]action{cut, exchange, exchange, odd, pass, pass, reload, revoke, lift, evict, evict, purge, tamper, tamper})

func stepOf(cast []*principal, hashes []cache.Hash) *rapid.Generator[step] {
	who, hash := rapid.SampledFrom(cast), rapid.SampledFrom(hashes)
	do := rapid.SampledFrom(weighted)
	var begun []*principal // those whose upload may be under way
	return rapid.Custom(func(t *rapid.T) step {
		s := step{do: do.Draw(t, "do"), trick: plain[0]}
		switch s.do {
		case pass:
			s.after = rapid.SampledFrom(passes).Draw(t, "after")
			return s
		case reload:
			s.policy = rapid.IntRange(0, variants-1).Draw(t, "policy")
			return s
		case lift:
			return s
		}
		s.who = who.Draw(t, "who")
		switch s.do {
		case begin:
			begun = append(begun, s.who)
		case finish, cut:
			if len(begun) > 0 {
				s.who, begun = begun[0], begun[1:]
			}
		case revoke:
			s.kind = rapid.SampledFrom(trust.RevocationKinds[:]).Draw(t, "kind")
			return s
		case purge:
			return s
		case tamper:
			s.other, s.hash, s.from = who.Draw(t, "other"), hash.Draw(t, "hash"), hash.Draw(t, "from")
			s.swap = rapid.SampledFrom(swaps).Draw(t, "swap")
			return s
		}
		s.hash = hash.Draw(t, "hash")
		if s.do == evict {
			return s
		}
		s.head = s.do == read && rapid.IntRange(0, 7).Draw(t, "head") == 7
		s.trick = rapid.SampledFrom(plain).Draw(t, "path")
		if s.who.group == trusted {
			s.with = rapid.SampledFrom([]credential{usual, usual, usual, usual, kept}).Draw(t, "with")
		} else {
			s.with = rapid.SampledFrom([]credential{usual, usual, usual, usual, usual, usual, usual, usual, usual, kept, kept, raw, spent, none, bare, flipped, rewrites, longer, shorter}).Draw(t, "with")
			if rapid.IntRange(0, 4).Draw(t, "tricky") == 4 {
				s.trick = rapid.SampledFrom(tricks).Draw(t, "path")
			}
			if rapid.IntRange(0, 3).Draw(t, "hostile") == 3 {
				s.extra = rapid.SampledFrom(hostile).Draw(t, "header")
			}
		}
		if (s.do == upload || s.do == begin) && rapid.IntRange(0, 9).Draw(t, "bad") == 9 {
			s.brings = rapid.SampledFrom([]content{torn, escaping, twoCodes, tooShort, tooLong, unlengthy}).Draw(t, "brings")
		}
		if rapid.IntRange(0, 11).Draw(t, "faulty") == 11 {
			s.fault = rapid.SampledFrom(faults).Draw(t, "fault")
		}
		return s
	})
}

// passes are spans of time: within a session, its end, and the end of the longest one.
var passes = []time.Duration{time.Second, 10 * time.Minute, 61 * time.Minute, 7 * time.Hour}

// swaps are what is done to an entry at rest.
var swaps = []string{
	"another entry, record and seal in its place", "its bytes changed", "another's bytes under its own record", "another's bytes with its own seal",
	"another's bytes without a seal",
}
