package config

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Files is what [Load] needs of the machine beside the environment.
type Files interface {
	// ReadFile returns the content of a file, or its first limit bytes, and its permission bits. Where permissions are
	// not those of Unix the bits are 0.
	ReadFile(name string, limit int64) ([]byte, fs.FileMode, error)
	// Abs makes a path absolute, from the working directory.
	Abs(name string) (string, error)
}

// OS is the machine's own [Files].
type OS struct{}

// ReadFile implements [Files].
func (OS) ReadFile(name string, limit int64) ([]byte, fs.FileMode, error) {
	// A FIFO without a writer would be waited for; like this it is empty.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, 0, err
	}
	mode := info.Mode().Perm()
	if runtime.GOOS == "windows" {
		mode = 0
	}
	return data, mode, nil
}

// Abs implements [Files].
func (OS) Abs(name string) (string, error) { return filepath.Abs(name) }

// dataDir finds the default of --data, and the name of the variable that it was taken from. It is never
// a temporary directory: a cache that is gone after a restart is a surprise.
func dataDir(goos string, vars map[string]string) (dir, from string, err error) {
	type place struct{ variable, below string }
	var places []place
	switch goos {
	case "windows":
		places = []place{{"LOCALAPPDATA", "bezoar"}}
	case "darwin", "ios":
		places = []place{{"HOME", "Library/Application Support/bezoar"}}
	default:
		// https://specifications.freedesktop.org/basedir-spec: relative paths are to be ignored.
		places = []place{{"STATE_DIRECTORY", ""}, {"XDG_STATE_HOME", "bezoar"}, {"HOME", ".local/state/bezoar"}}
	}
	var tried []string
	for _, p := range places {
		root := vars[p.variable]
		if p.variable == "STATE_DIRECTORY" {
			// systemd gives all directories of StateDirectory=, with colons between them.
			root, _, _ = strings.Cut(root, ":")
		}
		if filepath.IsAbs(root) && plausible(root, false) == nil {
			return filepath.Join(root, filepath.FromSlash(p.below)), p.variable, nil
		}
		tried = append(tried, p.variable)
	}
	return "", "", &flaw{fmt.Sprintf("no directory was given, and none of the environment variables %s names one", strings.Join(tried, ", ")),
		"write for example --data /var/lib/bezoar"}
}
