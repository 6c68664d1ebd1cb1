package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// serveSession exchanges a CI's identity token for a session, logs it and counts it.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, t target) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // RFC 6749, section 5.1
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		s.dropBody(w, r)
		h.Set("Allow", http.MethodPost)
		writeText(w, http.StatusMethodNotAllowed, "a session is asked for with POST, with the CI's identity token as the bearer")
		return
	}
	s.running.begin()
	defer s.running.end()
	r, span := s.startSpan(r)
	q := &sessionRequest{server: s, w: w, r: r, started: time.Now(), span: span}
	q.named = t.workspace(s.opts.Auth.Known)
	defer func() {
		if p := recover(); p != nil {
			q.fail(p)
		}
		s.metrics.sessions.WithLabelValues(q.outcome.result, q.outcome.cause).Inc()
		q.log()
		q.audit()
		q.endSpan()
	}()
	q.serve()
}

// sessionRequest is one request for a session and what becomes of it.
type sessionRequest struct {
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	started time.Time
	named   cache.Workspace
	span    trace.Span // nil without one

	// Known as the request is worked on:
	form    bool // it came as a token exchange by RFC 8693, and is answered so
	issued  trust.Issued
	outcome outcome
	err     error
	began   bool // the answer
}

func (q *sessionRequest) serve() {
	ask, err := q.read()
	if err != nil {
		q.answer(err)
		return
	}
	if q.server.opts.Auth.Open() {
		q.answer(errOpen)
		return
	}
	q.issued, err = q.server.opts.Auth.Exchange(q.r.Context(), ask.credential, q.named, ask.ttl)
	q.answer(err)
}

// answer ends the request. Who came the plain way hears why he is refused in text, which people read in the log of a job; who came by the RFC
// hears it as that has it.
func (q *sessionRequest) answer(err error) {
	q.err = err
	q.outcome = outcomeOf(q.r.Context(), http.MethodPost, err)
	q.began = true
	if err == nil {
		writeJSON(q.w, http.StatusOK, q.session())
		return
	}
	h := q.w.Header()
	// For programs, which should not have to read the text.
	h.Set(causeHeader, q.outcome.cause)
	if code := q.errorCode(err); code != "" {
		q.outcome.status = http.StatusBadRequest
		writeJSON(q.w, q.outcome.status, map[string]string{"error": code, "error_description": describe(q.outcome.text)})
		return
	}
	if q.outcome.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="bezoar"`)
	}
	writeText(q.w, q.outcome.status, q.outcome.text)
}

// errorCode is the code of a refusal by RFC 8693, section 2.2.2: a subject token that is invalid for any reason, or that the policy gives nothing,
// makes the request an invalid one. Empty where the RFC has none: for the plain form, and where the refusal is not for what was sent.
func (q *sessionRequest) errorCode(err error) string {
	if f, ok := errors.AsType[*formError](err); ok && q.form {
		return f.code
	}
	if q.form && (q.outcome.status == http.StatusUnauthorized || q.outcome.status == http.StatusForbidden) {
		return invalidRequest
	}
	return ""
}

// describe makes an error_description of a text, which has no quotation marks and backslashes and is ASCII (RFC 6749, section 5.2).
func describe(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, text)
}

func (q *sessionRequest) fail(p any) {
	err := &panicError{p}
	q.server.opts.Log.Error("a request panicked; please report this", "panic", p, "stack", err.stack())
	if q.began {
		panic(http.ErrAbortHandler)
	}
	q.issued = trust.Issued{}
	q.answer(err)
}

// sessionAnswer is what the client gets. The first fields are the plain form's, the others those of RFC 8693, section 2.2.1.
type sessionAnswer struct {
	Token     string          `json:"token"`
	ExpiresAt time.Time       `json:"expires_at"`
	Workspace cache.Workspace `json:"workspace"`
	Read      []cache.Scope   `json:"read"`
	Write     cache.Scope     `json:"write"`

	AccessToken     string `json:"access_token,omitempty"`
	IssuedTokenType string `json:"issued_token_type,omitempty"`
	TokenType       string `json:"token_type,omitempty"`
	ExpiresIn       int64  `json:"expires_in,omitempty"`
}

func (q *sessionRequest) session() sessionAnswer {
	a := sessionAnswer{
		Token: q.issued.Token, ExpiresAt: q.issued.Expires.UTC().Truncate(time.Second),
		Workspace: q.issued.Workspace, Read: append([]cache.Scope{}, q.issued.Read...), Write: q.issued.Write,
	}
	if q.form {
		a.AccessToken, a.IssuedTokenType, a.TokenType = q.issued.Token, tokenTypeAccess, "Bearer"
		a.ExpiresIn = int64(time.Until(q.issued.Expires) / time.Second)
	}
	return a
}

// bearer finds the identity token in an Authorization header.
func bearer(header string) (string, error) {
	credential, err := trust.ParseAuthorization(header)
	if err == nil && credential == "" {
		return "", &trust.DeniedError{Err: trust.ErrNoCredential,
			Reason: `no identity token was sent: put the CI's into the header, "Authorization: Bearer TOKEN". A job without one, such as a fork's pull request, has no session`}
	}
	return credential, err
}

// writeJSON answers with one object.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who left does not hear it
}
