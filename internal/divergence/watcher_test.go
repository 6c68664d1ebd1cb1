package divergence_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// output is the archive of a task with a file.
func output(path, text string) []byte {
	return artifacttest.Nx(artifacttest.Dir("dist"), artifacttest.File("dist/index.html", "<script>"), artifacttest.File(path, text))
}

// TestATaskThatAlwaysDiffers is told from what differs for the first time, though its bundler puts a digest into the name; whoever hides behind it is found if he
// touches anything else, and never makes his own cover.
func TestATaskThatAlwaysDiffers(t *testing.T) {
	b := newBench(t)
	for n := range 5 {
		b.pair(fmt.Sprint(n), output(fmt.Sprintf("dist/main.%08da.js", n), "1"), output(fmt.Sprintf("dist/main.%08db.js", n), "2"), fmt.Sprint("run", n), fmt.Sprint("jo", n%2))
		b.look()
	}
	b.wantCounts("5", "0", "0") // of what others than jo0 made there are two
	b.pair("8", output("dist/main.0000000c.js", "1"), output("dist/main.0000000d.js", "poison"), "run8", "eve")
	b.pair("9", output("dist/main.0000000c.js", "1"), artifacttest.Nx(artifacttest.Dir("dist"), artifacttest.File("dist/index.html", "<script>evil"),
		artifacttest.File("dist/main.0000000d.js", "2")), "run9", "eve")
	b.look()
	all := b.all()
	behind, beside := all[len(all)-2], all[len(all)-1]
	if behind.Level != divergence.Recurring || behind.Times != 6 || behind.Comparison.TrustedOnly != 1 || behind.Comparison.OtherOnly != 1 {
		t.Errorf("behind it: %+v", behind)
	}
	if beside.Level != divergence.First || beside.Times != 1 || beside.Comparison.Differing != 3 {
		t.Errorf("beside it: %+v", beside)
	}
	for n := range 6 {
		b.pair(fmt.Sprint("e", n), output("dist/own.js", "1"), output("dist/own.js", "2"), fmt.Sprint("run1", n), "eve")
	}
	b.look()
	b.wantCounts("12", "1", "0")
	if n := strings.Count(b.log.String(), "level=ERROR"); n != 10 {
		t.Errorf("%d lines, 10 a minute are allowed:\n%s", n, b.log)
	}
	b.mu.Lock()
	b.now = b.now.Add(time.Minute)
	b.mu.Unlock()
	b.pair("later", output("dist/x.js", "1"), output("dist/x.js", "2"), "run77", "eve")
	b.look()
	if !strings.Contains(b.log.String(), "more_since_the_last_line=2") {
		t.Error("what was not said is not counted")
	}
}

// TestTasksAreToldApart whose exit status alone differs: it lies at the same path for all.
func TestTasksAreToldApart(t *testing.T) {
	b := newBench(t)
	archive := func(dir string, code uint32) []byte {
		return artifacttest.Archive(artifacttest.Dir(dir), artifacttest.File(dir+"/report", "1"), artifacttest.Code(code))
	}
	for n, dir := range []string{"coverage/app", "coverage/app", "coverage/app", "coverage/app2", "coverage/app"} {
		b.pair(fmt.Sprint(n), archive(dir, 0), archive(dir, 1), fmt.Sprint("run", n), fmt.Sprint("jo", n))
		b.look()
	}
	if all := b.all(); all[3].Level != divergence.First || all[3].Times != 1 || all[4].Level != divergence.Recurring || all[4].Times != 4 {
		t.Errorf("%s %d, %s %d", all[3].Level, all[3].Times, all[4].Level, all[4].Times)
	}
}

// TestWhatCannotBeCompared is an alarm all the same, and says why.
func TestWhatCannotBeCompared(t *testing.T) {
	genuine, poison := output("dist/main.js", "1"), output("dist/main.js", "2")
	var many []artifacttest.Member
	for n := range 50_001 {
		many = append(many, artifacttest.File(fmt.Sprint("dist/", n), ""))
	}
	remove := func(scope cache.Scope) func(*bench) {
		return func(b *bench) {
			if err := b.store.Delete(b.Context(), cache.Key{Workspace: "web", Scope: scope, Hash: "1"}); err != nil {
				b.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name           string
		trusted, other []byte
		before         func(*bench)
		want           divergence.State
		note           string
	}{
		{"it is gone", genuine, poison, remove("pr/eve"), divergence.Gone, "scope pr/eve was deleted"},
		{"the trusted one is gone", genuine, poison, remove(cache.Trusted), divergence.Gone, "scope trusted was deleted"},
		{"another one is there", genuine, poison, func(b *bench) {
			remove("pr/eve")(b)
			b.keep(b.entry("pr/eve", "1", genuine, cache.Producer{}), genuine)
		}, divergence.Gone, "there is another one now"},
		{"opaque", genuine, []byte("no archive"), nil, divergence.Opaque, "not an archive"},
		{"too many members", genuine, artifacttest.Nx(many...), nil, divergence.TooLarge, "scope pr/eve is not one that is compared"},
		{"damaged", genuine, poison, func(b *bench) {
			b.watch(b.ledger, troubled{b.store, func(cache.Key) error { return fmt.Errorf("open: %w", cache.ErrDamaged) }})
		}, divergence.Gone, "damaged"},
		{"out of reach for long", genuine, poison, func(b *bench) {
			b.now = time.Now().Add(2 * time.Hour) // the ledger has a clock of its own
			b.watch(b.ledger, troubled{b.store, func(cache.Key) error { return errors.New("no route to the bucket") }})
		}, divergence.Unreadable, "no route to the bucket"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.pair("1", c.trusted, c.other, "1", "eve")
			if c.before != nil {
				c.before(b)
			}
			b.look()
			d := b.all()[0]
			if d.Comparison.State != c.want || d.Level != divergence.First || !strings.Contains(d.Comparison.Note, c.note) || d.Times != 0 {
				t.Errorf("%+v %s", d.Comparison, d.Level)
			}
			if d.Other.Producer.ActorID != "eve" || d.Trusted.Producer.RunID != "1" {
				t.Errorf("the producers are not kept: %+v", d)
			}
			b.wantCounts("1", "0", "0")
		})
	}
}

// TestHostileNames: what is kept of them is bounded, and counted.
func TestHostileNames(t *testing.T) {
	b := newBench(t)
	var members []artifacttest.Member
	for n := range 300 {
		members = append(members, artifacttest.File(fmt.Sprintf("dist/%03d\x1b[2J\xff%s", n, strings.Repeat("\x01", 200)), "x"))
	}
	b.pair("1", output("dist/main.js", "1"), artifacttest.Nx(members...), "1", "eve")
	b.look()
	c := b.all()[0].Comparison
	if c.Differing != 303 || c.OtherOnly != 300 || c.TrustedOnly != 3 || len(c.Members) == 0 || len(c.Members) > divergence.MaxListed {
		t.Errorf("%d differ, %d in one, %d in the other, %d are listed", c.Differing, c.TrustedOnly, c.OtherOnly, len(c.Members))
	}
	if log := b.log.String(); strings.ContainsAny(log, "\x1b\x01") || !utf8.ValidString(log) {
		t.Errorf("%q", log)
	}
}

// TestDigestsThatAreNot: a ledger that says that entries differ which do not is no alarm.
func TestDigestsThatAreNot(t *testing.T) {
	b := newBench(t)
	genuine := output("dist/main.js", "1")
	repacked := artifacttest.Gzip(append(artifacttest.Tar(artifacttest.File("dist/main.js", "1"), artifacttest.File("dist/index.html", "<script>"), artifacttest.Dir("dist"),
		artifacttest.Code(0)), make([]byte, 512)...))
	trusted, other := b.entry(cache.Trusted, "1", genuine, cache.Producer{}), b.entry("pr/1", "1", repacked, cache.Producer{})
	b.keep(trusted, genuine)
	b.keep(other, repacked)
	other.Record.Content[0] ^= 1
	b.record(trusted, other)
	b.look()
	if all := b.all(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	b.wantCounts("0", "0", "0")
}

// TestTroubleOfTheStore holds nothing up but what it is about, and is caught up with.
func TestTroubleOfTheStore(t *testing.T) {
	b := newBench(t)
	for n := range 30 {
		b.pair(fmt.Sprint(n), output("dist/main.js", "1"), output("dist/main.js", "2"), fmt.Sprint(n), fmt.Sprint("jo", n))
	}
	bad := func(key cache.Key) error {
		if key.Hash < "20" { // 0, 1, 10 to 19, 2: the oldest among them
			return errors.New("no route to the bucket")
		}
		return nil
	}
	b.watch(b.ledger, troubled{b.store, bad})
	if err := b.Look(t.Context()); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Error(err)
	}
	pending := 0
	for _, d := range b.all() {
		if d.Level == divergence.Pending {
			pending++
		}
	}
	if pending != 13 {
		t.Errorf("%d are pending", pending)
	}
	b.watch(b.ledger, b.store)
	b.look()
	b.wantCounts("0", "13", "0") // the others made 17 before
}

// TestOneOfSeveralServersCompares: each divergence is told of once.
func TestOneOfSeveralServersCompares(t *testing.T) {
	b := newBench(t)
	b.pair("1", output("dist/main.js", "1"), output("dist/main.js", "2"), "1", "eve")
	var second *divergence.Watcher
	inside := 0
	var logged bytes.Buffer
	second = divergence.New(b.ledger, b.store, divergence.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	b.watch(b.ledger, troubled{b.store, func(cache.Key) error {
		inside++
		return second.Look(t.Context()) // while the first one holds the lease
	}})
	b.look()
	if err := second.Look(t.Context()); err != nil || logged.Len() > 0 || inside != 2 {
		t.Errorf("%v, asked %d times: %s", err, inside, &logged)
	}
	b.wantCounts("1", "0", "0")
	b.pair("2", output("dist/main.js", "1"), output("dist/main.js", "2"), "1", "eve")
	if err := second.Look(t.Context()); err != nil || logged.Len() == 0 {
		t.Errorf("the lease was not given up: %v", err)
	}
}

// ailing is a ledger in which there is nothing to do.
type ailing struct {
	divergence.Ledger
	mu    sync.Mutex
	looks int
	err   error
}

func (l *ailing) DivergencesDue(context.Context) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	return false, l.err
}

// heal ends the trouble, and returns how often somebody looked before.
func (l *ailing) heal() (looks int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = nil
	return l.looks
}

func TestRunTellsOfTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &ailing{err: errors.New("the ledger is locked")}
		w := divergence.New(l, mem.New(), divergence.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		synctest.Wait()
		if err := w.Degraded(); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Error(err)
		}
		l.heal()
		time.Sleep(time.Minute) //nolint:forbidigo // in a bubble
		synctest.Wait()
		if err := w.Degraded(); err != nil || l.heal() < 10 {
			t.Errorf("%v after %d looks", err, l.heal())
		}
		cancel()
		<-done
	})
}
