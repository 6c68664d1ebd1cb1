package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// maxBreaks bounds how often in a row a body may break off without a byte in between, maxResumes how often in all.
	maxBreaks  = 4
	maxResumes = 100
	// maxDrips is how many lines of a body may be too slow. The second one is for a line that happened to be bad; a bucket that drips does so on all, and a
	// build waits for each as long as a window of its pace is.
	maxDrips = 2
	// firstPause is waited before the second try in a row; each further one doubles it.
	firstPause = 100 * time.Millisecond
)

var (
	errStalled = errors.New("no answer or no bytes came for too long")
	errCut     = errors.New("the answer ended too early")
	errDrips   = errors.New("the bytes came too slowly")
)

// reader reads an object, of the same version to the end: where the line breaks or stalls, it goes on from there.
type reader struct {
	store *Store
	ctx   context.Context //nolint:containedctx // under which the object was opened; its body lives as long
	name  string

	info    Info
	off     int64
	body    io.ReadCloser
	request context.Context         //nolint:containedctx // of the request under way
	cancel  context.CancelCauseFunc // ends it
	stall   *time.Timer
	breaks  int // in a row
	pace    pace
	drips   int // lines that were too slow
	resumes int
	broken  error
}

func (s *Store) newReader(ctx context.Context, name string) *reader {
	return &reader{store: s, ctx: ctx, name: name}
}

// open sends the first request. Whoever waits for it may have a deadline of his own, but a download that many share lives as long as any of them
// waits: one that is never answered must not be joined for ever.
func (r *reader) open() (Info, error) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	timer := time.AfterFunc(r.store.opts.Stall, func() { cancel(errStalled) })
	info, body, err := r.store.bucket.Get(ctx, r.name, r.off, r.info.Version)
	timer.Stop()
	if err != nil {
		if errors.Is(context.Cause(ctx), errStalled) && !errors.Is(err, ErrNotExist) {
			err = fmt.Errorf("%w: %v", errStalled, err) //nolint:errorlint // its cancellation is not that of whoever reads
		}
		cancel(nil)
		return Info{}, err
	}
	r.begin(ctx, body, cancel)
	r.info = info
	r.info.Name = r.name
	return r.info, nil
}

func (r *reader) begin(ctx context.Context, body io.ReadCloser, cancel context.CancelCauseFunc) {
	r.body, r.request, r.cancel = body, ctx, cancel
	r.stall = time.AfterFunc(r.store.opts.Stall, func() { cancel(errStalled) })
	r.stall.Stop()
}

// Read ends after exactly the bytes that the object had when it was opened.
func (r *reader) Read(p []byte) (int, error) {
	for {
		if r.off >= r.info.Size {
			return 0, io.EOF
		}
		if r.broken != nil {
			return 0, r.broken
		}
		r.stall.Reset(r.store.opts.Stall)
		begun := time.Now()
		n, err := r.body.Read(p[:min(int64(len(p)), r.info.Size-r.off)])
		r.stall.Stop()
		tooSlow := r.pace.add(n, time.Since(begun), r.store.opts.Stall, r.store.opts.MinRate)
		if n > 0 {
			r.off += int64(n)
			r.breaks = 0
			cache.Progress(r.ctx)
			if tooSlow && r.off < r.info.Size {
				r.broken = r.resumeFaster()
			}
			return n, nil
		}
		if err == nil {
			continue
		}
		switch {
		case errors.Is(err, io.EOF):
			err = errCut // by the length, there is more
		case errors.Is(context.Cause(r.request), errStalled):
			err = errStalled
		}
		r.broken = r.resume(err)
	}
}

// resume opens what is left, and returns the error that ends the reading.
func (r *reader) resume(cause error) error {
	for {
		r.end()
		r.breaks++
		r.resumes++
		if r.ctx.Err() != nil {
			return fmt.Errorf("read %s: %w", r.name, context.Cause(r.ctx))
		}
		if r.breaks > maxBreaks || r.resumes > maxResumes {
			// Not wrapped: an unexpected end of the line is not one of the body, and its cancellation not that of whoever reads.
			return fmt.Errorf("read %s: it broke off at byte %d of %d, and trying again did not help: %v", r.name, r.off, r.info.Size, cause) //nolint:errorlint // see above
		}
		if r.breaks > 1 {
			select {
			case <-time.After(firstPause << (r.breaks - 2)):
			case <-r.ctx.Done():
				continue
			}
		}
		ctx, cancel := context.WithCancelCause(r.ctx)
		timer := time.AfterFunc(r.store.opts.Stall, func() { cancel(errStalled) })
		_, body, err := r.store.bucket.Get(ctx, r.name, r.off, r.info.Version)
		timer.Stop()
		if err == nil {
			r.begin(ctx, body, cancel)
			return nil
		}
		cancel(nil)
		if errors.Is(err, ErrChanged) || errors.Is(err, ErrNotExist) || errors.Is(err, ErrRefused) {
			return fmt.Errorf("read %s on from byte %d of %d: %w", r.name, r.off, r.info.Size, err)
		}
		cause = err
	}
}

// resumeFaster tries another line, since this one drips: there might be no end of it for hours.
func (r *reader) resumeFaster() error {
	if r.drips++; r.drips >= maxDrips {
		r.end()
		return fmt.Errorf("read %s: at byte %d of %d: %w, on %d lines", r.name, r.off, r.info.Size, errDrips, r.drips)
	}
	return r.resume(errDrips)
}

// pace tells a line that drips from one that moves.
type pace struct {
	bytes int64
	took  time.Duration // waiting for them; how long the reader takes for them is not the bucket's affair
}

// add counts what a wait brought, and reports whether the bytes of a whole window were too few.
func (p *pace) add(n int, took, window time.Duration, rate int64) (tooSlow bool) {
	p.bytes += int64(n)
	p.took += took
	if p.took < window {
		return false
	}
	tooSlow = float64(p.bytes) < float64(rate)*p.took.Seconds()
	*p = pace{}
	return tooSlow
}

// end gives the request under way back.
func (r *reader) end() {
	if r.body == nil {
		return
	}
	r.stall.Stop()
	r.cancel(nil)
	_ = r.body.Close() // what it says of a request that is given up helps nobody
	r.body = nil
}

// close ends the reading.
func (r *reader) close() {
	r.end()
	if r.broken == nil {
		r.broken = errors.New("read after close")
	}
}
