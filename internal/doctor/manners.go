package doctor

import (
	"context"
	"net/http"
	"strings"
)

// checkSlashes asks once more with the slash at the other place: a trailing slash in the setting doubles it in each
// path, and many web servers redirect doubled slashes, which turns a PUT into a GET.
func (e *exam) checkSlashes(ctx context.Context) {
	hash, err := newHash(e.opts.Random)
	if err != nil {
		e.unready(IDSlashes, err)
		return
	}
	bare := strings.TrimRight(e.http.base, "/")
	c := e.http.with(e.token)
	c.base = bare + "/"
	what := "a path with a doubled slash"
	if e.http.base != bare {
		c.base, what = bare, "a path without the doubled slash"
	}
	a, err := c.get(ctx, hash, 0)
	f := Finding{ID: IDSlashes, Status: Warn,
		Means: "With a slash more or less at the end of " + ServerVariable + " builds would fail. As it is set here, they do not.",
		Do:    "Keep the setting as it is, or turn off the redirects of doubled slashes (nginx: merge_slashes; Go: http.ServeMux)."}
	switch {
	case err != nil:
		f.Title = what + " gets no answer"
		f.Details = Details{"error": e.foreign(err.Error())}
	case len(a.hops) > 0:
		f.Title, f.Details = what+" is redirected to "+a.hops[0].to, e.describe(a)
	case a.status != http.StatusNotFound:
		f.Title, f.Details = what+" is answered with "+statusText(a.status), e.describe(a)
	default:
		e.ok(IDSlashes, nil, "a trailing slash in the URL makes no difference")
		return
	}
	e.add(f)
}

// checkWrongToken sends one GET with a credential that cannot be right, to see how the server words its refusal.
func (e *exam) checkWrongToken(ctx context.Context) {
	hash, err := newHash(e.opts.Random)
	if err != nil {
		e.unready(IDWrongToken, err)
		return
	}
	wrong := Setting{Value: strings.Replace(hash, "doctor-", "doctor-wrong-", 1), Set: true}
	a, err := e.http.with(wrong).get(ctx, hash, 0)
	if err != nil {
		f := e.fault("a GET with a wrong token", a, err)
		f.ID, f.Status = IDWrongToken, Warn
		e.add(f)
		return
	}
	f := Finding{ID: IDWrongToken, Status: Warn, Details: e.describe(a)}
	switch {
	case a.status == http.StatusNotFound:
		e.ok(IDWrongToken, f.Details, "a wrong token gets misses (404)")
		return
	case a.status == http.StatusUnauthorized && a.header.Get("Content-Type") == "text/plain":
		e.ok(IDWrongToken, f.Details, "a wrong token is refused with a reason that Nx shows (401)")
		return
	case a.status == http.StatusUnauthorized:
		f.Title = "a wrong token is refused (401), with the Content-Type " + quoted(a.header.Get("Content-Type"))
		f.Means = "Nx shows the reason only if that is exactly text/plain; else it blames a \"misconfigured remote cache endpoint\"."
		f.Do = "Let the server send Content-Type: text/plain, without a charset."
	default:
		f.Title = "a wrong token is answered with " + statusText(a.status)
		f.Means = "A build with a wrong or outdated token fails without being told why."
		f.Do = "Let the server answer 401 with Content-Type text/plain."
	}
	e.add(f)
}
