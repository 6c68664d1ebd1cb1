package server

import (
	"bytes"
	"io"
	"os"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// TestAFileThatTheKernelDoesNotSend is read and written instead, as the net package does with others.
func TestAFileThatTheKernelDoesNotSend(t *testing.T) {
	const name = "/proc/self/auxv" // it can be read at any offset, and is of no kind that can be sent
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	client, conn := connected(t)
	part := &cache.FileRange{File: file, N: int64(len(want))}
	n, err := newStallConn(conn, 10*time.Second, 1).ReadFrom(part)
	_ = conn.Close()
	if n != int64(len(want)) || err != nil || part.N != 0 {
		t.Errorf("%d bytes of %d were sent, %v", n, len(want), err)
	}
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came, %v", len(got), len(want), err)
	}
}
