package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// call is one request and what becomes of it.
type call struct {
	api     *API
	w       http.ResponseWriter
	r       *http.Request
	started time.Time

	// Known as the request is worked on:
	route   *route
	params  map[string]string // of the path
	query   url.Values
	body    []byte
	actor   admin.Actor
	service admin.Service
	status  int // of the answer, 0 before it
	problem *problem
}

// serve goes the way of every request: what is asked for, who asks, whether his role may, how it is asked; then the work, in its turn.
func (c *call) serve() {
	if err := c.find(); err != nil {
		c.refuse(err)
		return
	}
	if c.route.public {
		c.answer(http.StatusOK, Document)
		return
	}
	if err := c.authorize(); err != nil {
		c.refuse(err)
		return
	}
	if err := c.read(); err != nil {
		c.refuse(err)
		return
	}
	end, err := c.turn()
	if err != nil {
		c.refuse(err)
		return
	}
	status, answer, err := c.work(end)
	if err != nil {
		c.refuse(err)
		return
	}
	c.answer(status, answer)
}

// work does what the route is for, and ends the turn: nobody waits for a slow client to take his answer.
func (c *call) work(endTurn func()) (status int, answer []byte, err error) {
	defer endTurn()
	ctx, cancel := context.WithTimeout(c.r.Context(), workBound)
	defer cancel()
	c.service = c.api.opts.As(c.actor)
	status, out, err := c.route.do(ctx, c)
	if err != nil {
		return 0, nil, err
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(out); err != nil {
		return 0, nil, err
	}
	return status, b.Bytes(), nil
}

// authorize says who asks. A route asks for a role before anything of the request is looked at; what a role may do to which rows, package admin decides.
func (c *call) authorize() error {
	if c.api.opts.Auth.Open() {
		return &problem{code: codeOpen, detail: "this server is open: it has no tokens, and so no API. 'bezoar token create --role' makes one"}
	}
	authorization := strings.Join(c.r.Header["Authorization"], ", ")
	who, err := c.api.opts.Auth.Administrator(c.r.Context(), authorization)
	if credential, _ := trust.ParseAuthorization(authorization); c.route.ci && errors.Is(err, trust.ErrWrongKind) && !strings.HasPrefix(credential, trust.TokenPrefix) {
		return c.authorizeCI(authorization, err)
	}
	if err != nil {
		return err
	}
	c.actor = admin.Actor{
		Role: who.Role, Workspace: who.Workspace,
		Producer: cache.Producer{Kind: trust.ProducerToken, TokenID: who.TokenID, TokenName: who.TokenName},
	}
	if !who.Role.May(c.route.role) {
		return &problem{code: string(admin.Forbidden), detail: "this takes a token with the role " + string(c.route.role) + ", and this one is a " + string(who.Role) + "'s"}
	}
	return nil
}

// authorizeCI lets a CI's identity in that has a scope of its own. Static tokens of the cache stay outside.
func (c *call) authorizeCI(authorization string, wrongKind error) error {
	named, err := cache.ParseWorkspace(c.params["workspace"])
	if err != nil {
		return err
	}
	grant, err := c.api.opts.Auth.Grant(c.r.Context(), authorization, named)
	if err != nil {
		return err
	}
	if grant.Producer.Kind != trust.ProducerCI {
		return wrongKind
	}
	c.actor = admin.Actor{Workspace: grant.Workspace, Own: grant.Write, Producer: grant.Producer}
	return nil
}

// turn waits until few enough others work.
func (c *call) turn() (end func(), err error) {
	turns := c.api.turns
	if c.actor.Role == "" {
		turns = c.api.ciTurns
	}
	timer := time.NewTimer(c.api.maxWait)
	defer timer.Stop()
	select {
	case turns <- struct{}{}:
		return func() { <-turns }, nil
	case <-timer.C:
		c.w.Header().Set("Retry-After", "1")
		return nil, &problem{code: codeBusy, detail: "too much is asked for at once: try again in a moment"}
	case <-c.r.Context().Done():
		return nil, c.r.Context().Err()
	}
}

// answer sends JSON.
func (c *call) answer(status int, body []byte) {
	c.send(status, "application/json", body)
}

func (c *call) send(status int, mediaType string, body []byte) {
	c.status = status
	h := c.w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body) // who left does not hear it
}

// refuse sends a problem.
func (c *call) refuse(err error) {
	p := problemOf(err)
	c.problem = p
	if p.status() == http.StatusUnauthorized {
		c.w.Header().Set("WWW-Authenticate", `Bearer realm="bezoar api"`)
	}
	if c.r.ContentLength != 0 && c.body == nil {
		// What is left of the body is nobody's request.
		c.w.Header().Set("Connection", "close")
	}
	body, err := json.Marshal(p.body())
	if err != nil {
		panic(err) // it is texts and a number
	}
	c.send(p.status(), "application/problem+json", append(body, '\n'))
}

// log writes the request's one line. There is no query in it, and no body: both hold what people wrote.
func (c *call) log() {
	name := "none"
	if c.route != nil {
		name = c.route.name()
	}
	c.api.requests.WithLabelValues(name, strconv.Itoa(c.status)).Inc()
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", c.r.Method), slog.String("route", name), slog.Int("status", c.status),
		slog.Float64("seconds", time.Since(c.started).Seconds()), slog.String("remote", c.r.RemoteAddr),
	}
	p := c.actor.Producer
	for _, a := range [...]struct{ name, value string }{
		{"token_id", p.TokenID}, {"role", string(c.actor.Role)}, {"session", p.Session}, {"repository_id", p.RepositoryID}, {"run_id", p.RunID}, {"actor_id", p.ActorID},
		{"workspace", c.params["workspace"]}, {"scope", c.params["scope"]},
	} {
		if a.value != "" && !trust.HoldsToken(a.value) {
			attrs = append(attrs, slog.String(a.name, a.value))
		}
	}
	if c.problem != nil {
		attrs = append(attrs, slog.String("cause", c.problem.code))
		if err := c.problem.cause; err != nil {
			attrs = append(attrs, slog.String("error", err.Error()))
		}
		if c.status >= http.StatusInternalServerError && !errors.Is(c.r.Context().Err(), context.Canceled) {
			level = slog.LevelWarn
		}
	}
	c.api.opts.Log.LogAttrs(c.r.Context(), level, "api", attrs...)
}
