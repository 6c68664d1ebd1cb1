// Package remote is the operator's work at another server, through its API.
package remote

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
)

const (
	// DefaultTimeout bounds one request, its answer included. It is more than a server takes for the longest of its works.
	DefaultTimeout = 2 * time.Minute
	// maxAnswer bounds an answer in bytes: the largest page and the largest archive that a server tells of are below it.
	maxAnswer = 32 << 20
)

// Options are what a [Client] is made of.
type Options struct {
	// Server is the base URL of the server: https, or http on this machine.
	Server string
	// Token is one with a role. For the deletion of a scope, a session or a CI's identity token does, too.
	Token     string
	Transport http.RoundTripper
	// Timeout bounds one request. 0: [DefaultTimeout].
	Timeout time.Duration
}

// Client is a [admin.Service] at a server.
type Client struct {
	base    *url.URL
	token   string
	timeout time.Duration
	http    http.Client
}

// New makes a client. Nothing is asked yet. Its errors repeat nothing of what they refuse.
func New(opts Options) (*Client, error) {
	base, err := parseServer(opts.Server)
	if err != nil {
		return nil, err
	}
	return &Client{
		base: base, token: opts.Token, timeout: cmp.Or(opts.Timeout, DefaultTimeout),
		http: http.Client{
			Transport: opts.Transport,
			// Whoever sends us elsewhere would get the token there.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Place implements [admin.Service].
func (c *Client) Place() string { return c.base.String() }

// Error is a refusal by a server.
type Error struct {
	Status int
	Code   admin.Code
	Detail string
}

func (e *Error) Error() string {
	if e.Status == http.StatusUnauthorized {
		return "the server refuses the token: " + e.Detail
	}
	return e.Detail
}

// AdminCode implements [admin.Coder].
func (e *Error) AdminCode() admin.Code { return e.Code }

// do sends one request and reads what it is answered into out. The parts of the path are escaped here.
func (c *Client) do(ctx context.Context, method string, path []string, query url.Values, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for _, part := range path {
		if part == "" || part == "." || part == ".." { // somebody on the way may read these otherwise
			return &admin.Error{Code: admin.NotFound, Text: fmt.Sprintf("nothing has the name %q", part)}
		}
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.address(path, query), body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", "bezoar")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("the server %s cannot be reached: %s", c.base, reason(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %s", c.base, reason(err))
	}
	if len(answer) > maxAnswer {
		return fmt.Errorf("the answer of %s is longer than %d bytes", c.base, maxAnswer)
	}
	return c.read(resp, answer, out)
}

func (c *Client) address(path []string, query url.Values) string {
	var b strings.Builder
	b.WriteString(c.base.String())
	b.WriteString("/api/v1")
	for _, part := range path {
		b.WriteString("/" + url.PathEscape(part))
	}
	if len(query) > 0 {
		b.WriteString("?" + query.Encode())
	}
	return b.String()
}

func (c *Client) read(resp *http.Response, answer []byte, out any) error {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	switch {
	case ok && mediaType == "application/json":
		if err := json.Unmarshal(answer, out); err != nil {
			return fmt.Errorf("the server %s answers something else than this release understands", c.base)
		}
		return nil
	case !ok && mediaType == "application/problem+json":
		var p struct {
			Code   admin.Code `json:"code"`
			Detail string     `json:"detail"`
		}
		if json.Unmarshal(answer, &p) == nil && p.Code != "" && p.Detail != "" {
			return &Error{resp.StatusCode, p.Code, printable(p.Detail)}
		}
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("the server %s redirects (%d), and a token is not sent along: give its final address", c.base, resp.StatusCode)
	}
	return fmt.Errorf("%s answers %d, and not as bezoar's API does: is it a bezoar server of this release, and no proxy that answers in its place?", c.base, resp.StatusCode)
}

// reason is err without the address that was asked, which holds names and ids and says nothing new.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return printable(err.Error())
}

// printable keeps lines, and escapes what else could harm a terminal.
func printable(text string) string { return admin.Harmless(text, "\n") }
