package retention

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// runsName is the setting in which the last runs are noted, by whoever has the turn to remove.
	runsName = "retention-runs"
	// MaxRuns is how many of the last runs are remembered.
	MaxRuns = 20
	// MaxRunLines is how many lines of the report of each are.
	MaxRunLines = 100
	// progressEvery is how often a run that lasts notes how far it is.
	progressEvery = 2 * time.Second
)

// RunState says how a run is.
type RunState string

// The states of a run.
const (
	RunRunning RunState = "running"
	RunDone    RunState = "done"
	// RunFailed came to an end before it was done; the log of the server that did it says why.
	RunFailed RunState = "failed"
	// RunBroken was found running when the next one began: its server or command ended without a word.
	RunBroken RunState = "broken off"
)

// Run is a look that removes: under way or over. It is noted in the ledger, so that every server can tell of it.
type Run struct {
	// ID is 12 hexadecimal digits.
	ID string `json:"id"`
	// By says who asked for it, for people; empty: a server did it by itself, which Replica names.
	By      string `json:"by,omitempty"`
	Replica string `json:"replica,omitempty"`
	// Workspace is the only one that it looks at; empty: all.
	Workspace cache.Workspace `json:"workspace,omitempty"`
	State     RunState        `json:"state"`
	// Began and Changed are when it began, and when it was last noted how far it is; then it ended, if it is over.
	Began   time.Time `json:"began"`
	Changed time.Time `json:"changed"`
	// Report has at most [MaxRunLines] lines; its sums are of all.
	Report Report `json:"report"`
}

// Runs returns the last runs, the newest first.
func Runs(ctx context.Context, ledger Ledger) (runs []Run, err error) {
	text, err := ledger.Setting(ctx, runsName)
	if err != nil || len(text) == 0 {
		return nil, err
	}
	if err := json.Unmarshal(text, &runs); err != nil {
		return nil, fmt.Errorf("the setting %q in the ledger: %w", runsName, err)
	}
	return runs, nil
}

// noteRun puts a run in its place among the last ones. Only who has the turn to remove calls it: of the others, none runs any more.
func noteRun(ctx context.Context, ledger Ledger, run *Run) error {
	ctx, cancel := context.WithTimeout(ctx, ledgerTimeout)
	defer cancel()
	before, err := Runs(ctx, ledger)
	if err != nil {
		before = nil // what nobody can read keeps nobody from going on
	}
	noted := *run
	noted.Report.Lines = noted.Report.Lines[:min(len(noted.Report.Lines), MaxRunLines)]
	all := []Run{noted}
	for _, other := range before {
		if other.ID == run.ID || len(all) == MaxRuns {
			continue
		}
		if other.State == RunRunning {
			other.State = RunBroken
		}
		all = append(all, other)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return ledger.SetSetting(ctx, runsName, text)
}

func newRunID() string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails: it ends the process instead
	return hex.EncodeToString(id[:])
}

// begun is a run that has its turn.
type begun struct {
	r       *Runner
	request Request
	lease   *lease
	state   state
	run     Run
	noted   time.Time
	failed  error // of the first noting
}

// begin takes the turn and notes that there is a run. [ErrBusy].
func (r *Runner) begin(ctx context.Context, request Request) (_ *begun, err error) {
	if !r.looking.TryLock() {
		return nil, ErrBusy
	}
	b := &begun{r: r, request: request, lease: &lease{ledger: r.opts.Ledger, holder: r.holder}}
	defer func() {
		if err != nil {
			r.looking.Unlock()
		}
	}()
	if err := b.lease.take(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = b.lease.end(ctx) // it ends by itself, too
		}
	}()
	if b.state, err = readState(ctx, r.opts.Ledger); err != nil {
		return nil, err
	}
	now := r.opts.Now()
	if ago := now.Sub(time.Unix(b.state.Seen, 0)); request.lately > 0 && ago >= 0 && ago < request.lately {
		return nil, ErrBusy
	}
	b.state = b.state.next(now)
	// Before anything goes: a look that is broken off was one, and a gap is a gap for all later looks.
	if err := writeState(ctx, r.opts.Ledger, b.state); err != nil {
		return nil, err
	}
	b.run = Run{ID: newRunID(), By: request.By, Replica: r.opts.Replica, Workspace: request.Workspace, State: RunRunning, Began: now.UTC()}
	b.failed = b.note(ctx)
	return b, nil
}

// note writes down how the run is. That it could not is no reason to keep entries.
func (b *begun) note(ctx context.Context) error {
	b.run.Changed, b.noted = b.r.opts.Now().UTC(), time.Now()
	err := noteRun(ctx, b.r.opts.Ledger, &b.run)
	if err != nil {
		b.r.log.Warn("how far the removal of entries is could not be noted", "run", b.run.ID, "error", err)
	}
	return err
}

// keep prolongs the turn and notes how far the run is, when it is time to.
func (b *begun) keep(ctx context.Context, report func() Report) error {
	if time.Since(b.noted) >= progressEvery {
		b.run.Report = report()
		_ = b.note(ctx) // it is logged
	}
	return b.lease.keep(ctx)
}

// finish looks, and gives the turn up.
func (b *begun) finish(ctx context.Context) (report Report, err error) {
	defer b.r.looking.Unlock()
	report, err = b.r.look(ctx, b.request, b.state, b.keep)
	b.run.State, b.run.Report = RunDone, report
	if err != nil {
		b.run.State = RunFailed
	}
	_ = b.note(context.WithoutCancel(ctx)) // it is logged
	err = joined(err, b.lease.end(ctx))
	done := b.request.Done
	if done == nil {
		done = b.r.opts.Done
	}
	if done != nil && report.Entries > 0 {
		done(ctx, report)
	}
	return report, err
}

// Ask begins a run that [Runner.Run] goes on with, and returns it as it begins. [ErrBusy] if there is one; one run waits at a time.
func (r *Runner) Ask(ctx context.Context, request Request) (Run, error) {
	b, err := r.begin(ctx, request)
	if err != nil {
		return Run{}, err
	}
	if b.failed != nil { // nobody could ask how it goes
		err := b.failed
		r.looking.Unlock()
		return Run{}, joined(err, b.lease.end(ctx))
	}
	run := b.run
	r.asked <- b // there is room: one at a time has the turn
	return run, nil
}

// abandon ends what was asked for and nobody goes on with any more.
func (r *Runner) abandon(ctx context.Context) {
	select {
	case b := <-r.asked:
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		_, _ = b.finish(ctx) // it is broken off before its first step
	default:
	}
}
