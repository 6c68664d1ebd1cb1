package noninterference

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// model is what ought to be: what each may do by the tables of scopes, and which entries there are because of it.
type model struct {
	policy        int
	entries       map[cache.Key]entry
	written       map[cache.Key]map[string]bool // all bodies that were ever kept under a key
	touched       map[cache.Key]bool            // somebody with the disk did something there
	revokedTokens map[*principal]bool
	revocations   []trust.Revocation
}

type entry struct {
	body string
	by   *principal
}

func newModel() *model {
	return &model{
		entries: map[cache.Key]entry{}, written: map[cache.Key]map[string]bool{}, touched: map[cache.Key]bool{},
		revokedTokens: map[*principal]bool{},
	}
}

func (m *model) has(key cache.Key) bool { _, ok := m.entries[key]; return ok }
func (m *model) gone(key cache.Key)     { delete(m.entries, key) }
func (m *model) touch(key cache.Key)    { m.touched[key] = true }

// isTouched reports whether somebody with the disk did something to what an answer under hash may depend on.
func (m *model) isTouched(hash cache.Hash) bool {
	for key := range m.touched {
		if key.Hash == hash {
			return true
		}
	}
	return false
}

// claim is one of p's, as text.
func (p *principal) claim(names ...string) string {
	for _, name := range names {
		if v, ok := p.claims[name]; ok {
			return fmt.Sprint(v)
		}
	}
	return ""
}

// made reports whether a record says that p is its producer.
func (p *principal) made(by cache.Producer) bool {
	switch {
	case p.token != nil:
		return by.Kind == trust.ProducerToken && by.TokenID == p.token.ID && by.Developer == p.token.Developer
	case p.claims != nil:
		return by.Kind == trust.ProducerCI && by.Issuer == p.claim("iss") && by.RunID == p.claim("run_id", "pipeline_id") &&
			by.ActorID == p.claim("actor_id", "user_id") && by.RepositoryID == p.claim("repository_id", "job_project_id") &&
			by.Ref == p.claim("ref_path", "ref") && by.Event == p.claim("event_name", "pipeline_source")
	}
	return false
}

// revocable is what p is known by to a kind of revocation.
func (m *model) revocable(kind trust.RevocationKind, p *principal, h *held) string {
	switch kind {
	case trust.RevokeSession:
		if h != nil {
			return h.id
		}
		return ""
	case trust.RevokeRun:
		return p.claim("run_id", "pipeline_id")
	case trust.RevokeActor:
		return p.claim("actor_id", "user_id")
	case trust.RevokeRepository:
		return p.claim("repository_id", "job_project_id")
	}
	return p.claim("sub")
}

func (m *model) isRevoked(p *principal, h *held) bool {
	return slices.ContainsFunc(m.revocations, func(v trust.Revocation) bool {
		return m.revocable(v.Kind, p, h) == v.Value || v.Kind == trust.RevokeRepository && p.claim("project_id") == v.Value
	})
}

// may is what a credential allows now, in a request of this step.
func (m *model) may(c presented, s step, write bool) (cache.Workspace, right) {
	p, now := s.who, time.Now()
	if s.trick.names == namesNothing {
		return "", nothing
	}
	if s.extra[0] == "Authorization" {
		return "", nothing // two credentials, or one that is none
	}
	switch c.form {
	case absent:
		named := map[naming]cache.Workspace{namesOwn: p.workspace, namesOther: otherWorkspace(p.workspace)}[s.trick.names]
		if named == web && m.policy != shrunk && !write {
			return web, trustedRead
		}
		return "", nothing
	case junk:
		return "", nothing
	case static:
		if m.revokedTokens[p] || !p.token.Expires.IsZero() && !now.Before(p.token.Expires) {
			return "", nothing
		}
	case inSession:
		if !now.Before(c.held.expires) || m.isRevoked(p, c.held) {
			return "", nothing
		}
	case identity:
		if p.claims["iss"] != gitlab || !now.Before(c.minted.Add(p.life())) || m.isRevoked(p, nil) {
			return "", nothing
		}
	}
	if s.trick.names == namesOther {
		return "", nothing
	}
	may := p.rights[m.policy]
	if c.form == inSession {
		may = c.held.right.and(may)
	}
	return p.workspace, may
}

// and is what both allow.
func (r right) and(o right) right {
	both := right{}
	for _, scope := range r.read {
		if slices.Contains(o.read, scope) {
			both.read = append(both.read, scope)
		}
	}
	if r.write == o.write {
		both.write = r.write
	}
	return both
}

// blocked reports whether an upload finds an entry in its way: its own, or one that hides it.
func (m *model) blocked(w cache.Workspace, may right, hash cache.Hash) bool {
	if may.write == "" {
		return false
	}
	for _, scope := range may.read {
		if m.has(cache.Key{Workspace: w, Scope: scope, Hash: hash}) {
			return true
		}
	}
	return m.has(cache.Key{Workspace: w, Scope: may.write, Hash: hash})
}

func refused(a answer, quiet int) bool {
	return a.status == quiet || a.status == http.StatusUnauthorized
}

// judgeExchange holds the answer to an exchange against what the CI's token ought to get.
func (r *run) judgeExchange(i int, s step, c presented, spent bool, a answer, got exchanged) {
	p := s.who
	may := nothing
	if c.form == identity && s.extra[0] != "Authorization" && time.Now().Before(c.minted.Add(p.life())) && !spent && !r.isRevoked(p, nil) {
		may = p.rights[r.policy]
	}
	switch {
	case a.status == http.StatusOK:
		if got.Workspace != p.workspace || !may.equal(right{got.Read, got.Write}) {
			r.wrong(i, "authority", "%v gets a session in %s for %q, %q; due were %q, %q", p, got.Workspace, got.Read, got.Write, may.read, may.write)
		}
	case !may.none():
		r.wrong(i, "availability", "%v is refused a session: %v", p, a)
	case a.status != http.StatusForbidden && a.status != http.StatusUnauthorized:
		r.wrong(i, "form", "an exchange was answered with %v", a)
	}
}

// judgeRead holds the answer to a read against what ought to be seen.
func (r *run) judgeRead(i int, s step, w cache.Workspace, may right, a answer) {
	want, from := entry{}, cache.Scope("")
	for _, scope := range may.read {
		if e, ok := r.entries[cache.Key{Workspace: w, Scope: scope, Hash: s.hash}]; ok {
			want, from = e, scope
			break
		}
	}
	loose := s.fault != noFault || r.isTouched(s.hash)
	if a.status != http.StatusOK {
		switch {
		case !refused(a, http.StatusNotFound):
			r.wrong(i, "form", "a read was answered with %v", a)
		case from != "" && !loose:
			r.wrong(i, "availability", "%v does not get what %v has in %s: %v", s.who, want.by, from, a)
		case len(may.read) > 0 && a.status == http.StatusUnauthorized:
			r.wrong(i, "availability", "%v is turned away: %v", s.who, a)
		}
		return
	}
	if may.none() {
		r.wrong(i, "authority", "%v may read nothing and gets %v", s.who, a)
	}
	if s.head {
		if from == "" && !loose {
			r.wrong(i, "isolation", "%v hears of an entry that is not there for him", s.who)
		}
		return
	}
	if from != "" && from != cache.Trusted {
		r.ownHits++
	}
	if a.broken {
		if s.fault != bodyFails || from != "" && !strings.HasPrefix(want.body, a.body) && !loose {
			r.wrong(i, "availability", "the body breaks off: %v", a)
		}
		return
	}
	r.judgeBytes(i, s, w, may, want, from, a)
}

// judgeBytes asks where the bytes of a hit come from.
func (r *run) judgeBytes(i int, s step, w cache.Workspace, may right, want entry, from cache.Scope, a answer) {
	for n, scope := range may.read {
		if !r.written[cache.Key{Workspace: w, Scope: scope, Hash: s.hash}][a.body] {
			continue
		}
		switch key := (cache.Key{Workspace: w, Scope: scope, Hash: s.hash}); {
		case r.isTouched(s.hash): // whatever was put there in earnest will do
		case from == "":
			r.wrong(i, "write-once", "%v gets what is no longer in %v", s.who, key)
		case scope != from && n > 0:
			r.wrong(i, "shadow", "%v gets his own where %v has an entry in %s", s.who, want.by, from)
		case a.body != want.body:
			r.wrong(i, "write-once", "%v gets other bytes than those that %v wrote in %v", s.who, want.by, key)
		}
		return
	}
	for key, bodies := range r.written {
		if bodies[a.body] {
			r.wrong(i, "isolation", "%v, who reads %s %q under %s, gets what was written under %v", s.who, w, may.read, s.hash, key)
			return
		}
	}
	r.wrong(i, "whole", "%v gets under %s what was never kept: %v", s.who, s.hash, a)
}

// judgeUpload holds the answer to an upload against what ought to be kept, and takes note of what was.
func (r *run) judgeUpload(i int, s step, c presented, w cache.Workspace, may right, blocked, intact bool, body []byte, a answer) {
	loose := s.fault != noFault || r.isTouched(s.hash)
	key := cache.Key{Workspace: w, Scope: may.write, Hash: s.hash}
	switch {
	case a.status == http.StatusOK && may.write == "":
		r.wrong(i, "authority", "%v may write nothing, and his upload is taken", s.who)
		return
	case a.status == http.StatusOK && !intact:
		r.wrong(i, "whole", "%v's upload is taken although it is broken", s.who)
		return
	case a.status == http.StatusOK:
		if blocked && !r.isTouched(s.hash) {
			law := "shadow"
			if r.has(key) {
				law = "write-once"
			}
			r.wrong(i, law, "%v's upload to %v is taken although there is an entry in its way", s.who, key)
		}
		r.keep(i, s, c, key, body)
	case a.status == http.StatusConflict && (blocked || loose) && may.write != "":
	case a.status == http.StatusConflict:
		r.wrong(i, "isolation", "%v hears of an entry that is not there for him: %v", s.who, a)
	case !refused(a, http.StatusForbidden):
		r.wrong(i, "form", "an upload was answered with %v", a)
	case blocked && !loose && intact, may.write != "" && !blocked && intact && !loose:
		r.wrong(i, "availability", "%v's upload to %v is refused: %v", s.who, key, a)
	}
}

// keep takes note of an entry, and looks whether it is where it belongs.
func (r *run) keep(i int, s step, c presented, key cache.Key, body []byte) {
	if r.written[key] == nil {
		r.written[key] = map[string]bool{}
	}
	r.written[key][string(body)] = true
	r.entries[key] = entry{string(body), s.who}
	o, err := r.world.shelf.take(key)
	switch {
	case err != nil:
		r.wrong(i, "placement", "%v's upload was taken, but is not at %v: %v", s.who, key, err)
	case string(o.body) != string(body):
		r.wrong(i, "write-once", "%v's upload was taken, but other bytes are at %v", s.who, key)
	case !s.who.made(o.record.Producer) || c.held != nil && o.record.Producer.Session != c.held.id:
		r.wrong(i, "producer", "the record of %v's upload says %+v", s.who, o.record.Producer)
	}
}

// inventory compares what lies on the shelf at the end with what ought to.
func (r *run) inventory() error {
	all, err := r.world.shelf.all()
	if err != nil {
		return err
	}
	last := len(r.h.steps)
	for key := range all {
		if !r.has(key) && !r.touched[key] {
			r.wrong(last, "placement", "at the end there is an entry at %v that nobody wrote", key)
		}
	}
	for key, e := range r.entries {
		if _, ok := all[key]; !ok && !r.touched[key] {
			r.wrong(last, "availability", "at the end what %v wrote at %v is not there", e.by, key)
		}
	}
	return nil
}
