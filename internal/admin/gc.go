package admin

import (
	"context"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Collector removes what is beyond the bounds. *retention.Runner is one.
type Collector interface {
	// Look looks once.
	Look(ctx context.Context, request retention.Request) (retention.Report, error)
	// Ask begins a run that goes on when Ask has returned. [retention.ErrBusy].
	Ask(ctx context.Context, request retention.Request) (retention.Run, error)
}

// Removed is what goes, or went, from one scope for one reason.
type Removed struct {
	Workspace string `json:"workspace"`
	Scope     string `json:"scope"`
	Reason    string `json:"reason"`
	Entries   int64  `json:"entries"`
	Bytes     int64  `json:"bytes"`
}

// RemovedEntry is an entry that goes, or went.
type RemovedEntry struct {
	Workspace string `json:"workspace"`
	Scope     string `json:"scope"`
	Hash      string `json:"hash"`
	Size      int64  `json:"size"`
	Created   string `json:"created"`
	Used      string `json:"used,omitempty"`
	Reason    string `json:"reason"`
}

// Collection is what came of a look at the store, or would come of it.
type Collection struct {
	DryRun   bool           `json:"dry_run"`
	Removed  []Removed      `json:"removed"`
	Entries  int64          `json:"entries"`
	Bytes    int64          `json:"bytes"`
	Other    int64          `json:"other"`
	Failed   int64          `json:"failed"`
	Lacking  int64          `json:"lacking"`
	AgesWait string         `json:"ages_wait,omitempty"`
	List     []RemovedEntry `json:"list,omitempty"`
}

// ShowCollection makes a report fit to be shown.
func ShowCollection(r *retention.Report, dryRun bool) Collection {
	out := Collection{
		DryRun: dryRun, Removed: []Removed{}, Entries: r.Entries, Bytes: r.Bytes, Other: r.Other, Failed: r.Failed, Lacking: r.Lacking,
		AgesWait: timeText(r.AgesWait),
	}
	for _, l := range r.Lines {
		out.Removed = append(out.Removed, Removed{string(l.Workspace), string(l.Scope), string(l.Reason), l.Entries, l.Bytes})
	}
	return out
}

// ShowRemoved makes an entry fit to be shown that goes.
func ShowRemoved(e *retention.Entry, reason retention.Reason) RemovedEntry {
	return RemovedEntry{
		string(e.Key.Workspace), string(e.Key.Scope), string(e.Key.Hash), e.Size, timeText(e.Created), timeText(e.Used), string(reason),
	}
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// GCRun is a run of the retention: under way or over.
type GCRun struct {
	ID string `json:"id"`
	// State is "running", "done", "failed", or "broken off" for one whose server or command ended without a word.
	State string `json:"state"`
	// By says who asked for it; empty: the server Replica did it by itself.
	By      string `json:"by"`
	Replica string `json:"replica"`
	// Workspace is the only one that it looked at; null: all.
	Workspace *cache.Workspace `json:"workspace"`
	Began     time.Time        `json:"began"`
	// Changed is when it was last noted how far it is, or when it ended.
	Changed time.Time `json:"changed"`
	// Report has what went so far, in at most [retention.MaxRunLines] lines.
	Report Collection `json:"report"`
}

// ShowGCRun makes a run fit to be shown.
func ShowGCRun(r *retention.Run) GCRun {
	out := GCRun{
		ID: r.ID, State: string(r.State), By: r.By, Replica: r.Replica, Began: r.Began, Changed: r.Changed, Report: ShowCollection(&r.Report, false),
	}
	if r.Workspace != "" {
		out.Workspace = &r.Workspace
	}
	return out
}

// Over reports whether the run has ended.
func (r *GCRun) Over() bool { return r.State != string(retention.RunRunning) }

// GCRuns is a page of runs.
type GCRuns struct {
	Runs []GCRun `json:"runs"`
	Next string  `json:"next"`
}

// CollectedEvent is that of entries that went, counted by reason. The workspace is the only one that was looked at.
func CollectedEvent(r *retention.Report, workspace cache.Workspace) audit.Event {
	reasons := map[string]int64{}
	for _, line := range r.Lines {
		reasons[string(line.Reason)] += line.Entries
	}
	details := audit.Details{"entries": r.Entries, "bytes": r.Bytes}
	for reason, entries := range reasons {
		details[reason] = entries
	}
	return audit.Event{Action: audit.Collected, Workspace: workspace, Details: details}
}

var errNoCollector = errors.New("there is no store to delete from")

// PlanGC implements [Service].
func (a *acting) PlanGC(ctx context.Context, workspace cache.Workspace, list int) (Collection, error) {
	if err := a.need(trust.Viewer); err != nil {
		return Collection{}, err
	}
	workspace, err := a.within(workspace)
	if err != nil {
		return Collection{}, err
	}
	if a.opts.Collector == nil {
		return Collection{}, errNoCollector
	}
	var entries []RemovedEntry
	report, err := a.opts.Collector.Look(ctx, retention.Request{DryRun: true, Workspace: workspace, Each: func(e retention.Entry, reason retention.Reason) {
		if len(entries) < list {
			entries = append(entries, ShowRemoved(&e, reason))
		}
	}})
	out := ShowCollection(&report, true)
	out.List = entries
	return out, err
}

// RunGC implements [Service]. It is what servers do by themselves, within the bounds that are in force.
func (a *acting) RunGC(ctx context.Context, workspace cache.Workspace) (GCRun, error) {
	if err := a.need(trust.Operator); err != nil {
		return GCRun{}, err
	}
	workspace, err := a.within(workspace)
	if err != nil {
		return GCRun{}, err
	}
	if a.opts.Collector == nil {
		return GCRun{}, errNoCollector
	}
	run, err := a.opts.Collector.Ask(ctx, retention.Request{Workspace: workspace, By: a.name(), Done: func(ctx context.Context, report retention.Report) {
		a.notOnRecord(a.opts.Ledger.Note(context.WithoutCancel(ctx), CollectedEvent(&report, workspace)))
	}})
	if err != nil {
		return GCRun{}, err
	}
	return ShowGCRun(&run), nil
}

// GCRuns implements [Service]. An actor of one workspace sees those of that one alone.
func (a *acting) GCRuns(ctx context.Context, page Page) (GCRuns, error) {
	all, err := a.runs(ctx)
	if err != nil {
		return GCRuns{}, err
	}
	items, next, err := pageOf(all, func(r *GCRun) string { return r.ID }, page)
	return GCRuns{Runs: items, Next: next}, err
}

// GCRun implements [Service].
func (a *acting) GCRun(ctx context.Context, id string) (GCRun, error) {
	all, err := a.runs(ctx)
	if err != nil {
		return GCRun{}, err
	}
	for i := range all {
		if all[i].ID == id {
			return all[i], nil
		}
	}
	return GCRun{}, fail(NotFound, "no run of the retention has the id %q; the last %d are remembered", id, retention.MaxRuns)
}

func (a *acting) runs(ctx context.Context) ([]GCRun, error) {
	if err := a.need(trust.Viewer); err != nil {
		return nil, err
	}
	recorded, err := retention.Runs(ctx, a.opts.Ledger)
	if err != nil {
		return nil, err
	}
	all := make([]GCRun, 0, len(recorded))
	for i := range recorded {
		if a.actor.Workspace == "" || recorded[i].Workspace == a.actor.Workspace {
			all = append(all, ShowGCRun(&recorded[i]))
		}
	}
	return all, nil
}
