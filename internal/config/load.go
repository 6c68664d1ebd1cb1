package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Load makes a configuration of the flags that were parsed into flags, the environment, and the file
// that --config or BEZOAR_CONFIG names, if any. Flags win over variables, variables over the file, the file over
// defaults; lists are replaced, not joined.
//
// It looks at the machine through files alone. The error is [Problems], all that were found.
func Load(flags *pflag.FlagSet, environ []string, files Files) (*Config, *Sources, error) {
	l := &loader{
		files: files, vars: variables(environ), all: settings(),
		config:  &Config{},
		sources: &Sources{of: map[string]Source{}, items: map[string][]Source{}},
		values:  map[string]reflect.Value{},
		bad:     map[string]bool{},
	}
	l.abs = l.absolute
	l.readFile(flags)
	l.readEnvironment()
	l.readFlags(flags)
	l.fill()
	l.check()
	if len(l.problems) > 0 {
		return nil, nil, l.problems
	}
	return l.config, l.sources, nil
}

type loader struct {
	decoder
	files   Files
	vars    map[string]string
	all     []*setting
	config  *Config
	sources *Sources
	values  map[string]reflect.Value // what was written, by setting
	bad     map[string]bool          // settings with problems: no more is said about them
	fileDir string                   // the directory of the file, absolute
	mode    fs.FileMode              // of the file
}

// absolute takes paths in the file from the file's directory, others from the working directory.
func (l *loader) absolute(path string, at Source) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	if at.Layer == File {
		return filepath.Join(l.fileDir, path), nil
	}
	return l.files.Abs(path)
}

// take decodes what one layer says of s. A later layer replaces what an earlier one said. Messages point at the value,
// the source at the key.
func (l *loader) take(s *setting, n node, at Source) {
	v, ok := l.setting(s, n, s.name)
	if !ok {
		l.bad[s.name] = true
		return
	}
	l.values[s.name] = v
	l.sources.of[s.name] = at
	l.sources.items[s.name] = nil
	for _, item := range n.items {
		l.sources.items[s.name] = append(l.sources.items[s.name], item.at)
	}
}

func (l *loader) readFile(flags *pflag.FlagSet) {
	var name string
	var at Source
	if texts := flagTexts(flags, configName); texts != nil {
		name, at = texts[len(texts)-1], Source{Layer: Flag, Name: configName}
	} else if value, ok := l.vars[envName(configName)]; ok {
		name, at = value, Source{Layer: Environment, Name: envName(configName)}
	} else {
		return
	}
	if err := plausible(name, false); err != nil {
		l.report(at, configName, err)
		return
	}
	abs, err := l.files.Abs(name)
	if err != nil {
		l.report(at, configName, err)
		return
	}
	data, mode, err := l.files.ReadFile(name, MaxFileSize+1)
	if err != nil {
		l.report(at, configName, &flaw{"cannot be read: " + err.Error(), "name a file that this user may read"})
		return
	}
	l.fileDir, l.mode = filepath.Dir(abs), mode
	top, problem := parseFile(name, data)
	if problem != nil {
		l.problems = append(l.problems, problem)
		return
	}
	before := len(l.problems)
	given := l.known(top, l.all, "")
	for _, s := range l.all {
		if p, ok := given[s.name]; ok {
			l.take(s, p.value, p.at)
		}
	}
	slices.SortStableFunc(l.problems[before:], func(a, b *Problem) int {
		if a.Source.Line != b.Source.Line {
			return a.Source.Line - b.Source.Line
		}
		return a.Source.Column - b.Source.Column
	})
}

func (l *loader) readEnvironment() {
	for _, s := range l.all {
		if text, ok := l.vars[envName(s.name)]; ok {
			n := envNode(s, text)
			l.take(s, n, n.at)
		}
	}
	l.problems = append(l.problems, unknownVariables(l.vars, l.all)...)
}

func (l *loader) readFlags(flags *pflag.FlagSet) {
	for _, s := range l.all {
		if texts := flagTexts(flags, s.name); texts != nil {
			n := flagNode(s, texts)
			l.take(s, n, n.at)
			if s.typ == reflect.TypeFor[Secret]() {
				l.warn("flag --%s: other users of this machine may see the secret in the list of processes; use --%s-file", s.name, s.name)
			}
		}
	}
}

func (l *loader) warn(format string, args ...any) {
	l.sources.Warnings = append(l.sources.Warnings, fmt.Sprintf(format, args...))
}

// fill writes values and defaults into the configuration.
func (l *loader) fill() {
	for _, s := range l.all {
		if s.of != nil {
			l.readSecret(s)
			continue
		}
		v, ok := l.values[s.name]
		if !ok && s.def != "" {
			n := envNode(s, s.def)
			n.at = Source{}
			for i := range n.items {
				n.items[i].at = n.at
			}
			v, ok = l.setting(s, n, s.name)
		}
		if ok {
			s.value(l.config).Set(v)
		}
	}
	c := l.config
	if c.Data == "" && !l.bad["data"] {
		dir, from, err := dataDir(runtime.GOOS, l.vars)
		if err != nil {
			l.report(Source{}, "data", err)
		}
		c.Data = Path(dir)
		l.sources.of["data"] = Source{Name: from}
	}
	if c.SealKeyFile == "" && !l.bad["seal-key-file"] {
		c.SealKeyFile = c.DefaultSealKeyFile()
	}
	if c.SpoolDir == "" && !l.bad["spool-dir"] {
		c.SpoolDir = c.DefaultSpoolDir()
	}
	if c.Store.Scheme == "" {
		c.Store = fileStore(filepath.Join(string(c.Data), "store"))
	}
}

// readSecret reads the secret of the file that s names, if it does.
func (l *loader) readSecret(s *setting) {
	secret := s.of
	v, fromFile := l.values[s.name]
	at, direct := l.sources.of[secret.name]
	if direct && at.Layer == File && l.mode&0o044 != 0 {
		l.warn("%s: other users of this machine may read the file, and with it %s: chmod 600, or use %s", at, secret.name, s.name)
	}
	if !fromFile {
		return
	}
	path, fileAt := string(v.Interface().(Path)), l.sources.of[s.name]
	if direct || l.bad[secret.name] {
		l.report(fileAt, s.name, &flaw{secret.name + " is given too", "keep one of the two"})
		return
	}
	data, mode, err := l.files.ReadFile(path, maxText+3)
	if err != nil {
		l.report(fileAt, s.name, &flaw{"cannot be read: " + err.Error(), "name a file that this user may read"})
		return
	}
	value, err := secret.parse(trimLine(data))
	if err != nil {
		what := err.Error()
		if f, ok := errors.AsType[*flaw](err); ok {
			what = f.what
		}
		l.report(fileAt, s.name, &flaw{"the content of " + quoted(path) + " " + what, "write the secret alone into that file, on one line"})
		return
	}
	text := value.(Secret)
	text.file = path
	secret.value(l.config).Set(reflect.ValueOf(text))
	l.sources.of[secret.name] = fileAt
	if mode&0o044 != 0 {
		l.warn("%s: other users of this machine may read %s: chmod 600", fileAt, path)
	}
}

// check finds settings that do not go together.
func (l *loader) check() {
	c, of := l.config, l.sources.of
	if !l.bad["tls-cert"] && !l.bad["tls-key"] && (c.TLSCert == "") != (c.TLSKey == "") {
		have, lack := "tls-cert", "tls-key"
		if c.TLSCert == "" {
			have, lack = lack, have
		}
		l.report(of[have], have, &flaw{"there is no " + lack, "give both, or none for a server without TLS"})
	}
	if !l.bad["max-artifact-size"] && !l.bad["max-inflated-size"] && c.MaxArtifactSize > c.MaxInflatedSize {
		const hint = "an artifact does not shrink when it is unpacked: raise the one or lower the other"
		if of["max-inflated-size"].Layer < of["max-artifact-size"].Layer {
			l.report(of["max-artifact-size"], "max-artifact-size", &flaw{fmt.Sprintf("%v is more than max-inflated-size, %v", c.MaxArtifactSize, c.MaxInflatedSize), hint})
		} else {
			l.report(of["max-inflated-size"], "max-inflated-size", &flaw{fmt.Sprintf("%v is less than max-artifact-size, %v", c.MaxInflatedSize, c.MaxArtifactSize), hint})
		}
	}
	l.checkStore()
	l.checkListeners()
	l.checkTokens()
}

func (l *loader) checkListeners() {
	if l.bad["listen"] {
		return
	}
	seen := map[Listener]bool{}
	for i, a := range l.config.Listen {
		if seen[a] && (a.Network != TCP || !anyPort(a.Address)) {
			l.report(l.at("listen", i), fmt.Sprintf("listen[%d]", i), &flaw{quoted(a.String()) + " is there twice", "take one of them out"})
		}
		seen[a] = true
	}
	m := string(l.config.MetricsListen)
	if m != "" && !anyPort(m) && seen[Listener{Network: TCP, Address: m}] {
		l.report(l.sources.of["metrics-listen"], "metrics-listen", &flaw{quoted(m) + " is one of listen too", "give metrics another port, or leave it out: the first listener has them as well"})
	}
}

func (l *loader) checkTokens() {
	if l.bad["tokens"] {
		return
	}
	names, hashes := map[string]int{}, map[trust.TokenHash]int{}
	for i, t := range l.config.Tokens {
		at, key := l.at("tokens", i), fmt.Sprintf("tokens[%d]", i)
		name := strings.Join([]string{string(t.Workspace), string(t.Name)}, " ")
		if first, ok := names[name]; ok {
			l.report(at, key+".name", &flaw{fmt.Sprintf("%s names tokens[%d] in the same workspace", quoted(string(t.Name)), first), "give each token of a workspace a name of its own"})
		} else {
			names[name] = i
		}
		if t.Developer != "" && t.Access != string(trust.Isolated) {
			l.report(at, key+".developer", &flaw{"is given to a token with access " + t.Access, "write access: isolated, or take developer out"})
		}
		if first, ok := hashes[t.Hash]; ok {
			l.report(at, key+".hash", &flaw{fmt.Sprintf("is the hash of tokens[%d] (not shown)", first), "make a token for each purpose"})
		} else {
			hashes[t.Hash] = i
		}
	}
}

// at returns where item i of a list was written.
func (l *loader) at(name string, i int) Source {
	if items := l.sources.items[name]; i < len(items) {
		return items[i]
	}
	return l.sources.of[name]
}
