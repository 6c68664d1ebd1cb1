//go:build !unix

package server

// tightUmask does nothing where there is no umask.
func tightUmask() (restore func()) { return func() {} }
