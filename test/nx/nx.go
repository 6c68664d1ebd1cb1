// Package nx drives real Nx releases from Go tests: it installs them from npm, makes workspaces for them, runs them and
// reads from their output what became of each task.
//
//	release := nx.Install(t, "24.0.6")
//	ws := nx.NewWorkspace(t, release, nx.Project{Name: "a", Script: "echo hello >out/a/file"})
//	cold := ws.Run(t, nx.Run{Server: url})
//	ws.Forget(t)
//	warm := ws.Run(t, nx.Run{Server: url})
//	// warm.Remote() is [a]
//
// It needs node, npm and, at the first use of a release, a registry that npm can reach. What is missing fails the
// test: a suite that skips itself shows nothing.
package nx

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CacheVariable names the environment variable with the folder that keeps installed releases between runs of tests.
// Without it they are kept in .cache at the root of the repository.
const CacheVariable = "BEZOAR_TEST_CACHE"

// installTimeout bounds npm, and the wait for another process that is installing.
const installTimeout = 10 * time.Minute

// pins holds a package.json and a package-lock.json for each release, so that a test meets the same code every time.
//
//go:embed releases
var pins embed.FS

// Release is an installed release of Nx.
type Release struct {
	// Version such as "24.0.6".
	Version string
	// Major is the first part of the version.
	Major int
	// dir holds node_modules.
	dir string
}

// Versions lists the releases that are pinned, oldest first.
func Versions() []string {
	entries, err := pins.ReadDir("releases")
	if err != nil {
		panic(err) // embedded: it is there or nothing compiles
	}
	var versions []string
	for _, e := range entries {
		versions = append(versions, e.Name())
	}
	slices.SortFunc(versions, func(a, b string) int { return major(a) - major(b) })
	return versions
}

func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil {
		panic(fmt.Sprintf("release %q has no number at its start", version))
	}
	return n
}

// Install returns the pinned release, from the cache folder or else from npm. It may be called by any number of tests
// and processes at once.
func Install(tb testing.TB, version string) Release {
	tb.Helper()
	release, err := install(tb.Context(), version)
	if err != nil {
		tb.Fatalf("nx %s cannot be installed: %v\nThe tests with real Nx need node, npm and a registry; installed releases are kept in $%s.",
			version, err, CacheVariable)
	}
	return release
}

func install(ctx context.Context, version string) (Release, error) {
	cache, err := cacheDir()
	if err != nil {
		return Release{}, err
	}
	lockfile, err := pins.ReadFile("releases/" + version + "/package-lock.json")
	if err != nil {
		return Release{}, fmt.Errorf("it is not pinned; pinned are %s", strings.Join(Versions(), ", "))
	}
	release := Release{Version: version, Major: major(version), dir: filepath.Join(cache, "nx", version)}
	if err := os.MkdirAll(filepath.Dir(release.dir), 0o755); err != nil {
		return Release{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	unlock, err := lock(ctx, release.dir+".lock")
	if err != nil {
		return Release{}, err
	}
	defer unlock()

	// The marker is written last and holds the lock file that was followed: neither a torn nor an outdated
	// installation passes for a good one.
	marker := filepath.Join(release.dir, "installed.json")
	if have, err := os.ReadFile(marker); err == nil && string(have) == string(lockfile) {
		return release, nil
	}
	if err := os.RemoveAll(release.dir); err != nil {
		return Release{}, err
	}
	pin, err := fs.Sub(pins, "releases/"+version)
	if err != nil {
		return Release{}, err
	}
	if err := os.CopyFS(release.dir, pin); err != nil {
		return Release{}, err
	}
	// Not `npm ci`: that one refuses a lock file without every optional package, and not every registry has the native
	// parts of Nx for platforms other than its own. What the lock file names is held to its checksums by both.
	npm := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = release.dir
	npm.WaitDelay = 10 * time.Second
	if out, err := npm.CombinedOutput(); err != nil {
		return Release{}, fmt.Errorf("npm install: %w\n%s", errors.Join(err, ctx.Err()), out)
	}
	return release, os.WriteFile(marker, lockfile, 0o644)
}

// bin is the program that `npx nx` would run; its place inside the package differs between releases.
func (r Release) bin() string { return filepath.Join(r.modules(), ".bin", "nx") }

func (r Release) modules() string { return filepath.Join(r.dir, "node_modules") }

// cacheDir is where releases are kept.
func cacheDir() (string, error) {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, ".cache"), nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no go.mod above the working directory; set %s", CacheVariable)
		}
		dir = parent
	}
}

// lock takes an exclusive lock on the file at path, which it creates. The kernel frees it if this process dies.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	// flock has no deadline of its own, so ask again and again.
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another process holds %s: %w", path, ctx.Err())
		case <-poll.C:
		}
	}
}
