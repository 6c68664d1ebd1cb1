package server

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxForm bounds the body of a request for a session, in bytes. The longest part of it in earnest is a CI's token.
const maxForm = 16 << 10

// Names of RFC 8693, section 3.
const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	tokenTypeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	tokenTypeID        = "urn:ietf:params:oauth:token-type:id_token"
	tokenTypeJWT       = "urn:ietf:params:oauth:token-type:jwt"
)

// formError says what is wrong with a request for a session itself. Its code is one of RFC 6749, section 5.2, and RFC 8693, section 2.2.2.
type formError struct{ code, text string }

func (e *formError) Error() string { return e.text }

func badForm(code, format string, args ...any) error {
	return &formError{code, fmt.Sprintf(format, args...)}
}

// Codes of a [formError].
const (
	invalidRequest   = "invalid_request"
	invalidTarget    = "invalid_target"
	invalidScope     = "invalid_scope"
	unsupportedGrant = "unsupported_grant_type"
)

// ask is what a request for a session comes down to.
type ask struct {
	credential string
	ttl        time.Duration // 0: the default
}

// read takes the request in either form. What is not understood is refused and not ignored: a client that sends it counts on it.
func (q *sessionRequest) read() (ask, error) {
	body, err := q.readBody()
	if err != nil {
		return ask{}, err
	}
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil {
		return ask{}, badForm(invalidRequest, "the query of the URL is malformed")
	}
	ttls := query["ttl"]
	var form url.Values
	if len(body) > 0 {
		if mediaType, _, err := mime.ParseMediaType(q.r.Header.Get("Content-Type")); err != nil || mediaType != "application/x-www-form-urlencoded" {
			return ask{}, badForm(invalidRequest, "the body is no form (application/x-www-form-urlencoded): send none, and the CI's identity token as the bearer")
		}
		if form, err = url.ParseQuery(string(body)); err != nil {
			q.form = true
			return ask{}, badForm(invalidRequest, "the form is malformed")
		}
		ttls = append(ttls, form["ttl"]...)
		q.form = form.Has("grant_type") || form.Has("subject_token") || form.Has("subject_token_type")
	}
	a := ask{}
	if a.ttl, err = parseTTL(ttls); err != nil {
		return ask{}, err
	}
	authorization := authorization(q.r)
	if !q.form {
		a.credential, err = bearer(authorization)
		return a, err
	}
	if authorization != "" {
		return ask{}, badForm(invalidRequest, "the form holds the subject_token; there must be no other credential in an Authorization header")
	}
	a.credential, err = q.readExchange(form)
	return a, err
}

// readExchange checks a token exchange (RFC 8693, section 2.1) and returns the subject token. Parameters that it does not name are ignored,
// as RFC 6749, section 3.2, wants it.
func (q *sessionRequest) readExchange(form url.Values) (string, error) {
	get := func(name string) string { return form.Get(name) } // without a value is as good as not there
	for _, name := range []string{
		"grant_type", "subject_token", "subject_token_type", "requested_token_type", "scope", "actor_token", "actor_token_type",
	} {
		if len(form[name]) > 1 {
			return "", badForm(invalidRequest, "the parameter %s is there more than once", name)
		}
	}
	switch grant := get("grant_type"); grant {
	case grantTokenExchange:
	case "":
		return "", badForm(invalidRequest, "the parameter grant_type is missing; it is %s", grantTokenExchange)
	default:
		return "", badForm(unsupportedGrant, "the grant_type must be %s", grantTokenExchange)
	}
	if get("subject_token") == "" {
		return "", badForm(invalidRequest, "the parameter subject_token is missing; it is the CI's identity token")
	}
	if kind := get("subject_token_type"); kind != tokenTypeID && kind != tokenTypeJWT {
		return "", badForm(invalidRequest, "the subject_token_type must be %s or %s", tokenTypeID, tokenTypeJWT)
	}
	if kind := get("requested_token_type"); kind != "" && kind != tokenTypeAccess {
		return "", badForm(invalidRequest, "the only requested_token_type to be had is %s", tokenTypeAccess)
	}
	if get("actor_token") != "" || get("actor_token_type") != "" {
		return "", badForm(invalidRequest, "nobody can act for another here: there must be no actor_token")
	}
	if get("scope") != "" {
		return "", badForm(invalidScope, "what a session may read and write is decided by the server's policy alone: leave scope out")
	}
	audience := ""
	if q.server.opts.Audience != nil {
		audience = q.server.opts.Audience()
	}
	for _, name := range []string{"audience", "resource"} {
		for _, target := range form[name] {
			if target != "" && target != audience {
				return "", badForm(invalidTarget, "the %s must be the audience of this server's policy, exactly, or be left out", name)
			}
		}
	}
	return get("subject_token"), nil
}

func parseTTL(texts []string) (time.Duration, error) {
	switch len(texts) {
	case 0:
		return 0, nil
	case 1:
	default:
		return 0, badForm(invalidRequest, "ttl is there more than once")
	}
	ttl, err := time.ParseDuration(texts[0])
	if err != nil || ttl < time.Second {
		return 0, badForm(invalidRequest, "ttl must be a duration of at least a second, such as 90m or 3h")
	}
	return ttl, nil
}

// readBody reads the whole body, which may take no longer than a body may stall.
func (q *sessionRequest) readBody() ([]byte, error) {
	s := q.server
	if q.r.ContentLength == 0 {
		return nil, nil
	}
	if q.r.ContentLength > maxForm {
		s.readRest(q.w, q.r.Body, maxStray)
		return nil, tooLong()
	}
	control := http.NewResponseController(q.w)
	if s.opts.StallTimeout > 0 {
		_ = control.SetReadDeadline(time.Now().Add(s.opts.StallTimeout)) // not supported by a test's recorder, which does not stall
	}
	body, err := io.ReadAll(io.LimitReader(q.r.Body, maxForm+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		closeBy(q.w, time.Now())
		return nil, errStalled
	case err != nil:
		closeBy(q.w, time.Now())
		return nil, fmt.Errorf("%w: %w", errClientGone, err)
	case len(body) > maxForm:
		s.readRest(q.w, q.r.Body, maxStray)
		return nil, tooLong()
	}
	_ = control.SetReadDeadline(time.Time{})
	return body, nil
}

func tooLong() error {
	return badForm(invalidRequest, "the body is longer than %d bytes", maxForm)
}
