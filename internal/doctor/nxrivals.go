package doctor

import (
	"slices"
	"strings"
)

// read points to the pages that tell how to move from other caches.
func read(pages ...string) string {
	pages = unique(pages)
	for i := range pages {
		pages[i] = "docs/migrate/" + pages[i]
	}
	if last := len(pages) - 1; last > 0 {
		return "Read " + strings.Join(pages[:last], ", ") + " and " + pages[last] + "."
	}
	return "Read " + pages[0] + "."
}

// rival is a kind of cache that Nx prefers to the HTTP cache.
type rival struct {
	// names are the packages, the present one first.
	names []string
	// key is its object in nx.json; empty if it has none.
	key string
	// secrets are the fields of that object that are credentials.
	secrets []string
	// variables are read by the package beside those of its cloud.
	variables []string
	page      string
}

// rivals are asked by Nx in this order, after its cloud and before the HTTP cache: nrwl/nx, packages/nx/src/tasks-runner/cache.ts,
// DbCache._getRemoteCache. What each reads was seen in its release 5.0.
func rivals() []rival {
	return []rival{
		{
			names: []string{"@nx/s3-cache", "@nx/powerpack-s3-cache"}, key: "s3",
			secrets:   []string{"accessKeyId", "secretAccessKey", "encryptionKey"},
			variables: []string{"NX_S3_ENCRYPTION_KEY", "NX_POWERPACK_CACHE_MODE"}, page: "nx-s3-cache.md",
		},
		{
			names:     []string{"@nx/shared-fs-cache", "@nx/powerpack-shared-fs-cache"},
			variables: []string{"NX_CACHE_DIRECTORY"}, page: "nx-shared-fs-cache.md",
		},
		{
			names: []string{"@nx/gcs-cache", "@nx/powerpack-gcs-cache"}, key: "gcs",
			secrets:   []string{"encryptionKey"},
			variables: []string{"NX_GCS_ENCRYPTION_KEY", "NX_POWERPACK_CACHE_MODE"}, page: "nx-gcs-cache.md",
		},
		{
			names: []string{"@nx/azure-cache", "@nx/powerpack-azure-cache"}, key: "azure",
			secrets:   []string{"connectionString", "encryptionKey"},
			variables: []string{"NX_AZURE_ENCRYPTION_KEY", "AZURE_STORAGE_CONNECTION_STRING", "NX_POWERPACK_CACHE_MODE"}, page: "nx-azure-cache.md",
		},
	}
}

func rivalNames() []string {
	var names []string
	for _, r := range rivals() {
		names = append(names, r.names...)
	}
	return names
}

// rivalsFound is what a workspace has of them.
type rivalsFound struct {
	installed, declared []string
	// places say where they and what configures them are: files with keys, variables.
	places []string
	// secrets are the places of credentials, leftovers those of settings that no package reads.
	secrets, leftovers []string
	// notes are sentences on what they do, pages the files to read.
	notes, pages []string
}

func (e *exam) checkRivals() {
	var found rivalsFound
	for _, r := range rivals() {
		e.lookFor(r, &found)
	}
	key := e.workspace.rivalKey()
	details := Details{
		"installed": found.installed, "declared": found.declared, "places": unique(found.places), "leftovers": found.leftovers,
		"credentials": found.secrets, "key": key,
	}
	present := slices.Concat(found.installed, found.declared)
	f := Finding{ID: IDNxPackages, Status: Warn, Details: details}
	const credentials = "Whoever reads the repository has the credentials, and with them the bucket."
	switch {
	case len(present) > 0:
		f.bypass = true
		var titles []string
		if len(found.installed) > 0 {
			titles = append(titles, strings.Join(found.installed, ", ")+" is installed")
		}
		if len(found.declared) > 0 {
			titles = append(titles, strings.Join(found.declared, ", ")+" is declared, though not installed here")
		}
		f.Title = strings.Join(titles, "; ")
		f.Means = "Nx prefers it, silently, to the cache that " + ServerVariable + " names."
		if len(found.installed) == 0 {
			f.Means = "Where it is installed, Nx prefers it, silently, to the cache that " + ServerVariable + " names."
		}
		f.Means += " It is in " + strings.Join(unique(found.places), ", ") + "."
		if key == "" {
			f.Means += " It needs a key (NX_KEY or .nx/key/key.ini), and steps aside where it finds none, as here."
		}
		f.Means += join(found.notes)
		f.Do = "Remove it: npm uninstall " + strings.Join(present, " ") + " (or the same with your package manager)." + " " + read(found.pages...)
		if len(found.secrets) > 0 {
			f.Means += " " + credentials
			f.Do += " Revoke the credentials in " + strings.Join(found.secrets, ", ") + "."
		}
	case len(found.secrets) > 0:
		f.Title = "credentials of a cache package that is gone: " + strings.Join(found.secrets, ", ")
		f.Means = "Nothing reads them any more. " + credentials
		f.Do = "Revoke them and delete " + strings.Join(found.leftovers, ", ") + "." + " " + read(found.pages...)
	case len(found.leftovers) > 0:
		e.ok(IDNxPackages, details, "no other cache package is installed or declared; %s is left over, and nothing reads it", strings.Join(found.leftovers, ", "))
		return
	default:
		e.ok(IDNxPackages, details, "no other cache package is installed or declared")
		return
	}
	e.add(f)
}

// lookFor adds to found what there is of one kind.
func (e *exam) lookFor(r rival, found *rivalsFound) {
	w := e.workspace
	present := false
	for _, name := range r.names {
		_, inLock := w.locked[name]
		var places []string
		installed := w.exists("node_modules/" + name + "/package.json")
		if installed {
			places = append(places, "node_modules/"+name)
		}
		if place := w.manifest.place(name); place != "" {
			places = append(places, place)
		} else if inLock {
			places = append(places, w.lockFile)
		}
		switch {
		case installed:
			found.installed = append(found.installed, name)
		case len(places) > 0:
			found.declared = append(found.declared, name)
		}
		present = present || len(places) > 0
		found.places = append(found.places, places...)
	}
	settings, secrets, configured := w.rivalSettings(r)
	found.secrets = append(found.secrets, secrets...)
	switch {
	case present:
		found.places = append(found.places, settings...)
		found.pages = append(found.pages, r.page)
		if r.key == "" {
			found.notes = append(found.notes, "The shared directory counts in CI only; elsewhere it steps aside.")
		} else if !configured && w.config.found && w.config.err == nil {
			found.notes = append(found.notes, "nx.json has no \""+r.key+"\", which the package takes for an error.")
		}
	case configured:
		found.leftovers = append(found.leftovers, settings...)
		found.pages = append(found.pages, r.page)
	}
}

// rivalSettings tells where a kind is configured: its object in nx.json with the names of the fields, its variables. Values are not told.
// Variables alone are no leftover: they may be of anything.
func (w *workspace) rivalSettings(r rival) (settings, secrets []string, configured bool) {
	var fields map[string]any
	if r.key != "" && w.config.get(r.key, &fields) && fields != nil {
		configured = true
		names := sortedKeys(fields)
		settings = append(settings, "\""+r.key+"\" in nx.json ("+strings.Join(names[:min(len(names), 20)], ", ")+")")
		for _, name := range r.secrets {
			if text, ok := fields[name].(string); ok && text != "" {
				secrets = append(secrets, r.key+"."+name+" in nx.json")
			}
		}
	}
	if r.key == "" && w.config.text("cacheDirectory") != "" {
		settings = append(settings, "\"cacheDirectory\" in nx.json")
	}
	for _, name := range r.variables {
		if s := w.value(name); s.Value != "" {
			settings = append(settings, name+" ("+s.Source+")")
		}
	}
	return settings, secrets, configured
}

// rivalKey tells where the key is without which the packages step aside, or is empty.
func (w *workspace) rivalKey() string {
	if s := w.value("NX_KEY"); s.Value != "" {
		return "NX_KEY (" + s.Source + ")"
	}
	if w.exists(".nx/key/key.ini") {
		return ".nx/key/key.ini"
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// join makes one text of sentences, with a blank before each.
func join(sentences []string) string {
	var b strings.Builder
	for _, s := range unique(sentences) {
		b.WriteString(" " + s)
	}
	return b.String()
}
