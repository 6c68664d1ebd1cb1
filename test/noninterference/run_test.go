package noninterference

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// run is a history as it happens in one world.
type run struct {
	stage *stage
	h     *history
	world *world
	*model

	clients map[*principal]*client
	// lifts are the revocations in their order, so that lifting hits the same one in each run. The zero value is one that came to nothing.
	lifts []trust.Revocation

	view    []seen
	wrongs  []wrong
	ownHits int // hits of somebody who got what is not trusted
}

// seen is one answer in the view.
type seen struct {
	step int
	what string
	answer
	// excused says that somebody at the storage had his hands on an entry that this answer depends on.
	excused bool
}

// wrong is something that must not be.
type wrong struct {
	step int
	// law names what was broken.
	law, text string
}

func (r *run) wrong(i int, law, format string, args ...any) {
	r.wrongs = append(r.wrongs, wrong{i, law, fmt.Sprintf(format, args...)})
}

func (r *run) client(p *principal) *client {
	c := r.clients[p]
	if c == nil {
		c = &client{spent: map[string]bool{}}
		r.clients[p] = c
	}
	return c
}

// see adds an answer to the view of who asked. Ids that the server draws by lot are left out of it.
func (r *run) see(i int, s step, what string, a answer) {
	for _, id := range r.client(s.who).ids {
		a.body = strings.ReplaceAll(a.body, id, "SESSION")
	}
	if !s.with.good() && a.status == http.StatusUnauthorized {
		a.header, a.body = "", "" // what is wrong with a spoiled token depends on its random parts
	}
	r.view = append(r.view, seen{i, what, a, r.isTouched(s.hash)})
}

// play lets a history happen, without the steps that keep says no to. It runs in a bubble of testing/synctest, where the clock moves
// only when all wait.
func (s *stage) play(h *history, dir func() string, keep func(step) bool) (*run, error) {
	w, err := s.newWorld(h, dir)
	if err != nil {
		return nil, err
	}
	r := &run{stage: s, h: h, world: w, model: newModel(), clients: map[*principal]*client{}}
	for i, st := range h.steps {
		if !keep(st) {
			continue
		}
		if err := r.step(i, st); err != nil {
			return nil, errors.Join(fmt.Errorf("step %d: %w", i, err), r.end())
		}
	}
	return r, r.end()
}

// end cuts what is under way, and looks at what is left.
func (r *run) end() error {
	for _, p := range r.stage.principals {
		if c := r.clients[p]; c != nil && c.pending != nil {
			c.pending.settle(true)
		}
	}
	err := r.inventory()
	return errors.Join(err, r.world.close())
}

func (r *run) step(i int, s step) error {
	switch s.do {
	case pass:
		<-time.After(s.after)
	case reload:
		r.world.reload(r.stage.policies[s.policy])
		r.policy = s.policy
	case revoke:
		return r.revoke(i, s)
	case lift:
		r.lift()
	case evict:
		key := cache.Key{Workspace: s.who.workspace, Scope: s.who.rights[ordinary].write, Hash: s.hash}
		if key.Scope == "" {
			return nil
		}
		r.gone(key)
		return r.world.shelf.drop(key)
	case purge:
		return r.purge(s.who)
	case tamper:
		return r.tamper(s)
	case read:
		r.read(i, s)
	case upload:
		r.upload(i, s)
	case begin:
		r.begin(i, s)
	case finish, cut:
		r.finish(i, s, s.do == cut)
	case exchange:
		r.exchange(i, s, false)
	case odd:
		a := serve(r.world.handler, s.ask(r.present(i, s), s.trick.path, s.method(), nil, 0))
		if a.status != http.StatusMethodNotAllowed && a.status != http.StatusNotFound {
			r.wrong(i, "authority", "%s was answered with %v", s.method(), a)
		}
		r.see(i, s, "odd", a)
	}
	return nil
}

func (r *run) read(i int, s step) {
	c := r.present(i, s)
	space, may := r.may(c, s, false)
	a := serve(r.world.handler, s.ask(c, s.trick.path, s.method(), nil, 0))
	r.judgeRead(i, s, space, may, a)
	r.see(i, s, "read", a)
}

func (r *run) upload(i int, s step) {
	c := r.present(i, s)
	body := r.stage.bodies.body(i, s.brings)
	size := int64(len(body))
	switch s.brings {
	case tooShort:
		size++
	case tooLong:
		size--
	case unlengthy:
		size = -1
	}
	space, may := r.may(c, s, true)
	blocked := r.blocked(space, may, s.hash)
	a := serve(r.world.handler, s.ask(c, s.trick.path, http.MethodPut, bytes.NewReader(body), size))
	r.judgeUpload(i, s, c, space, may, blocked, s.brings == whole, body, a)
	r.see(i, s, "upload", a)
}

func (r *run) begin(i int, s step) {
	c := r.client(s.who)
	if c.pending != nil {
		return
	}
	s.brings = whole
	p := &pending{step: s, at: i, with: r.present(i, s)}
	p.space, p.allowed = r.may(p.with, s, true)
	p.blocked = r.blocked(p.space, p.allowed, s.hash)
	c.pending = p
	r.send(p, r.stage.bodies.body(i, whole))
	synctest.Wait()
}

// finish ends the upload that somebody began. Whatever he may do has to hold then as well.
func (r *run) finish(i int, s step, leave bool) {
	c := r.client(s.who)
	p := c.pending
	if p == nil {
		return
	}
	c.pending = nil
	space, may := r.may(p.with, p.step, true)
	switch {
	case p.blocked: // the answer was decided when it began
		space, may = p.space, p.allowed
	case space != p.space || may.write != p.allowed.write:
		may = nothing
	}
	blocked := p.blocked || r.has(cache.Key{Workspace: space, Scope: may.write, Hash: p.step.hash})
	a := p.settle(leave)
	r.judgeUpload(i, p.step, p.with, space, may, blocked, !leave, r.stage.bodies.body(p.at, whole), a)
	r.see(i, p.step, "finish", a)
}

// revoke is what a command beside the server does.
func (r *run) revoke(i int, s step) error {
	p := s.who
	var v trust.Revocation
	if p.token != nil {
		r.world.records.change(func(all *records) {
			for i := range all.tokens {
				if all.tokens[i].ID == p.token.ID && all.tokens[i].Revoked.IsZero() {
					all.tokens[i].Revoked = time.Now()
				}
			}
		})
		r.revokedTokens[p] = true
		r.world.look()
		return nil
	}
	if p.claims == nil {
		return nil
	}
	if value := r.revocable(s.kind, p, r.client(p).session); value != "" {
		// The id is that of the step, so that it is the same in each run.
		v = trust.Revocation{ID: fmt.Sprintf("%012x", i), Kind: s.kind, Value: value, Created: time.Now()}
		if err := v.Validate(); err != nil {
			return err
		}
		r.world.records.change(func(all *records) { all.revocations = append(all.revocations, v) })
		r.revocations = append(r.revocations, v)
	}
	r.lifts = append(r.lifts, v)
	r.world.look()
	return nil
}

func (r *run) lift() {
	if len(r.lifts) == 0 {
		return
	}
	last := r.lifts[len(r.lifts)-1]
	r.lifts = r.lifts[:len(r.lifts)-1]
	r.revocations = slices.DeleteFunc(r.revocations, func(v trust.Revocation) bool { return v.ID == last.ID })
	r.world.records.change(func(all *records) {
		for i := range all.revocations {
			if all.revocations[i].ID == last.ID {
				all.revocations[i].Lifted = time.Now()
			}
		}
	})
	r.world.look()
}

// purge removes all that somebody wrote, by what the records say of their producers.
func (r *run) purge(p *principal) error {
	all, err := r.world.shelf.all()
	if err != nil {
		return err
	}
	for key, record := range all {
		if p.made(record.Producer) {
			r.gone(key)
			if err := r.world.shelf.drop(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// tamper is what somebody does who can write to the storage. He has no key, but he has read all that is there.
func (r *run) tamper(s step) error {
	victim := cache.Key{Workspace: s.who.workspace, Scope: cache.Trusted, Hash: s.hash}
	if s.who.group != trusted && s.who.rights[ordinary].write != "" {
		victim.Scope = s.who.rights[ordinary].write
	}
	source := cache.Key{Workspace: s.other.workspace, Scope: s.other.rights[ordinary].write, Hash: s.from}
	theirs, err := r.world.shelf.take(source)
	if err != nil || source == victim {
		return nil //nolint:nilerr // there is nothing of his to put anywhere
	}
	mine, err := r.world.shelf.take(victim)
	exists := err == nil
	forged := theirs
	switch s.swap {
	case "another entry, record and seal in its place":
	case "its bytes changed":
		if !exists {
			return nil
		}
		forged = object{mine.record, bytes.Clone(mine.body)}
		forged.body[len(forged.body)/2] ^= 1
	case "another's bytes under its own record":
		if !exists {
			return nil
		}
		forged.record = mine.record
		forged.record.Size = int64(len(theirs.body))
	case "another's bytes with its own seal":
		if !exists {
			return nil
		}
		forged.record.Seal, forged.record.Producer = mine.record.Seal, mine.record.Producer
	case "another's bytes without a seal":
		forged.record.Seal = ""
	}
	r.touch(victim)
	return r.world.shelf.lay(victim, forged)
}
