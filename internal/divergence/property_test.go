package divergence_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// packed makes an archive of outputs in one of the ways in which Nx and the machines that it runs on may: in another order, at another time, by another user, with
// another compression, beside what another run printed.
func packed(random *rand.Rand, outputs []artifacttest.Member, code uint32) []byte {
	members := slices.Clone(outputs)
	random.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	for i := range members {
		members[i].ModTime, members[i].UID = random.Int64N(1<<31), random.Int64N(2000)
		if members[i].Type == artifacttest.TypeDir && random.IntN(2) == 0 {
			members[i].Name += "/"
		}
		if random.IntN(4) == 0 {
			members[i].Name = "./" + members[i].Name
		}
	}
	last := []artifacttest.Member{artifacttest.TerminalOutput(fmt.Sprintf("built in %d ms\n", random.IntN(100_000))), artifacttest.Code(code)}
	if random.IntN(2) == 0 {
		slices.Reverse(last)
	}
	return artifacttest.GzipLevel(artifacttest.Tar(append(members, last...)...), 1+random.IntN(9))
}

// project makes the outputs of the n-th project.
func project(n int) []artifacttest.Member {
	dir := "dist/packages/p" + strconv.Itoa(n)
	outputs := []artifacttest.Member{
		artifacttest.Dir("dist"), artifacttest.Dir("dist/packages"), artifacttest.Dir(dir),
		{Name: dir + "/run.sh", Mode: 0o755, Body: []byte("#!/bin/sh\nexec node main.js\n")},
		artifacttest.Symlink(dir+"/latest", "main.js"),
	}
	for i := range 3 + n%5 {
		outputs = append(outputs, artifacttest.File(fmt.Sprintf("%s/chunk-%d.%s.js", dir, i, strings.Repeat("long-", n%30)), fmt.Sprintf("export const n = %d;\n", n*i)))
	}
	return outputs
}

// TestDeterministicTasksRaiseNoAlarm: 500 tasks that are built by pull requests and by main.
func TestDeterministicTasksRaiseNoAlarm(t *testing.T) {
	b := newBench(t)
	random := rand.New(rand.NewPCG(3, 4))
	bytesDiffer := 0
	var recorded []cache.Entry
	for n := range 500 {
		outputs := project(n)
		trusted, other := packed(random, outputs, 0), packed(random, outputs, 0)
		if !bytes.Equal(trusted, other) {
			bytesDiffer++
		}
		order := []cache.Scope{cache.Trusted, cache.Scope(fmt.Sprint("pr/", n%40))}
		for i, k := range random.Perm(2) {
			body := [][]byte{trusted, other}[k]
			e := b.entry(order[k], strconv.Itoa(n), body, cache.Producer{Kind: "ci", RunID: strconv.Itoa(i)})
			b.keep(e, body)
			recorded = append(recorded, e)
		}
	}
	if bytesDiffer != 500 {
		t.Fatalf("%d of 500 pairs differ in their bytes: this shows little", bytesDiffer)
	}
	b.record(recorded...)
	b.look()
	if all := b.all(); len(all) != 0 {
		t.Errorf("%d alarms: %+v", len(all), all[0])
	}
	b.wantCounts("0", "0", "0")
}

// TestAlarmsAreThoseOfContent: whatever the archives are, there is an alarm if what they unpack to differs, and only then; and it says which members do.
func TestAlarmsAreThoseOfContent(t *testing.T) {
	b := newBench(t)
	var last int64
	hash := 0
	rapid.Check(t, func(r *rapid.T) {
		hash++
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		outputs := project(rapid.IntRange(0, 40).Draw(r, "project"))
		changed := slices.Clone(outputs)
		code := uint32(0)
		var want []string
		i := rapid.IntRange(3, len(outputs)-1).Draw(r, "member")
		switch change := rapid.SampledFrom([]string{"nothing", "content", "mode", "target", "type", "more", "less", "code"}).Draw(r, "change"); change {
		case "content", "mode", "target", "type":
			m := changed[i]
			switch {
			case m.Type == artifacttest.TypeSymlink && change == "type":
				m = artifacttest.File(m.Name, "main.js")
			case m.Type == artifacttest.TypeSymlink:
				m.Target = "run.sh"
			case change == "mode":
				m.Mode = 0o600
			case change == "content":
				m.Body = append(slices.Clone(m.Body), ' ')
			default:
				m = artifacttest.Symlink(m.Name, "run.sh2")
			}
			changed[i], want = m, []string{m.Name}
		case "more":
			changed, want = append(changed, artifacttest.File("dist/extra", "")), []string{"dist/extra"}
		case "less":
			changed, want = slices.Delete(changed, i, i+1), []string{outputs[i].Name}
		case "code":
			code, want = 1, []string{"code"}
		}
		bodies := [][]byte{packed(random, outputs, 0), packed(random, changed, code)}
		if rapid.Bool().Draw(r, "changed is main's") {
			slices.Reverse(bodies)
		}
		// Each hash in a scope of its own, of which none gets too many.
		b.pair(strconv.Itoa(hash), bodies[0], bodies[1], strconv.Itoa(hash), strconv.Itoa(hash))
		b.look()
		newest, _, err := b.ledger.Divergences(t.Context(), ledger.DivergenceFilter{}, "", 1)
		if err != nil {
			r.Fatal(err)
		}
		found := slices.DeleteFunc(newest, func(d divergence.Divergence) bool { return d.ID <= last })
		if len(found) != min(len(want), 1) {
			r.Fatalf("%d alarms, want %q", len(found), want)
		}
		for _, d := range found {
			last = d.ID
			got := []string{}
			for _, m := range d.Comparison.Members {
				got = append(got, m.Path)
			}
			if diff := cmp.Diff(want, got); diff != "" || d.Comparison.State != divergence.Compared || d.Comparison.Differing != len(want) {
				r.Fatalf("%+v\n%s", d.Comparison, diff)
			}
		}
	})
}
