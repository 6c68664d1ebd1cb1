package fs

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// path returns where the entry of key lies.
func (s *Store) path(key cache.Key) string {
	return filepath.Join(s.entries, layout.FileName(string(key.Workspace)), layout.FileName(string(key.Scope)), inScope(key.Hash))
}

// inScope returns where in the directory of a scope the entry of hash lies.
func inScope(hash cache.Hash) string {
	sum := sha256.Sum256([]byte(hash))
	return filepath.Join(hex.EncodeToString(sum[:1]), layout.FileName(string(hash)))
}
