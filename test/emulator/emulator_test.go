//go:build e2e

package emulator

import (
	"testing"
)

// TestServers starts each server, makes a bucket, lets it hang, crash and come back, and makes another one.
func TestServers(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) (*Server, func(testing.TB) string){
		"versitygw": func(t *testing.T) (*Server, func(testing.TB) string) { s := Versity(t); return s.Server, s.NewBucket },
		"versitygw TLS": func(t *testing.T) (*Server, func(testing.TB) string) {
			s := Versity(t, TLS())
			return s.Server, s.NewBucket
		},
		"minio": func(t *testing.T) (*Server, func(testing.TB) string) { s := MinIO(t); return s.Server, s.NewBucket },
		"minio TLS": func(t *testing.T) (*Server, func(testing.TB) string) {
			s := MinIO(t, TLS())
			return s.Server, s.NewBucket
		},
		"gcs": func(t *testing.T) (*Server, func(testing.TB) string) { s := GCS(t); return s.Server, s.NewBucket },
		"azurite": func(t *testing.T) (*Server, func(testing.TB) string) {
			s := Azurite(t)
			return s.Server, s.NewContainer
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, newBucket := start(t)
			newBucket(t)
			s.Pause(t)
			s.Resume(t)
			newBucket(t)
			s.Kill()
			if err := s.ask(t.Context()); err == nil {
				t.Error("it answers after it was killed")
			}
			s.Restart(t)
			newBucket(t)
		})
	}
}
