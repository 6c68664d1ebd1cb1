package noninterference

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

// form is what a credential is.
type form int

const (
	absent form = iota
	static
	inSession
	identity
	junk
)

// presented is a credential on its way to the server, with what is known of it.
type presented struct {
	form   form
	text   string
	held   *held     // of a session
	minted time.Time // of a CI's token
}

// held is a session that somebody has.
type held struct {
	token   string
	id      string
	expires time.Time
	right   right
}

// client is what somebody keeps between his requests.
type client struct {
	session *held
	ids     []string // of all his sessions
	// token is the last one of his CI; serial counts them.
	token  string
	minted time.Time
	serial int
	// spent are those that were exchanged.
	spent map[string]bool
	// pending is his upload that is under way.
	pending *pending
}

// mint asks the CI for another token.
func (r *run) mint(p *principal) (string, time.Time) {
	c := r.client(p)
	c.serial++
	c.token, c.minted = r.stage.issuers.token(p, c.serial, time.Now(), r.h.real), time.Now()
	return c.token, c.minted
}

// present chooses what somebody sends, with an exchange before it if he is one for sessions and has none that is good.
func (r *run) present(i int, s step) presented {
	p, c := s.who, r.client(s.who)
	own := func() presented {
		switch {
		case p.token != nil:
			return presented{form: static, text: p.secret}
		case p.credential != "":
			return presented{form: junk, text: strings.TrimPrefix(p.credential, "Bearer ")}
		case p.claims == nil:
			return presented{}
		case p.direct:
			if c.token == "" || time.Since(c.minted) > 50*time.Minute {
				r.mint(p)
			}
			return presented{form: identity, text: c.token, minted: c.minted}
		}
		if c.session == nil || !time.Now().Before(c.session.expires) {
			r.exchange(i, s, true)
		}
		if c.session == nil {
			return presented{}
		}
		return presented{form: inSession, text: c.session.token, held: c.session}
	}
	switch s.with {
	case none, bare:
		return presented{}
	case kept:
		if c.session != nil {
			return presented{form: inSession, text: c.session.token, held: c.session}
		}
		return own()
	case raw, spent:
		if p.claims == nil {
			return own()
		}
		if s.with == raw || c.token == "" {
			r.mint(p)
		}
		return presented{form: identity, text: c.token, minted: c.minted}
	case usual:
		return own()
	}
	text := own().text
	if text == "" {
		text = "trusted"
	}
	return presented{form: junk, text: spoil(s.with, text, i)}
}

// spoil makes something else of a credential. It never makes another good one.
func spoil(how credential, text string, i int) string {
	switch how {
	case longer:
		return text + "x"
	case shorter:
		return text[:len(text)-1]
	case rewrites:
		prefix, jws := "", text
		if rest, ok := strings.CutPrefix(text, session.Prefix); ok {
			prefix, jws = session.Prefix, rest
		}
		if parts := strings.Split(jws, "."); len(parts) == 3 {
			if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				parts[1] = base64.RawURLEncoding.EncodeToString(promote(payload))
				return prefix + strings.Join(parts, ".")
			}
		}
	}
	// Not the last character: some of its bits may mean nothing.
	at := 4 + i*7919%max(1, len(text)-6)
	if at >= len(text) {
		return text + "x"
	}
	other := byte('A')
	if text[at] == other {
		other = 'B'
	}
	return text[:at] + string(other) + text[at+1:]
}

// promote makes claims say what their bearer would like them to say.
func promote(payload []byte) []byte {
	for _, edit := range [][2]string{
		{"pull_request_target", "push"}, {"pull_request", "push"}, {"merge_request_event", "push"}, {"workflow_run", "push"}, {"refs/pull/17/merge", "refs/heads/main"},
		{"pr/17", "trusted"}, {"branch/", "trusted/"}, {"\"write\":\"", "\"write\":\"trusted\",\"w\":\""},
	} {
		payload = bytes.ReplaceAll(payload, []byte(edit[0]), []byte(edit[1]))
	}
	return append(payload, ' ')
}

// ask makes the request of a step.
func (s step) ask(c presented, path string, method string, body io.Reader, size int64) *http.Request {
	path = strings.NewReplacer("%w", string(s.who.workspace), "%o", string(otherWorkspace(s.who.workspace)), "%h", string(s.hash)).Replace(path)
	req := httptest.NewRequestWithContext(withFault(context.Background(), s.fault), method, path, body)
	req.ContentLength = size
	switch {
	case c.text != "" && strings.HasPrefix(c.text, "Basic "):
		req.Header.Set("Authorization", c.text)
	case c.text != "":
		req.Header.Set("Authorization", "Bearer "+c.text)
	case s.with == bare:
		req.Header.Set("Authorization", "Bearer")
	}
	if s.extra[0] != "" {
		req.Header.Add(s.extra[0], s.extra[1])
	}
	return req
}

// pending is an upload whose second half is not sent yet.
type pending struct {
	step    step
	at      int
	with    presented
	rest    []byte
	body    *io.PipeWriter
	answer  chan answer
	allowed right // when it began
	space   cache.Workspace
	blocked bool // when it began, there was an entry in its way
}

// send begins an upload and sends the first half.
func (r *run) send(p *pending, body []byte) {
	reader, writer := io.Pipe()
	p.body, p.answer = writer, make(chan answer, 1)
	req := p.step.ask(p.with, p.step.trick.path, http.MethodPut, reader, int64(len(body)))
	go func() {
		defer reader.Close()
		p.answer <- serve(r.world.handler, req)
	}()
	half := len(body) / 2
	_, _ = writer.Write(body[:half]) // a server that reads no more is done, and its answer will tell
	p.rest = body[half:]
}

// settle sends the rest, or leaves.
func (p *pending) settle(leave bool) answer {
	if leave {
		p.body.CloseWithError(io.ErrUnexpectedEOF)
	} else {
		_, _ = p.body.Write(p.rest)
		p.body.Close()
	}
	return <-p.answer
}

// exchanged is what a server answers to an exchange.
type exchanged struct {
	Token     string          `json:"token"`
	ExpiresAt time.Time       `json:"expires_at"`
	Workspace cache.Workspace `json:"workspace"`
	Read      []cache.Scope   `json:"read"`
	Write     cache.Scope     `json:"write"`
}

// exchange asks for a session with a fresh token of the CI, or with what the step says.
func (r *run) exchange(i int, s step, fresh bool) {
	p, c := s.who, r.client(s.who)
	var with presented
	switch {
	case fresh || p.claims != nil && (s.with == usual || s.with == raw || s.with == kept):
		if p.claims == nil {
			return
		}
		text, minted := r.mint(p)
		with = presented{form: identity, text: text, minted: minted}
	case s.with == spent && c.token != "":
		with = presented{form: identity, text: c.token, minted: c.minted}
	default:
		with = r.present(i, s)
	}
	path := "/v1/session"
	if i%2 == 1 {
		path = "/%w/v1/session"
	}
	s.fault = noFault
	if fresh { // his CI asks for him, before he does what he does
		s.extra, s.with = [2]string{}, usual
	}
	a := serve(r.world.handler, s.ask(with, path, http.MethodPost, nil, 0))
	before := c.spent[with.text]
	var got exchanged
	if a.status == http.StatusOK {
		err := json.Unmarshal([]byte(a.body), &got)
		var id string
		if err == nil {
			id, err = session.PeekID(got.Token)
		}
		if err != nil {
			r.wrong(i, "form", "the answer to an exchange is %q: %v", a.body, err)
		}
		c.spent[with.text], c.ids = true, append(c.ids, id)
		c.session = &held{token: got.Token, id: id, expires: got.ExpiresAt, right: right{got.Read, got.Write}}
		a.body = strings.ReplaceAll(a.body, got.Token, "TOKEN") // it has an id of its own
	}
	r.judgeExchange(i, s, with, before, a, got)
	r.see(i, s, "exchange", a)
}

// equal reports whether two rights are the same.
func (r right) equal(o right) bool { return r.write == o.write && slices.Equal(r.read, o.read) }
