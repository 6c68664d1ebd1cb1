//go:build e2e

// Package storage_test holds the object storages to their contract, against servers that speak the services' protocols.
package storage_test

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
