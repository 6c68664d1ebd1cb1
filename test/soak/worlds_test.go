//go:build e2e

package soak_test

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	_ "modernc.org/sqlite" // to lock the ledger

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// fault breaks something, and what begin returns mends it.
type fault struct {
	name  string
	begin func() (mend func())
}

// common are settings of both: a small cache in memory that is full when memory is compared, and in the short form waits that are shorter, so that more
// fits into the time.
func common() []string {
	if isLong() {
		return []string{"--memory-cache", "4MiB"}
	}
	return []string{"--memory-cache", "4MiB", "--store-timeout", "3s", "--breaker-probe", "1s"}
}

func newDirectory(t *testing.T, binary bezoar.Binary) *world {
	data := mounted(t)
	profiles := free(t)
	args := append([]string{"--min-free", "0", "--metrics-listen", profiles}, common()...)
	return &world{
		isOne:   true,
		data:    data,
		profile: "http://" + profiles,
		serve:   func() *bezoar.Server { return binary.Serve(t, data, args...) },
		faults: []fault{
			full(t, data), hanging(t, data), locked(t, data), full(t, data), hanging(t, data),
		},
	}
}

func newBucket(t *testing.T, binary bezoar.Binary) *world {
	storage := emulator.Versity(t)
	binary = binary.With(storage.Environ()...)
	data, key := mounted(t), binary.AddKey(t)
	way := newProxy(t, storage.Endpoint)
	profiles, wait := free(t), 500*time.Millisecond
	bucket := "s3://" + storage.NewBucket(t) + "/cache?path_style=true&region=" + storage.Region + "&endpoint="
	args := append([]string{
		"--metrics-listen", profiles, "--seal-key-file", key, "--store", bucket + way.URL, "--write-wait", wait.String(),
		"--tier-dir", filepath.Join(data, "tier"), "--tier-size", "64MiB",
	}, common()...)
	return &world{
		data:    data,
		look:    wait, // as patient as that
		profile: "http://" + profiles,
		serve:   func() *bezoar.Server { return binary.Serve(t, data, args...) },
		fresh: func() *bezoar.Server {
			return binary.Serve(t, t.TempDir(), "--seal-key-file", key, "--store", bucket+storage.Endpoint)
		},
		faults: []fault{
			way.fault("of the bucket's answers, 7 of 10 were 500", 0.7, answer500),
			way.fault("half of the bucket's connections were reset, half of them after the work was done", 0.5, reset),
			way.fault("of the bucket's answers, 6 of 10 never came", 0.6, stall),
			way.fault("of the bucket's answers, 4 of 10 were cut off", 0.4, tear),
			{"the bucket hung", func() func() {
				storage.Pause(t)
				return func() { storage.Resume(t) }
			}},
			{"the bucket was down", func() func() {
				storage.Kill()
				return func() { storage.Restart(t) }
			}},
			full(t, data), hanging(t, data), locked(t, data),
		},
	}
}

// free returns an address where nobody listens right now.
func free(t *testing.T) string {
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// diskSize is that of each disk. It is taken at once, so that the disk below cannot let it down.
func diskSize() string {
	if isLong() {
		return "5G"
	}
	return "1G"
}

// mounted mounts a disk of the test's own, ext4 in a file, and returns a directory on it.
func mounted(t *testing.T) string {
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	command(t, "fallocate", "-l", diskSize(), image)
	command(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", image)
	command(t, "mount", "-o", "loop", image, dir)
	t.Cleanup(func() {
		command(t, "umount", "-l", dir)
	})
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	return data
}

// command runs a command of the system, also while the test ends.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s\nTHIS TEST NEEDS ROOT, mkfs.ext4 (e2fsprogs) AND mount, umount AND fsfreeze (util-linux): it says nothing without",
			name, strings.Join(args, " "), err, out)
	}
}

// full fills the disk.
func full(t *testing.T, data string) fault {
	return fault{"the disk was full", func() func() {
		f, err := os.CreateTemp(filepath.Dir(data), "ballast")
		if err != nil {
			t.Error(err)
			return func() {}
		}
		at := int64(0)
		for size := int64(1 << 30); size >= 1<<10; {
			if err := unix.Fallocate(int(f.Fd()), 0, at, size); err == nil {
				at += size
			} else if size /= 2; !errors.Is(err, unix.ENOSPC) {
				t.Errorf("fill the disk: %v", err)
				break
			}
		}
		return func() {
			f.Close()
			if err := os.Remove(f.Name()); err != nil {
				t.Error(err)
			}
		}
	}}
}

// hanging lets nothing be written: who tries hangs in the kernel.
func hanging(t *testing.T, data string) fault {
	disk := filepath.Dir(data)
	return fault{"the disk hung at each write", func() func() {
		command(t, "fsfreeze", "-f", disk)
		return func() { command(t, "fsfreeze", "-u", disk) }
	}}
}

// thaw ends it, whatever failed in between: a server on a disk that hangs cannot even be killed.
func thaw(t *testing.T, data string) {
	_ = exec.CommandContext(context.WithoutCancel(t.Context()), "fsfreeze", "-u", filepath.Dir(data)).Run()
}

// locked holds the lock of the ledger.
func locked(t *testing.T, data string) fault {
	return fault{"the ledger was locked", func() func() {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "ledger.db")+"?_pragma=busy_timeout(20000)&_txlock=immediate")
		if err != nil {
			t.Error(err)
			return func() {}
		}
		tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
		if err != nil {
			t.Errorf("lock the ledger: %v", err)
		}
		return func() {
			if tx != nil {
				_ = tx.Rollback()
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}}
}
