package doctor

import (
	"context"
	"net/http"
	"slices"
	"time"
)

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
	fresh, err := e.sample(func() (*answer, error) {
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
	kept, err := e.sample(func() (*answer, error) { return e.http.get(ctx, hash, size) })
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

func (e *exam) sample(get func() (*answer, error)) (latency, error) {
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
