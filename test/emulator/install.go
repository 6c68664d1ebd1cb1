package emulator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CacheVariable names the environment variable with the folder that keeps built servers between runs of tests, in emulators/. Without it they
// are kept in .cache at the root of the repository.
const CacheVariable = "BEZOAR_TEST_CACHE"

// installTimeout bounds a build with a cold cache, and the wait for another process that is building.
const installTimeout = 25 * time.Minute

// build returns the path of a server that is written in Go. Its module in servers/NAME pins all that it is made of, apart from the module of bezoar.
func build(tb testing.TB, name, pkg, module string) string {
	tb.Helper()
	path, err := buildServer(tb.Context(), name, pkg, module)
	if err != nil {
		tb.Fatalf("%s cannot be built: %v\nThe tests with storage servers need Go's module proxy at their first run; what was built is kept in $%s.", name, err, CacheVariable)
	}
	return path
}

func buildServer(ctx context.Context, name, pkg, module string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", "emulator", "servers", name)
	pin, err := pinOf(filepath.Join(source, "go.mod"), filepath.Join(source, "go.sum"))
	if err != nil {
		return "", err
	}
	version, err := versionOf(filepath.Join(source, "go.mod"), module)
	if err != nil {
		return "", err
	}
	// Another version, of the server or of one of its libraries, has another name: nothing outdated passes for a good one.
	path := filepath.Join(cacheDir(root), fmt.Sprintf("%s-%s-%s", name, version, pin))
	return path, once(ctx, path, func(ctx context.Context, temporary string) error {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", temporary, pkg)
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly", "GOOS=", "GOARCH=")
		return command(ctx, cmd)
	})
}

// install returns the folder of an npm package that servers/NAME pins, with its node_modules.
func install(tb testing.TB, name string) string {
	tb.Helper()
	path, err := installPackage(tb.Context(), name)
	if err != nil {
		tb.Fatalf("%s cannot be installed: %v\nThe tests with it need node, npm and, at their first run, a registry; what was installed is kept in $%s.", name, err, CacheVariable)
	}
	return path
}

func installPackage(ctx context.Context, name string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	source := filepath.Join(root, "test", "emulator", "servers", name)
	pin, err := pinOf(filepath.Join(source, "package.json"), filepath.Join(source, "package-lock.json"))
	if err != nil {
		return "", err
	}
	path := filepath.Join(cacheDir(root), name+"-"+pin)
	return path, once(ctx, path, func(ctx context.Context, temporary string) error {
		if err := os.CopyFS(temporary, os.DirFS(source)); err != nil {
			return err
		}
		// Not `npm ci`, which refuses a lock file without every optional package. What the lock file names is held to its checksums by both.
		cmd := exec.CommandContext(ctx, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
		cmd.Dir = temporary
		return command(ctx, cmd)
	})
}

// once makes what belongs at path, under a temporary name first, unless it is there. Any number of tests and processes may ask for it at once.
func once(ctx context.Context, path string, create func(ctx context.Context, temporary string) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	temporary := path + ".new"
	if err := os.RemoveAll(temporary); err != nil { // of a process that did not get to its end
		return err
	}
	defer os.RemoveAll(temporary)
	if err := create(ctx, temporary); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

func command(ctx context.Context, cmd *exec.Cmd) error {
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args[:2], " "), errors.Join(err, ctx.Err()), out)
	}
	return nil
}

// pinOf is a short digest of files and of the Go release.
func pinOf(files ...string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version())
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(sum, len(text))
		sum.Write(text)
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}

// versionOf finds the version of a module that a go.mod requires.
func versionOf(file, module string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(strings.TrimPrefix(line, "require ")); len(fields) >= 2 && fields[0] == module {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", file, module)
}

// repository is the root of this repository, above the working directory of the test.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "emulator", "servers")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the working directory is not inside the repository of bezoar, which pins the servers")
		}
		dir = parent
	}
}

func cacheDir(root string) string {
	if dir := os.Getenv(CacheVariable); dir != "" {
		return filepath.Join(dir, "emulators")
	}
	return filepath.Join(root, ".cache", "emulators")
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
