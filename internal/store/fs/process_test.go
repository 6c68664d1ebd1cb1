package fs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// Environment of the child processes, which are this test binary itself.
const (
	childEnv     = "BEZOAR_FS_TEST_CHILD" // a role: race or storm
	childDirEnv  = "BEZOAR_FS_TEST_DIR"
	childSeedEnv = "BEZOAR_FS_TEST_SEED"
	// roundsEnv sets the number of rounds of TestKill.
	roundsEnv = "BEZOAR_FS_TEST_ROUNDS"
)

// runChild plays a role. It panics if it fails.
func runChild(ctx context.Context, role string) {
	s, err1 := Open(os.Getenv(childDirEnv), Options{})
	seed, err2 := strconv.ParseUint(os.Getenv(childSeedEnv), 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		panic(err)
	}
	var err error
	switch role {
	case "race":
		err = childRace(ctx, s, seed)
	case "storm":
		err = childStorm(ctx, s, seed)
	default:
		err = errors.New("no such role")
	}
	if err := errors.Join(err, s.Close()); err != nil {
		panic(err)
	}
}

const raceWriters = 25

// childRace prepares 25 drafts for each round, says so, waits for the word to go, commits them all at once and
// tells the winners.
func childRace(ctx context.Context, s *Store, seed uint64) error {
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		key := storetest.Key(input.Text())
		drafts := make([]cache.Draft, raceWriters)
		bodies := make([][]byte, raceWriters)
		for i := range drafts {
			bodies[i] = storetest.Body(seed+uint64(i), 30_000+i)
			draft, err := s.Create(ctx, key)
			if err != nil {
				return err
			}
			if _, err := draft.Write(bodies[i]); err != nil {
				return err
			}
			drafts[i] = draft
		}
		fmt.Fprintln(os.Stdout, "ready")
		if !input.Scan() {
			return io.ErrUnexpectedEOF
		}
		var group sync.WaitGroup
		errs := make([]error, raceWriters)
		for i := range drafts {
			group.Go(func() { errs[i] = drafts[i].Commit(ctx, storetest.Record(bodies[i])) })
		}
		group.Wait()
		answer := "done"
		for i, err := range errs {
			if err == nil {
				answer += fmt.Sprintf(" %x", sha256.Sum256(bodies[i]))
			} else if !errors.Is(err, cache.ErrExist) {
				return err
			}
		}
		fmt.Fprintln(os.Stdout, answer)
	}
	return input.Err()
}

// child is a process of this test binary.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Scanner
}

func startChild(t *testing.T, role, dir string, seed uint64) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), childEnv+"="+role, childDirEnv+"="+dir, childSeedEnv+"="+strconv.FormatUint(seed, 10))
	c.cmd.Stderr = t.Output()
	stdin, err1 := c.cmd.StdinPipe()
	stdout, err2 := c.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, c.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	c.stdin, c.stdout = stdin, bufio.NewScanner(stdout)
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // which it may not outlive the test
		_ = c.cmd.Wait()
	})
	return c
}

func (c *child) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// hear returns the words of the next line, the first of which must be want.
func (c *child) hear(t *testing.T, want string) []string {
	t.Helper()
	if !c.stdout.Scan() {
		t.Fatalf("the child ended: %v", c.stdout.Err())
	}
	words := strings.Fields(c.stdout.Text())
	if len(words) == 0 || words[0] != want {
		t.Fatalf("the child says %q, want %q", c.stdout.Text(), want)
	}
	return words[1:]
}

// TestRaceOfProcesses lets two processes with 25 writers each commit one key at once.
func TestRaceOfProcesses(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	children := []*child{startChild(t, "race", dir, 0), startChild(t, "race", dir, 1000)}
	for round := range 10 {
		key := storetest.Key(fmt.Sprint(round))
		for _, c := range children {
			c.say(t, string(key.Hash))
		}
		for _, c := range children {
			c.hear(t, "ready")
		}
		for _, c := range children {
			c.say(t, "go")
		}
		var winners []string
		for _, c := range children {
			winners = append(winners, c.hear(t, "done")...)
		}
		if len(winners) != 1 {
			t.Fatalf("%d writers won, want one", len(winners))
		}
		entry, _, err := storetest.Get(t.Context(), s, key)
		if err != nil {
			t.Fatal(err)
		}
		if entry.Record.SHA256.String() != winners[0] {
			t.Fatalf("the entry is that of %s, but %s won", entry.Record.SHA256, winners[0])
		}
	}
	for _, c := range children {
		if err := c.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if c.stdout.Scan() {
			t.Fatalf("the child says %q", c.stdout.Text())
		}
		if err := c.cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// childStorm writes, reads and deletes without end.
func childStorm(ctx context.Context, s *Store, seed uint64) error {
	fmt.Fprintln(os.Stdout, "ready")
	errs := make(chan error)
	for w := range uint64(4) {
		go func() {
			random := rand.New(rand.NewPCG(seed, w))
			for {
				if err := stormStep(ctx, s, random); err != nil {
					errs <- err
				}
			}
		}()
	}
	return <-errs // which the parent sees as words on the standard output
}

const stormKeys = 32

// stormBody is what any process writes under the key n; its length tells n, too.
func stormBody(n uint64) []byte { return storetest.Body(n, 1+int(n)*5_000) }

func stormStep(ctx context.Context, s *Store, random *rand.Rand) error {
	n := random.Uint64N(stormKeys)
	key := storetest.Key(strconv.FormatUint(n, 10))
	if random.IntN(3) == 0 {
		if err := s.Delete(ctx, key); err != nil && !errors.Is(err, cache.ErrNotExist) {
			return err
		}
		return nil
	}
	body := stormBody(n)
	draft, err := s.Create(ctx, key)
	if errors.Is(err, cache.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer draft.Abort()
	for len(body) > 0 { // in pieces, so that the kill often falls between them
		piece := body[:min(len(body), 8192)]
		if _, err := draft.Write(piece); err != nil {
			return err
		}
		body = body[len(piece):]
	}
	if err := draft.Commit(ctx, storetest.Record(stormBody(n))); err != nil && !errors.Is(err, cache.ErrExist) {
		return err
	}
	return nil
}

// TestKill kills a process with SIGKILL at random instants of a storm of uploads. Afterwards, each entry is whole or
// absent, and what broke off is cleaned up.
func TestKill(t *testing.T) {
	rounds := 40
	if text := os.Getenv(roundsEnv); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var hits, leftovers int
	for round := range rounds {
		c := startChild(t, "storm", dir, uint64(round))
		c.hear(t, "ready")
		timer := time.NewTimer(time.Duration(random.Int64N(int64(25 * time.Millisecond))))
		<-timer.C
		if err := c.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if c.stdout.Scan() {
			t.Fatalf("round %d: the child says %q", round, c.stdout.Text())
		}
		_ = c.cmd.Wait() // "signal: killed"
		left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "[0-9]*"))
		if err != nil {
			t.Fatal(err)
		}
		leftovers += len(left)
		hits += checkAfterKill(t, dir)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	if rounds >= 40 && (hits == 0 || leftovers == 0) {
		t.Errorf("%d entries and %d leftovers in all rounds: the kills came too early to prove anything", hits, leftovers)
	}
	t.Logf("%d rounds, %d entries found whole, %d leftovers cleaned", rounds, hits, leftovers)
}

// checkAfterKill returns the number of entries.
func checkAfterKill(t *testing.T, dir string) (hits int) {
	s := open(t, dir)
	defer s.Close()
	for n := range uint64(stormKeys) {
		_, body, err := storetest.Get(t.Context(), s, storetest.Key(strconv.FormatUint(n, 10)))
		switch {
		case errors.Is(err, cache.ErrNotExist):
		case err != nil:
			t.Errorf("key %d: %v", n, err)
		case !bytes.Equal(body, stormBody(n)):
			t.Errorf("key %d: %d bytes that nobody wrote", n, len(body))
		default:
			hits++
		}
	}
	eventually(t, "tmp/ is clean but for the open store's own directory", func() bool {
		sessions, err := os.ReadDir(s.tmp)
		return err == nil && len(sessions) == 1
	})
	return hits
}

// eventually polls until what holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("in vain waited for: %s", what)
		}
	}
}
