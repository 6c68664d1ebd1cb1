package doctor

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
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

// checkLatency shows what small requests take. It judges nothing but broken connections: what is
// slow depends on the tasks.
func (e *exam) checkLatency(ctx context.Context) {
	hash, size := e.stored.hash, int64(smallSize)
	if hash == "" {
		var err error
		if hash, err = newHash(e.opts.Random); err != nil {
			e.unready(IDLatency, err)
			return
		}
	}
	fresh, err := e.sample(ctx, func() (*answer, error) {
		one := newClient(e)
		defer one.close()
		return one.get(ctx, hash, size)
	})
	if err != nil {
		f := e.fault("one of several GETs on new connections", nil, err)
		f.ID = IDLatency
		e.add(f)
		return
	}
	kept, err := e.sample(ctx, func() (*answer, error) { return e.http.get(ctx, hash, size) })
	if err != nil {
		f := e.fault("one of several GETs on one connection", nil, err)
		f.ID, f.Status = IDLatency, Warn
		f.Means = "Nx reuses connections. A proxy that closes them without saying so breaks builds now and then."
		f.Do = "Raise the proxy's keep-alive time towards clients, or look at its limits."
		e.add(f)
		return
	}
	details := Details{"new_connection": fresh.details(), "kept_connection": kept.details(), "kept": kept.reused > 0}
	if kept.reused == 0 {
		e.ok(IDLatency, details, "new connection %s (median of %d); the server keeps none open", durationText(fresh.median), e.opts.Samples)
		return
	}
	e.ok(IDLatency, details, "new connection %s, kept connection %s (median of %d)", durationText(fresh.median), durationText(kept.median), e.opts.Samples)
}

// latency sums up samples.
type latency struct {
	least, median, p95 time.Duration
	// reused counts the requests that found a connection open.
	reused int
}

// statusError is an answer where none of its kind was expected.
type statusError int

func (s statusError) Error() string { return "answered with " + statusText(int(s)) }

func (l latency) details() Details {
	return Details{"min_ms": millis(l.least), "median_ms": millis(l.median), "p95_ms": millis(l.p95)}
}

func (e *exam) sample(ctx context.Context, get func() (*answer, error)) (latency, error) {
	times := make([]time.Duration, 0, e.opts.Samples)
	reused := 0
	for range e.opts.Samples {
		a, err := get()
		if err != nil {
			return latency{}, err
		}
		if a.status != http.StatusOK && a.status != http.StatusNotFound {
			return latency{}, statusError(a.status)
		}
		times = append(times, a.took)
		if a.reused {
			reused++
		}
	}
	slices.Sort(times)
	at := func(q float64) time.Duration { return times[int(q*float64(len(times)-1)+0.5)] }
	return latency{least: times[0], median: at(0.5), p95: at(0.95), reused: reused}, nil
}
