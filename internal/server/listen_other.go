//go:build !linux

package server

import "net"

// tcpConfig leaves to Go what connections are set to.
func tcpConfig() *net.ListenConfig { return new(net.ListenConfig) }
