//go:build !e2e

package ledger

import "testing"

func moreDatabases(*testing.T) []testDatabase { return nil }

func stopDatabases() {}
