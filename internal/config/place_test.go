package config

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestDataDir(t *testing.T) {
	for _, c := range []struct {
		goos      string
		vars      map[string]string
		dir, from string
	}{
		{"linux", map[string]string{"HOME": "/h"}, "/h/.local/state/bezoar", "HOME"},
		{"linux", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/x"}, "/x/bezoar", "XDG_STATE_HOME"},
		{"linux", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "x"}, "/h/.local/state/bezoar", "HOME"},
		{"linux", map[string]string{"HOME": "/h", "XDG_STATE_HOME": "/x", "STATE_DIRECTORY": "/s"}, "/s", "STATE_DIRECTORY"},
		{"linux", map[string]string{"STATE_DIRECTORY": "/s/a:/s/b"}, "/s/a", "STATE_DIRECTORY"},
		{"linux", map[string]string{"TMPDIR": "/tmp", "LOCALAPPDATA": "/l"}, "", ""},
		{"freebsd", map[string]string{"HOME": "/h"}, "/h/.local/state/bezoar", "HOME"},
		{"darwin", map[string]string{"HOME": "/Users/u", "XDG_STATE_HOME": "/x"}, "/Users/u/Library/Application Support/bezoar", "HOME"},
		{"windows", map[string]string{"LOCALAPPDATA": "/l", "HOME": "/h"}, "/l/bezoar", "LOCALAPPDATA"},
		{"windows", map[string]string{"HOME": "/h"}, "", ""},
	} {
		dir, from, err := dataDir(c.goos, c.vars)
		if dir != filepath.FromSlash(c.dir) || from != c.from || (err != nil) != (c.dir == "") {
			t.Errorf("%s %v: %q from %q, %v", c.goos, c.vars, dir, from, err)
		}
	}
}

func TestOS(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("0123456789"), 0o640); err != nil {
		t.Fatal(err)
	}
	data, mode, err := OS{}.ReadFile(name, 4)
	if err != nil || string(data) != "0123" {
		t.Errorf("%q, %v", data, err)
	}
	if want := map[bool]os.FileMode{false: 0o640}[runtime.GOOS == "windows"]; mode != want {
		t.Errorf("the mode is %v, want %v", mode, want)
	}
	if _, _, err := (OS{}).ReadFile(filepath.Dir(name), 4); err == nil {
		t.Error("a directory was read")
	}
	if _, _, err := (OS{}).ReadFile(name+"x", 4); !os.IsNotExist(err) {
		t.Errorf("a file that is not there: %v", err)
	}
	if abs, err := (OS{}).Abs("f"); err != nil || !filepath.IsAbs(abs) {
		t.Errorf("%q, %v", abs, err)
	}
}
