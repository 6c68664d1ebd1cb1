//go:build e2e

package attack_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// alarmTimeout bounds the wait for a server to notice what it was given.
const alarmTimeout = time.Minute

// alarm is what `bezoar divergences` says of an attempt.
type alarm struct {
	Scope, Hash, Level string
	Comparison         struct {
		State   string
		Members []struct{ Path string }
	}
}

// alarms lists what the server noticed.
func (w *world) alarms(t *testing.T) (all []alarm) {
	t.Helper()
	out, err := w.command.Command(t.Context(), "divergences", "--data", w.data, "--limit", "0", "--json").Output()
	if err == nil {
		err = json.Unmarshal(out, &all)
	}
	if err != nil {
		t.Fatalf("bezoar divergences: %v: %s", err, out)
	}
	return all
}

// awaitAlarms waits for alarms until they are settled and as many as wanted; which they are is the caller's business.
func (w *world) awaitAlarms(t *testing.T, want int) []alarm {
	t.Helper()
	deadline := time.After(alarmTimeout)
	for {
		all := w.alarms(t)
		if len(all) >= want && !slices.ContainsFunc(all, func(a alarm) bool { return a.Level == "pending" }) {
			return all
		}
		select {
		case <-deadline:
			t.Fatalf("%d alarms after %v, want %d, all of them settled: %+v", len(all), alarmTimeout, want, all)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// wantAlarms checks that each hash under which both main and an attacker have stored something raised an alarm, which names what the attacker changed, and that nothing
// else did.
func (w *world) wantAlarms(t *testing.T, c *commit) {
	t.Helper()
	trusted, others := map[string]bool{}, map[string][]string{}
	for _, r := range w.server.Requests(t) {
		switch {
		case r.Method != "PUT" || r.Result != "stored":
		case r.Scope == "trusted":
			trusted[r.Hash] = true
		default:
			others[r.Hash] = append(others[r.Hash], r.Scope)
		}
	}
	want := []string{}
	for hash := range trusted {
		for _, scope := range others[hash] {
			want = append(want, hash+" "+scope)
		}
	}
	projects := map[string]string{}
	for project, hash := range c.hashes {
		projects[hash] = project
	}
	got := []string{}
	for _, a := range w.awaitAlarms(t, len(want)) {
		got = append(got, a.Hash+" "+a.Scope)
		if m := a.Comparison.Members; a.Level != "first" || len(m) != 1 || m[0].Path != bundle(projects[a.Hash]) {
			t.Errorf("the alarm does not say that %s was changed: %+v", projects[a.Hash], a)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("alarms (-want +got):\n%s", diff)
	}
	w.server.AwaitMetric(t, `bezoar_divergences_total{level="first"}`, fmt.Sprint(len(want)), func(n float64) bool { return n == float64(len(want)) })
}

// wantNoAlarm checks that what was stored so far raised no alarm. What is stored is looked at in its order, so it has been when something that comes last raises one.
func (w *world) wantNoAlarm(t *testing.T, main, other string) {
	t.Helper()
	const hash = "an-attempt-at-the-end"
	for _, up := range []struct{ token, content string }{{other, "poison"}, {main, genuine}} { // main's last: else the other one would see it
		if got := w.must(t, request{method: "PUT", path: "/v1/cache/" + hash, token: &up.token, body: archive(ahead, up.content)}); got.status != 200 {
			t.Fatalf("upload: %v", got)
		}
	}
	if all := w.awaitAlarms(t, 1); len(all) != 1 || all[0].Hash != hash {
		t.Errorf("builds that do no harm raised alarms: %+v", all)
	}
}
