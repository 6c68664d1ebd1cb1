package retention

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Run looks now and then, and early when the disk is full, until ctx ends. It has no error: what goes wrong is told by [Runner.Degraded] and tried again.
func (r *Runner) Run(ctx context.Context) {
	timer := time.NewTimer(r.opts.Delay)
	defer timer.Stop()
	room := time.NewTicker(lookInterval)
	defer room.Stop()
	defer r.abandon(ctx)
	var next time.Time // no early look before
	for {
		early := true
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			early = false
		case b := <-r.asked:
			r.goOn(ctx, b)
			continue
		case <-r.full:
		case <-room.C:
			if !r.lacksRoom() {
				continue
			}
		}
		began := time.Now()
		if early && began.Before(next) {
			continue
		}
		r.once(ctx, early)
		next = time.Now().Add(max(earliest, 10*time.Since(began)))
		timer.Reset(r.opts.Interval)
	}
}

// lacksRoom reports whether the disk has less room than there has to be. What cannot be asked is no reason for an early look; a look tells of it.
func (r *Runner) lacksRoom() bool {
	d := r.opts.Disk
	if d.MinFree <= 0 || d.Free == nil {
		return false
	}
	free, err := d.Free()
	return err == nil && free < d.MinFree
}

func (r *Runner) once(ctx context.Context, early bool) {
	request := Request{lately: r.opts.Interval / 2}
	if early {
		request.lately = 0
		r.log.Info("the disk is full, or has less room than min-free: looking for entries to remove")
	}
	began := time.Now()
	report, err := r.Look(ctx, request)
	if errors.Is(err, ErrBusy) || ctx.Err() != nil {
		return
	}
	r.looked(began, report, err)
}

// goOn does what somebody asked for.
func (r *Runner) goOn(ctx context.Context, b *begun) {
	r.log.Info("somebody asked for entries beyond the bounds to be removed", "run", b.run.ID, "by", b.run.By, "workspace", string(b.run.Workspace))
	began := time.Now()
	report, err := b.finish(ctx)
	switch {
	case ctx.Err() != nil:
	case b.run.Workspace == "":
		r.looked(began, report, err)
	default: // says nothing of the store as a whole
		r.tell(report, time.Since(began), err)
	}
}

func (r *Runner) looked(began time.Time, report Report, err error) {
	took := time.Since(began)
	r.metrics.looked(r.opts.Now(), took, report, err)
	r.judge(report, err)
	r.tell(report, took, err)
}

// judge keeps what is wrong for [Runner.Degraded].
func (r *Runner) judge(report Report, err error) {
	switch {
	case err != nil:
		err = fmt.Errorf("entries beyond the bounds cannot be removed: %w", err)
	case report.Lacking > 0:
		err = fmt.Errorf("the store is %d bytes beyond the bound for the disk, and all that is left was used within the last two hours, is of the trusted scope and within its bound, or lies in uploads that have not ended: "+
			"make the disk larger, the quotas smaller, or keep other files away from it", report.Lacking)
	case report.Failed > 0:
		err = fmt.Errorf("%d entries beyond the bounds could not be deleted: see the store's log", report.Failed)
	case !report.AgesWait.IsZero():
		err = fmt.Errorf("between two looks at the store lay more than three days: the servers did not run, a clock was wrong, or the ledger is from a backup. No entry goes for its age until %s; "+
			"entries count as unused from now on", report.AgesWait.UTC().Format(time.RFC3339))
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	r.trouble.Store(&err)
}

// Degraded says why bounds are not kept, or nil.
func (r *Runner) Degraded() error {
	if err := r.trouble.Load(); err != nil {
		return *err
	}
	return nil
}

// tell logs what went, a line for each reason.
func (r *Runner) tell(report Report, took time.Duration, err error) {
	byReason := make(map[Reason]*Line)
	for _, line := range report.Lines {
		sum := byReason[line.Reason]
		if sum == nil {
			sum = &Line{}
			byReason[line.Reason] = sum
		}
		sum.Entries += line.Entries
		sum.Bytes += line.Bytes
	}
	for _, reason := range Reasons {
		if sum := byReason[reason]; sum != nil {
			r.log.Info("removed entries", "reason", string(reason), "entries", sum.Entries, "bytes", sum.Bytes, "seconds", took.Seconds())
		}
	}
	if report.Other > 0 {
		r.log.Warn("under some keys the store has other entries than the ledger knows; they stay: run 'bezoar ledger rebuild'", "entries", report.Other)
	}
	if err != nil {
		r.log.Warn("entries beyond the bounds could not be removed; it is tried again", "error", err)
	}
}
