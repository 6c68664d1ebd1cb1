// Package faulty breaks file systems and processes for tests, by means of the kernel: a disk that is full, has no inodes, is read-only or gone, and a process
// that may open nothing more. It needs root, to mount file systems. What mends may be called from any goroutine.
package faulty

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// commandTimeout bounds a command of the system.
const commandTimeout = 20 * time.Second

// Mend ends a fault.
type Mend func() error

func run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s\nTHESE TESTS NEED ROOT AND THE RIGHT TO MOUNT (mount, umount and prlimit of util-linux): they say nothing without",
			name, strings.Join(args, " "), err, out)
	}
	return nil
}

// Mounted mounts a small file system in memory at dir, until the end of the test. The options are those of tmpfs, such as "size=24m".
func Mounted(tb testing.TB, dir, options string) string {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		tb.Fatal(err)
	}
	if err := run("mount", "-t", "tmpfs", "-o", options, "tmpfs", dir); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := run("umount", "-l", dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// Full fills the disk to the last byte.
func Full(dir string) (Mend, error) {
	path := filepath.Join(dir, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if n, err := f.Write(make([]byte, size)); err != nil && n == 0 {
			size /= 2
		}
	}
	return func() error { return os.Remove(path) }, nil
}

// NoInodes makes empty files until there can be no more.
func NoInodes(dir string) (Mend, error) {
	ballast := filepath.Join(dir, "ballast")
	if err := os.Mkdir(ballast, 0o750); err != nil {
		return nil, err
	}
	for i := 0; os.WriteFile(filepath.Join(ballast, strconv.Itoa(i)), nil, 0o640) == nil; i++ {
	}
	return func() error { return os.RemoveAll(ballast) }, nil
}

// ReadOnly puts a view of the directory over it through which nothing can be written: the kernel's own way to make a file system read-only on
// errors can be had by no command.
func ReadOnly(dir string) (Mend, error) {
	if err := run("mount", "--bind", dir, dir); err != nil {
		return nil, err
	}
	err := run("mount", "-o", "remount,bind,ro", dir)
	return func() error { return run("umount", "-l", dir) }, err
}

// Gone puts an empty directory in the place, as is left of a disk that was unmounted.
func Gone(dir string) (Mend, error) {
	if err := run("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", dir); err != nil {
		return nil, err
	}
	return func() error {
		left, err := os.ReadDir(dir)
		if err == nil && len(left) != 0 {
			err = fmt.Errorf("%v was written in the place of what had gone", left)
		}
		return errors.Join(err, run("umount", "-l", dir))
	}, nil
}

// NoDescriptors lets a process open nothing more. Connections that it has go on.
func NoDescriptors(pid int) (Mend, error) {
	id := strconv.Itoa(pid)
	open, err := os.ReadDir("/proc/" + id + "/fd")
	if err != nil {
		return nil, err
	}
	used := make(map[string]bool)
	for _, e := range open {
		used[e.Name()] = true
	}
	free := 0
	for used[strconv.Itoa(free)] {
		free++
	}
	return func() error { return run("prlimit", "--pid", id, "--nofile="+strconv.Itoa(free+200)+":") },
		run("prlimit", "--pid", id, "--nofile="+strconv.Itoa(free)+":")
}
