package doctor

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxFile bounds each file of a workspace that is read whole, in bytes.
const maxFile = 4 << 20

// workspace is an Nx workspace as far as the cache is concerned. Nothing in it is executed, and nothing
// outside of it is opened: an [os.Root] follows no link that leads out.
type workspace struct {
	root *os.Root
	env  environ

	files    []envFile
	nx       nxVersion
	config   nxConfig
	manifest manifest
	locked   map[string]string // package → version, from the lock file
	lockFile string
}

// envFile is one of the files from which Nx fills its environment.
type envFile struct {
	name   string
	values map[string]string
	err    error // it is there, but cannot be read
}

func openWorkspace(dir string, env environ) (*workspace, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	w := &workspace{root: root, env: env}
	// The first file that has a variable wins: nrwl/nx, packages/nx/src/utils/dotenv.ts.
	for _, name := range []string{".local.env", ".env.local", ".env"} {
		data, err := w.read(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		f := envFile{name: name, err: err}
		if err == nil {
			f.values = parseDotenv(string(data))
		}
		w.files = append(w.files, f)
	}
	w.readConfig()
	w.readManifest()
	w.readLock()
	w.nx = w.findNx()
	return w, nil
}

func (w *workspace) close() { _ = w.root.Close() }

// read returns a small regular file, whole.
func (w *workspace) read(name string) ([]byte, error) {
	f, err := w.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, name, maxFile)
}

// open opens a regular file. A named pipe must not hang the examination.
func (w *workspace) open(name string) (*os.File, error) {
	info, err := w.root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", quoted(name))
	}
	return w.root.Open(name)
}

func readBounded(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %s", quoted(name), bytesText(limit))
	}
	return data, nil
}

// readFileBounded reads a file outside of the workspace, one that the environment names.
func readFileBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", quoted(name))
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, name, limit)
}

// choose adds the .env files to what the environment says. A variable that is set wins over them. One that is set but
// empty does so up to Nx 22, whose dotenv-expand is 11; from Nx 23 on, with dotenv-expand 12, the file wins.
func (w *workspace) choose(env Setting, variable string) Setting {
	if env.Set && (env.Value != "" || w.emptyWins()) {
		return env
	}
	for _, f := range w.files {
		if value, ok := f.values[variable]; ok {
			return Setting{Value: value, Set: true, Source: f.name}
		}
	}
	return env
}

func (w *workspace) emptyWins() bool { return w.nx.known && w.nx.version.less(version{major: 23}) }

// value is a variable as Nx sees it after it has read the .env files.
func (w *workspace) value(variable string) Setting {
	s := Setting{Source: "environment"}
	s.Value, s.Set = w.env.lookup(variable)
	return w.choose(s, variable)
}

// ignored reports whether a .gitignore of the root covers a file of the root. It knows the patterns that people write
// for such files, not all of gitignore(5).
func (w *workspace) ignored(name string) bool {
	data, err := w.read(".gitignore")
	if err != nil {
		return false
	}
	ignored := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, " \t\r\n")
		pattern, negated := strings.CutPrefix(line, "!")
		pattern = strings.TrimPrefix(strings.TrimPrefix(pattern, "**/"), "/")
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		if match, err := path.Match(pattern, name); err == nil && match {
			ignored = !negated
		}
	}
	return ignored
}

func (w *workspace) exists(name string) bool {
	_, err := w.root.Stat(name)
	return err == nil
}
