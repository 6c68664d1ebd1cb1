//go:build bench

package peers_test

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/bezoar-cache/bezoar/test/emulator"
)

// installTurborepo returns a directory with the node_modules that turborepo/package-lock.json pins, from .cache/peers at the root of the repository, or from
// $BEZOAR_TEST_CACHE, or else from npm.
func installTurborepo(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join("turborepo", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	cache, err := filepath.Abs(cmp.Or(os.Getenv(emulator.CacheVariable), filepath.Join("..", "..", "..", ".cache")))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "peers", "turborepo-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	temporary, err := os.MkdirTemp(filepath.Dir(dir), "new-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(temporary)
	if err := os.CopyFS(temporary, os.DirFS("turborepo")); err != nil {
		t.Fatal(err)
	}
	npm := exec.CommandContext(t.Context(), "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = temporary
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("turborepo-remote-cache needs npm and, once, a registry: %v\n%s", err, out)
	}
	if err := os.Rename(temporary, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // else another process was faster
			t.Fatal(err)
		}
	}
	return dir
}

// turborepoVersion is what is installed.
func turborepoVersion(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "node_modules", "turborepo-remote-cache", "package.json"))
	var pkg struct{ Version string }
	if err == nil {
		err = json.Unmarshal(text, &pkg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pkg.Version + ", Node " + output(t, "node", "--version")
}
