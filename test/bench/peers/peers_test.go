//go:build bench

// Package peers_test puts the same load on bezoar, on nginx and on other caches, in turns, and tells what each of them made of it. With -out it writes
// benchmarks.md and the pictures of it; docs/benchmarks.md is one of those.
//
//	.ci/bench                                                  # nginx, wrk and rclone, of Debian
//	go test -tags bench -timeout 60m -v ./test/bench/peers -out "$PWD/docs"
//	go test -tags bench -timeout 60m -v ./test/bench/peers -short
//
// Parts of it: -run TestPeers/load, TestPeers/memory, TestPeers/start, TestPeers/nx; -cells picks some of the load.
//
// Nothing here judges: figures are of the machine that they were taken on, and a machine with other work beside it tells nothing. What fails is a server
// that answers otherwise than the load asks for.
package peers_test

import (
	"flag"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

var options struct {
	out         string
	rounds      int
	each        time.Duration
	dir         string
	cells       string
	tasks       int
	entries     int
	bazelRemote string
}

func TestMain(m *testing.M) {
	if os.Getenv(bareVariable) != "" { // this is the yardstick, in a process of its own
		bareMain()
		return
	}
	flag.StringVar(&options.out, "out", "", "directory for benchmarks.md and its pictures; without one they go to dist/ of the repository")
	flag.IntVar(&options.rounds, "rounds", 0, "rounds in which all take their turns (default 5, with -short 3)")
	flag.DurationVar(&options.each, "each", 0, "how long a turn takes (default 1s, with -short 400ms)")
	flag.StringVar(&options.dir, "dir", "", "where servers keep their files (default: in memory, below /dev/shm)")
	flag.StringVar(&options.cells, "cells", "", "regular expression: only cells whose name it matches")
	flag.IntVar(&options.tasks, "tasks", 0, "tasks of the Nx workspace (default 400, with -short 40)")
	flag.IntVar(&options.entries, "entries", 0, "entries of the full server that is started (default 1000000, with -short 20000)")
	flag.StringVar(&options.bazelRemote, "bazel-remote", os.Getenv("BAZEL_REMOTE"), "path of a bazel-remote to measure too (default $BAZEL_REMOTE, or what PATH has)")
	flag.Parse()
	byForm := func(value *int, short, full int) {
		if *value == 0 {
			*value = full
			if testing.Short() {
				*value = short
			}
		}
	}
	byForm(&options.rounds, 3, 5)
	byForm(&options.tasks, 40, 400)
	byForm(&options.entries, 20_000, 1_000_000)
	if options.each == 0 {
		options.each = time.Second
		if testing.Short() {
			options.each = 400 * time.Millisecond
		}
	}
	m.Run()
}

// TestPeers measures, and writes what came out.
func TestPeers(t *testing.T) {
	only, err := regexp.Compile(options.cells)
	if err != nil {
		t.Fatal(err)
	}
	r := newReport(t)
	r.binary = bezoar.Build(t)
	r.Servers = kinds(t, r.binary)
	began := time.Now()
	t.Run("load", func(t *testing.T) { measureLoad(t, r, only) })
	t.Run("memory", func(t *testing.T) { measureMemory(t, r) })
	t.Run("start", func(t *testing.T) { measureStart(t, r) })
	t.Run("nx", func(t *testing.T) { measureNx(t, r) })
	r.Took = time.Since(began)
	r.write(t)
}
