package nx

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Tree is what lies below a folder, by path from it: a line for each file, directory and link, with its type,
// permissions, and the SHA-256 of its bytes or the target of the link. Times and owners are not part of it.
type Tree map[string]string

// Tree returns what lies below name, a path from the root of the workspace.
func (ws *Workspace) Tree(tb testing.TB, name string) Tree {
	tb.Helper()
	tree := Tree{}
	root := filepath.Join(ws.Dir, name)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		tree[rel], err = describe(path)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return tree
}

func describe(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(path)
		return fmt.Sprintf("link to %q", target), err
	}
	if info.IsDir() {
		return info.Mode().String(), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %d bytes %x", info.Mode(), info.Size(), h.Sum(nil)), nil
}
