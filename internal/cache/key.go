// Package cache is the heart of bezoar: what a key, a scope, a grant and an entry are, the [Store] that
// keeps entries, and [Cache], which decides over a store what a request may read and write.
package cache

import (
	"errors"
	"fmt"
	"strings"
)

// Key names an entry. Its parts were checked when they were parsed; a Key built of anything else
// is a bug, and stores encode its parts so that none can leave its place.
type Key struct {
	Workspace Workspace
	Scope     Scope
	Hash      Hash
}

func (k Key) String() string {
	return string(k.Workspace) + " " + string(k.Scope) + " " + string(k.Hash)
}

// Hash is the task hash under which Nx asks: 1 to [MaxHash] characters of A-Z, a-z, 0-9, '-' and '_'. Today Nx
// sends up to 20 decimal digits; custom hashers may give other short strings.
type Hash string

// Workspace names a tenant: 1 to [MaxWorkspace] characters of a-z, 0-9, '-' and '_', the first a letter or digit.
type Workspace string

// Scope is an isolated part of a workspace's key space: [Trusted], or a kind and a name such as "pr/17" or
// "branch/refs/heads/fix". The kind is lower-case letters; the name is 1 to [MaxScopeName] bytes without control characters.
type Scope string

// DefaultWorkspace is the workspace of a server that nobody configured.
const DefaultWorkspace Workspace = "default"

// Trusted is the scope that protected builds write and everybody with a grant reads.
const Trusted Scope = "trusted"

// Bounds of names, in bytes.
const (
	MaxHash      = 128
	MaxWorkspace = 64
	MaxScopeName = 512
)

// ErrName is wrapped by what the Parse functions return.
var ErrName = errors.New("not a valid name")

// ParseHash checks s before anything else looks at it.
func ParseHash(s string) (Hash, error) {
	if s == "" || len(s) > MaxHash {
		return "", fmt.Errorf("%w: a hash has 1 to %d characters, this one has %d", ErrName, MaxHash, len(s))
	}
	for i := range len(s) {
		if c := s[i]; !isLower(c) && !isUpper(c) && !isDigit(c) && c != '-' && c != '_' {
			return "", fmt.Errorf("%w: a hash has letters, digits, '-' and '_' only", ErrName)
		}
	}
	return Hash(s), nil
}

// ParseWorkspace checks the name of a workspace.
func ParseWorkspace(s string) (Workspace, error) {
	if s == "" || len(s) > MaxWorkspace {
		return "", fmt.Errorf("%w: a workspace's name has 1 to %d characters, this one has %d", ErrName, MaxWorkspace, len(s))
	}
	for i := range len(s) {
		c := s[i]
		if !isLower(c) && !isDigit(c) && (i == 0 || c != '-' && c != '_') {
			return "", fmt.Errorf("%w: the name of a workspace has a-z, 0-9, '-' and '_' only and begins with a letter or a digit", ErrName)
		}
	}
	return Workspace(s), nil
}

// ParseScope checks the name of a scope.
func ParseScope(s string) (Scope, error) {
	if s == string(Trusted) {
		return Trusted, nil
	}
	kind, name, ok := strings.Cut(s, "/")
	if !ok || kind == "" || kind == string(Trusted) || len(kind) > 16 || name == "" || len(name) > MaxScopeName {
		return "", fmt.Errorf("%w: a scope is %q or KIND/NAME, such as pr/17, with a name of 1 to %d bytes", ErrName, Trusted, MaxScopeName)
	}
	for i := range len(kind) {
		if !isLower(kind[i]) {
			return "", fmt.Errorf("%w: the kind of a scope has a-z only", ErrName)
		}
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c == 0x7f {
			return "", fmt.Errorf("%w: the name of a scope has no control characters", ErrName)
		}
	}
	return Scope(s), nil
}

// Kind returns what the scope is of: "trusted", "pr", "branch", "token" and so on. There are few
// of them, so that metrics may carry it.
func (s Scope) Kind() string {
	kind, _, _ := strings.Cut(string(s), "/")
	return kind
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
