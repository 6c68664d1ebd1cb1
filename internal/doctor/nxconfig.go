package doctor

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// nxConfig is what matters of nx.json. Values of a wrong type are left out, field by field: it is Nx's
// part to complain about them.
type nxConfig struct {
	found bool
	err   error // nx.json is there, but is not readable

	fields map[string]json.RawMessage
}

// manifest is what matters of package.json.
type manifest struct {
	Dependencies         map[string]string `json:"dependencies"`
	DevDependencies      map[string]string `json:"devDependencies"`
	OptionalDependencies map[string]string `json:"optionalDependencies"`
	Nx                   json.RawMessage   `json:"nx"`
}

// lists are the fields of package.json that declare packages.
func (m manifest) lists() map[string]map[string]string {
	return map[string]map[string]string{
		"dependencies": m.Dependencies, "devDependencies": m.DevDependencies, "optionalDependencies": m.OptionalDependencies,
	}
}

func (m manifest) declared(name string) (string, bool) {
	for _, field := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
		if v, ok := m.lists()[field][name]; ok {
			return v, true
		}
	}
	return "", false
}

// place says in which field of package.json a package is declared, or is empty.
func (m manifest) place(name string) string {
	for _, field := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
		if _, ok := m.lists()[field][name]; ok {
			return "package.json (" + field + ")"
		}
	}
	return ""
}

func (w *workspace) readConfig() {
	data, err := w.read("nx.json")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	w.config.found = true
	if err == nil {
		err = unmarshalJSONC(data, &w.config.fields)
	}
	if w.config.err = err; err != nil {
		return
	}
	// A preset lies under the file's own fields: nrwl/nx, packages/nx/src/config/nx-json.ts.
	base := w.config.text("extends")
	if base == "" {
		return
	}
	var fields map[string]json.RawMessage
	for _, name := range []string{base, path.Join("node_modules", base)} {
		data, err := w.read(path.Clean(name))
		if err != nil || unmarshalJSONC(data, &fields) != nil {
			continue
		}
		for key, value := range fields {
			if _, own := w.config.fields[key]; !own {
				w.config.fields[key] = value
			}
		}
		return
	}
}

func (w *workspace) readManifest() {
	if data, err := w.read("package.json"); err == nil {
		// What cannot be read says nothing; Nx and the package manager will.
		_ = unmarshalJSONC(data, &w.manifest)
	}
}

func (c nxConfig) get(key string, v any) bool {
	raw, ok := c.fields[key]
	return ok && json.Unmarshal(raw, v) == nil
}

func (c nxConfig) text(key string) string {
	var s string
	c.get(key, &s)
	return s
}

func (c nxConfig) truth(key string) bool {
	var b bool
	c.get(key, &b)
	return b
}

// runner is one of tasksRunnerOptions.
type runner struct {
	Runner  string `json:"runner"`
	Options struct {
		AccessToken         string   `json:"accessToken"`
		CacheableOperations []string `json:"cacheableOperations"`
	} `json:"options"`
}

func (r runner) cloud() bool { return r.Runner == "nx-cloud" || r.Runner == "@nrwl/nx-cloud" }

func (c nxConfig) runners() map[string]runner {
	var raw map[string]json.RawMessage
	c.get("tasksRunnerOptions", &raw)
	runners := make(map[string]runner, len(raw))
	for name, value := range raw {
		var r runner
		if json.Unmarshal(value, &r) == nil {
			runners[name] = r
		}
	}
	return runners
}

// cachesTargets reports whether a default makes any target cacheable. A default is an object or, from Nx 23 on, may be a list
// of them.
func (c nxConfig) cachesTargets() bool {
	var defaults map[string]json.RawMessage
	c.get("targetDefaults", &defaults)
	for _, raw := range defaults {
		if cacheable(raw) {
			return true
		}
	}
	for _, r := range c.runners() {
		if len(r.Options.CacheableOperations) > 0 {
			return true
		}
	}
	return false
}

func cacheable(raw json.RawMessage) bool {
	type target struct {
		Cache bool `json:"cache"`
	}
	var one target
	if json.Unmarshal(raw, &one) == nil {
		return one.Cache
	}
	var list []target
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	for _, t := range list {
		if t.Cache {
			return true
		}
	}
	return false
}

// nxVersion is Nx's version and where it was found.
type nxVersion struct {
	version version
	text    string
	source  string
	known   bool
	// declared: the version is a range in package.json, of which the lowest is taken.
	declared bool
}

// findNx looks where the surest answer is first: what is installed, what is locked, what is declared.
func (w *workspace) findNx() nxVersion {
	for _, file := range []string{"node_modules/nx/package.json", ".nx/installation/node_modules/nx/package.json"} {
		if v, ok := w.packageVersion(file); ok {
			return nxVersion{text: v, source: file}.parse()
		}
	}
	if v, ok := w.locked["nx"]; ok {
		return nxVersion{text: v, source: w.lockFile}.parse()
	}
	if v, ok := w.manifest.declared("nx"); ok {
		return nxVersion{text: v, source: "package.json", declared: true}.parse()
	}
	var installation struct {
		Version string `json:"version"`
	}
	if w.config.get("installation", &installation) && installation.Version != "" {
		return nxVersion{text: installation.Version, source: "nx.json", declared: true}.parse()
	}
	return nxVersion{}
}

func (n nxVersion) parse() nxVersion {
	n.version, n.known = parseVersion(n.text)
	return n
}

func (w *workspace) packageVersion(file string) (string, bool) {
	data, err := w.read(file)
	if err != nil {
		return "", false
	}
	var p struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return "", false
	}
	return strings.TrimSpace(p.Version), p.Version != ""
}
