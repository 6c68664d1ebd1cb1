package retention_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

const day = 24 * time.Hour

// reasons tells of each line of a report: scope, reason, entries, bytes.
func reasons(r retention.Report) (all []string) {
	for _, l := range r.Lines {
		all = append(all, fmt.Sprint(l.Scope, " ", l.Reason, " ", l.Entries, " ", l.Bytes))
	}
	return all
}

func TestReasons(t *testing.T) {
	w := begun(t)
	w.put(key("trusted", "old-hot"), 10)
	w.put(key("trusted", "old-cold"), 10)
	w.put(key("pr/1", "old"), 10)
	w.pass(t, 20*day)
	w.put(key("trusted", "a"), 10)
	w.put(key("pr/1", "a"), 10)
	w.read(key("trusted", "old-hot"))
	w.pass(t, 15*day)
	w.put(key("trusted", "b"), 10)
	w.put(key("pr/1", "b"), 10)
	w.put(key("pr/1", "c"), 10)
	w.pass(t, 3*time.Hour)
	limits := retention.Limits{
		Trusted: retention.Ages{MaxUnused: 30 * day}, TrustedBytes: 20,
		Others: retention.Ages{MaxAge: 30 * day, MaxUnused: 14 * day}, PerScope: 10,
	}
	want := []string{"pr/1 age 1 10", "pr/1 unused 1 10", "pr/1 quota 1 10", "trusted unused 1 10", "trusted quota 1 10"}
	dry, err := w.runner(limits, retention.Disk{}).Look(t.Context(), retention.Request{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, reasons(dry)); diff != "" {
		t.Errorf("dry run (-want +got):\n%s", diff)
	}
	if len(w.deleted) > 0 {
		t.Fatalf("a dry run deleted %v", w.deleted)
	}
	var each []string
	report, err := w.runner(limits, retention.Disk{}).Look(t.Context(), retention.Request{Each: func(e retention.Entry, r retention.Reason) { each = append(each, string(e.Key.Hash)) }})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dry, report); diff != "" {
		t.Errorf("a look did something else than a dry run said (-dry +look):\n%s", diff)
	}
	if w.left("trusted") != "b old-hot" && w.left("trusted") != "a b" || w.left("pr/1") != "c" || len(each) != 5 {
		t.Errorf("left %q and %q, told of %q", w.left("trusted"), w.left("pr/1"), each)
	}
}

// TestAFloodPaysForItself: beyond what untrusted scopes may hold together, the largest one goes down, and neither the small ones nor the trusted one.
func TestAFloodPaysForItself(t *testing.T) {
	for name, bound := range map[string]struct {
		limits retention.Limits
		disk   retention.Disk
		reason string
	}{
		"untrusted": {limits: retention.Limits{UntrustedTotal: 100}, reason: "untrusted"},
		"disk":      {disk: retention.Disk{MaxBytes: 1100}, reason: "disk"},
	} {
		t.Run(name, func(t *testing.T) {
			w := begun(t)
			for i := range 100 {
				w.put(key("trusted", fmt.Sprint(i)), 10)
			}
			w.put(key("pr/1", "cold"), 10)
			w.put(key("pr/2", "cold"), 20)
			w.pass(t, 10*day)
			for i := range 50 {
				w.put(key("run/666", fmt.Sprint(i)), 10)
			}
			// At once, all of the flood is spared, and nobody else pays for it.
			if report := w.look(t, bound.limits, bound.disk); report.Entries > 0 {
				t.Errorf("went at once: %v", reasons(report))
			}
			w.pass(t, 3*time.Hour)
			report := w.look(t, bound.limits, bound.disk)
			if diff := cmp.Diff([]string{"run/666 " + bound.reason + " 43 430"}, reasons(report)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTrustedPaysForItself alone: what is too much although every untrusted entry were gone.
func TestTrustedPaysForItself(t *testing.T) {
	w := begun(t)
	for i := range 20 {
		w.put(key("trusted", fmt.Sprint(i)), 10)
		w.pass(t, time.Hour)
	}
	w.pass(t, day)
	w.put(key("pr/1", "fresh"), 1000)
	disk := retention.Disk{MaxBytes: 190}
	report := w.look(t, retention.Limits{}, disk)
	if diff := cmp.Diff([]string{"trusted disk 1 10"}, reasons(report)); diff != "" || report.Lacking != 1000 {
		t.Errorf("%s%+v", diff, report)
	}
	if w.has(key("trusted", "0")) {
		t.Error("the coldest stayed")
	}
	// min-free: what is free does not count what others could give.
	free := int64(0)
	disk = retention.Disk{MinFree: 1005, Free: func() (int64, error) { return free, nil }}
	if got := reasons(w.look(t, retention.Limits{}, disk)); !cmp.Equal(got, []string{"trusted disk 1 10"}) {
		t.Error(got)
	}
	none := func() (int64, error) { return 0, errors.New("no such disk") }
	for _, disk := range []retention.Disk{{MinFree: 1005, Free: none}, {MinFree: 1005, Free: disk.Free, Unfinished: none}} {
		if _, err := w.runner(retention.Limits{}, disk).Look(t.Context(), retention.Request{}); err == nil || !strings.Contains(err.Error(), "no such disk") {
			t.Error(err)
		}
	}
}

// TestUploadsUnderWayCostTrustedNothing: who begins uploads and does not end them fills the disk, and has no trusted entry go for it.
func TestUploadsUnderWayCostTrustedNothing(t *testing.T) {
	w := begun(t)
	for i := range 20 {
		w.put(key("trusted", fmt.Sprint(i)), 10)
		w.put(key("pr/1", fmt.Sprint(i)), 1)
	}
	w.pass(t, day)
	free, unfinished := int64(0), int64(100)
	disk := retention.Disk{
		MinFree: 90, Free: func() (int64, error) { return free, nil },
		Unfinished: func() (int64, error) { // an upload ends in the midst of a look, and another one begins in the midst of the next
			n := unfinished
			unfinished = 100 - n
			return n, nil
		},
	}
	for range 2 {
		report := w.look(t, retention.Limits{}, disk)
		if w.left("trusted") == "" || report.Lacking != 90 {
			t.Errorf("%+v", report)
		}
		for _, line := range report.Lines {
			if line.Scope == "trusted" {
				t.Errorf("trusted entries went for an upload that is under way: %+v", line)
			}
		}
		unfinished = 100 - unfinished
	}
	// What is too much beside it, they pay.
	unfinished = 0
	disk.Unfinished = func() (int64, error) { return 70, nil }
	if got := reasons(w.look(t, retention.Limits{}, disk)); !cmp.Equal(got, []string{"trusted disk 2 20"}) {
		t.Error(got)
	}
	disk.MaxBytes = 150 // and what there must not be however much room there is
	if got := reasons(w.look(t, retention.Limits{}, disk)); !cmp.Equal(got, []string{"trusted disk 3 30"}) {
		t.Error(got)
	}
}

// TestWhatTheLedgerHasWrong is left alone, and nothing else goes in its place.
func TestWhatTheLedgerHasWrong(t *testing.T) {
	w := begun(t)
	for i, hash := range []string{"other", "gone", "stuck", "a", "b", "c"} {
		w.put(key("trusted", hash), 10)
		w.now = w.now.Add(time.Duration(i+1) * time.Second)
	}
	w.pass(t, day)
	w.stored[key("trusted", "other")] = "uploaded anew"
	delete(w.stored, key("trusted", "gone"))
	w.errs[key("trusted", "stuck")] = errors.New("a disk that fails")
	report := w.look(t, retention.Limits{TrustedBytes: 20}, retention.Disk{})
	if report.Other != 1 || report.Failed != 1 || report.Entries != 1 || w.left("trusted") != "b c other stuck" {
		t.Errorf("%+v, left %q", report, w.left("trusted"))
	}
	for _, e := range w.entries {
		if e.Key.Hash == "gone" {
			t.Error("what is gone is still known")
		}
	}
}

// TestAStoreInTrouble ends a look before it has gone through everything.
func TestAStoreInTrouble(t *testing.T) {
	w := begun(t)
	for i := range 1000 {
		k := key("trusted", fmt.Sprint(i))
		w.put(k, 10)
		w.errs[k] = errors.New("a disk that fails")
	}
	w.pass(t, 10*day)
	report, err := w.runner(retention.Limits{Trusted: retention.Ages{MaxUnused: day}}, retention.Disk{}).Look(t.Context(), retention.Request{})
	if err == nil || !strings.Contains(err.Error(), "a disk that fails") || report.Failed > 500 {
		t.Errorf("%+v %v", report, err)
	}
}

// TestClockAhead: neither a clock that went ahead nor a ledger from a backup makes everything old at once.
func TestClockAhead(t *testing.T) {
	w := begun(t)
	for i := range 10 {
		w.put(key("trusted", fmt.Sprint(i)), 10)
		w.put(key("pr/1", fmt.Sprint(i)), 10)
	}
	w.pass(t, 2*day)
	limits := retention.Limits{Trusted: retention.Ages{MaxUnused: 30 * day}, Others: retention.Ages{MaxAge: 30 * day}}
	w.now = w.now.AddDate(1, 0, 0)
	report := w.look(t, limits, retention.Disk{})
	if report.Entries > 0 || !report.AgesWait.Equal(w.now.Add(day)) {
		t.Errorf("%+v", report)
	}
	// It goes back: nothing is lost, and nothing waits.
	w.now = w.now.AddDate(-1, 0, 0)
	if report := w.look(t, limits, retention.Disk{}); report.Entries > 0 || !report.AgesWait.IsZero() {
		t.Errorf("%+v", report)
	}
	// It stays ahead, and so it is right: ages hold after a day, and what is unused counts from the jump on.
	w.now = w.now.AddDate(1, 0, 0)
	w.look(t, limits, retention.Disk{})
	w.pass(t, day)
	if got := reasons(w.look(t, limits, retention.Disk{})); !cmp.Equal(got, []string{"pr/1 age 10 100"}) {
		t.Error(got)
	}
	w.pass(t, 29*day)
	if report := w.look(t, limits, retention.Disk{}); report.Entries > 0 {
		t.Errorf("%+v", report)
	}
	w.pass(t, day)
	if got := reasons(w.look(t, limits, retention.Disk{})); !cmp.Equal(got, []string{"trusted unused 10 100"}) {
		t.Error(got)
	}
}

// TestTheFirstLook knows nothing of the time before: what nobody was known to read goes no sooner than a full time later.
func TestTheFirstLook(t *testing.T) {
	w := newWorld()
	w.put(key("trusted", "old"), 10)
	w.entries[0].Used = time.Time{}
	w.now = w.now.AddDate(2, 0, 0)
	limits := retention.Limits{Trusted: retention.Ages{MaxUnused: 10 * day}, TrustedBytes: 1}
	if report := w.look(t, limits, retention.Disk{}); report.Entries > 0 {
		t.Error(reasons(report))
	}
	limits.TrustedBytes = 0
	w.pass(t, 10*day)
	if report := w.look(t, limits, retention.Disk{}); report.Entries > 0 {
		t.Error(reasons(report))
	}
	w.pass(t, 2*time.Hour)
	if report := w.look(t, limits, retention.Disk{}); report.Entries != 1 {
		t.Error(reasons(report))
	}
}

// TestSpare: what is noted of a use may be an hour old, and still nothing goes that was read within the last hour.
func TestSpare(t *testing.T) {
	w := begun(t)
	w.put(key("trusted", "a"), 10)
	w.pass(t, 59*time.Minute)
	w.read(key("trusted", "a"))
	w.pass(t, 59*time.Minute)
	limits := retention.Limits{TrustedBytes: 1, Trusted: retention.Ages{MaxUnused: time.Hour}}
	if report := w.look(t, limits, retention.Disk{MaxBytes: 1}); report.Entries > 0 {
		t.Error(reasons(report))
	}
	w.pass(t, 3*time.Minute)
	if report := w.look(t, limits, retention.Disk{MaxBytes: 1}); report.Entries != 1 {
		t.Error(reasons(report))
	}
}

func TestOneAtATime(t *testing.T) {
	w := begun(t)
	w.put(key("trusted", "a"), 10)
	w.pass(t, 10*day)
	w.holder = "another server"
	limits := retention.Limits{Trusted: retention.Ages{MaxUnused: day}}
	if _, err := w.runner(limits, retention.Disk{}).Look(t.Context(), retention.Request{}); !errors.Is(err, retention.ErrBusy) || len(w.deleted) > 0 {
		t.Errorf("%v, deleted %v", err, w.deleted)
	}
	if report, err := w.runner(limits, retention.Disk{}).Look(t.Context(), retention.Request{DryRun: true}); err != nil || report.Entries != 1 {
		t.Errorf("%+v %v", report, err)
	}
}

// TestOneWorkspace leaves others alone, and the disk.
func TestOneWorkspace(t *testing.T) {
	w := begun(t)
	other := cache.Key{Workspace: "library", Scope: "trusted", Hash: "1"}
	w.put(other, 10)
	w.put(key("trusted", "1"), 10)
	w.pass(t, 10*day)
	report, err := w.runner(retention.Limits{Trusted: retention.Ages{MaxUnused: day}}, retention.Disk{MaxBytes: 1}).Look(t.Context(), retention.Request{Workspace: "web"})
	if err != nil || report.Entries != 1 || !w.has(other) {
		t.Errorf("%+v %v", report, err)
	}
}

func TestALookEndsWithItsContext(t *testing.T) {
	w := begun(t)
	for i := range 10 {
		w.put(key("trusted", fmt.Sprint(i)), 10)
	}
	w.pass(t, 10*day)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.runner(retention.Limits{Trusted: retention.Ages{MaxUnused: day}}, retention.Disk{}).Look(ctx, retention.Request{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if w.holder != "" {
		t.Error("the lease is still held")
	}
}

func TestEndScope(t *testing.T) {
	w := begun(t)
	for i := range 1000 {
		w.put(key("pr/1", fmt.Sprint(i)), 10)
		w.put(key("pr/10", fmt.Sprint(i)), 10)
	}
	scopes, err := w.Held(t.Context(), 0, 10)
	if err != nil || len(scopes) != 2 || scopes[0].Scope != "pr/1" {
		t.Fatal(scopes, err)
	}
	told := 0
	report, err := retention.EndScope(t.Context(), w, w, scopes[0], func(int64, int64) { told++ })
	if err != nil || report.Entries != 1000 || report.Bytes != 10_000 || told == 0 {
		t.Errorf("%+v %v", report, err)
	}
	if w.left("pr/1") != "" || len(w.entries) != 1000 || len(w.stored) != 1000 {
		t.Errorf("left %q, %d entries", w.left("pr/1"), len(w.stored))
	}
}
