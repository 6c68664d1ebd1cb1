//go:build !e2e

package purge_test

var moreDatabases []database
