package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// client sends requests that carry a credential: each within a bound of time, none redirected, of each answer no more than it may have.
type client struct {
	http      http.Client
	attempt   time.Duration
	allowHTTP bool
}

func newClient(opts Options) *client {
	return &client{
		attempt: cmp.Or(opts.Attempt, DefaultAttempt), allowHTTP: opts.AllowHTTP,
		http: http.Client{
			Transport: opts.Transport,
			// Whoever sends us elsewhere would get the credential there.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// text tells a person of an answer that is none we want.
func (a *answer) text() string {
	text := fmt.Sprint(a.status)
	mediaType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if body := plain(string(a.body)); body != "" && strings.TrimSpace(mediaType) == "text/plain" {
		text += ": " + body
	}
	return text
}

var errTooLong = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)

func (c *client) do(ctx context.Context, method, address, bearer string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.attempt)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	req.Header.Set("Accept", "application/json, text/plain")
	req.Header.Set("User-Agent", "bezoar")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLong
	}
	return &answer{resp.StatusCode, resp.Header, body}, err
}

// reason is err without the address that was asked, which is long and says nothing new.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return plain(err.Error())
}

// exchange asks the server at base for a session.
func (c *client) exchange(ctx context.Context, base, token string, ttl time.Duration) (*Session, error) {
	address := base + "/v1/session"
	if ttl > 0 {
		address += "?ttl=" + ttl.String()
	}
	const look = "'bezoar doctor' checks the way to it from here"
	got, err := c.do(ctx, http.MethodPost, address, token)
	if err != nil {
		return nil, &Failure{Problem: "the cache server cannot be reached: " + reason(err), Remedy: look, Unreachable: true, again: true}
	}
	switch {
	case got.status == http.StatusOK:
		return readSession(base, got.body)
	case got.status == http.StatusUnauthorized, got.status == http.StatusForbidden, got.status == http.StatusBadRequest:
		return nil, &Failure{
			Problem: "the cache server refuses the CI's identity: " + got.text(),
			Remedy:  "'bezoar policy explain' tells, beside the server's policy, what decides",
			cause:   got.header.Get("Bezoar-Cause"),
		}
	case got.status >= 500:
		return nil, &Failure{Problem: "the cache server, or a proxy before it, answers " + got.text(), Remedy: look, Unreachable: true, again: true}
	case got.status >= 300 && got.status < 400:
		return nil, &Failure{
			Problem: fmt.Sprintf("the cache server redirects (%d) to %s, and a credential is not sent along", got.status, redirectedTo(got.header)),
			Remedy:  "Give the final address as the server", Unreachable: true,
		}
	}
	return nil, &Failure{Problem: "there are no sessions to be had at this address, it answers " + got.text(),
		Remedy: "Is it that of a bezoar server?", Unreachable: true}
}

// redirectedTo is the target of a redirect without its query, which may hold anything.
func redirectedTo(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	if err != nil || u.String() == "" {
		return "nowhere"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return plain(u.String())
}

func readSession(base string, body []byte) (*Session, error) {
	s := &Session{}
	if err := json.Unmarshal(body, s); err != nil || !isToken(s.Token) {
		return nil, &Failure{Problem: "the cache server sent no session", Remedy: "Is it a bezoar server, and not a proxy that answers in its place?", Unreachable: true}
	}
	s.Server, s.Direct = base, false
	return s, nil
}
