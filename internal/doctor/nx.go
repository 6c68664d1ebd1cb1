package doctor

import (
	"strings"
)

// Releases in which Nx's client changed. Seen in the releases themselves.
var (
	// firstHTTP knows the self-hosted cache.
	firstHTTP = version{20, 8, 0}
	// firstSystemRoots reads the system's trust store; 20.8.4, 21.3.0 and 21.4.0 refuse a private CA that is in it, 21.5.1 and
	// later accept it: until then the client carried a list of public CAs of its own.
	firstSystemRoots = version{21, 5, 0}
	// firstSafeUnpack refuses "..", absolute paths and links that lead out of its cache folder.
	firstSafeUnpack = version{23, 0, 2}
)

// checkWorkspace examines what an Nx workspace makes of the cache. It reads files, bounded, and runs nothing.
func (e *exam) checkWorkspace() {
	e.checkNxVersion()
	e.checkNxJSON()
	e.checkRivals()
	e.checkCloud()
	e.checkRunner()
	e.checkSwitches()
	e.checkTargets()
	e.checkEnvFiles()
}

func (e *exam) checkNxVersion() {
	n := e.workspace.nx
	if !n.known {
		title := "no Nx is found in this workspace"
		if n.text != "" {
			title = "the version of Nx, " + quoted(n.text) + " in " + n.source + ", is no number"
		}
		e.add(Finding{ID: IDNxVersion, Status: Warn, Title: title,
			Means: "It cannot be told whether this Nx knows self-hosted caches (20.8.0 and later do).",
			Do:    "Install the dependencies first, or check the directory given with --nx. Links that lead out of it are not followed."})
		return
	}
	details := Details{"version": n.text, "source": n.source}
	name := "Nx " + printable(n.text, 60) + " (" + n.source + ")"
	switch {
	case n.version.less(firstHTTP):
		e.add(Finding{ID: IDNxVersion, Status: Fail, bypass: true, Title: name + " does not know self-hosted caches",
			Means: "It ignores " + ServerVariable + ": every task runs without a remote cache.",
			Do:    "Update to 20.8.0 or later; if you can, to 23.0.2 or later.", Details: details})
	case n.version.less(firstSystemRoots) && e.privateCA && !e.insecure:
		e.add(Finding{ID: IDNxVersion, Status: Fail, Title: name + " does not read the system's trust store, and the server's CA looks private",
			Means: "Nx before 21.5 trusts a built-in list of public CAs only: every build fails with this server.",
			Do:    "Update Nx to 21.5 or later, use a certificate of a public CA, or plain http on a network of your own.", Details: details})
	case n.version.less(firstSafeUnpack):
		details["unpacks_blindly"] = true
		e.ok(IDNxVersion, details, "%s knows self-hosted caches; before 23.0.2 it unpacks \"..\" and links blindly, so the server has to check uploads", name)
	default:
		e.ok(IDNxVersion, details, "%s knows self-hosted caches", name)
	}
}

func (e *exam) checkNxJSON() {
	c := e.workspace.config
	switch {
	case !c.found:
		e.add(Finding{ID: IDNxJSON, Status: Warn, Title: "there is no nx.json", Means: "This is the root of no Nx workspace, or one without settings.",
			Do: "Give the workspace's root with --nx."})
	case c.err != nil:
		e.add(Finding{ID: IDNxJSON, Status: Warn, Title: "nx.json cannot be read", Means: "What it says about the cache is unknown. If Nx cannot read it either, nothing runs.",
			Do: "Correct it.", Details: Details{"error": c.err.Error()}})
	default:
		e.ok(IDNxJSON, nil, "nx.json is readable")
	}
}

// checkCloud follows nrwl/nx, packages/nx/src/utils/nx-cloud-utils.ts, isNxCloudUsed.
func (e *exam) checkCloud() {
	w := e.workspace
	var why []string
	for _, name := range []string{"nxCloudId", "nxCloudAccessToken"} {
		if w.config.text(name) != "" {
			why = append(why, name+" in nx.json")
		}
	}
	for name, r := range w.config.runners() {
		if r.cloud() || name == "default" && r.Options.AccessToken != "" {
			why = append(why, "tasksRunnerOptions in nx.json")
			break
		}
	}
	for _, name := range []string{"NX_CLOUD_ACCESS_TOKEN", "NX_CLOUD_AUTH_TOKEN"} {
		if s := w.value(name); s.Value != "" {
			why = append(why, name+" ("+s.Source+")")
		}
	}
	// nx-cloud.env lends the cloud's client a token, and does not turn the cloud on by itself.
	details := Details{"because": why, "nx_cloud_env": w.exists("nx-cloud.env")}
	off := ""
	switch {
	case w.config.truth("neverConnectToCloud"):
		off = "\"neverConnectToCloud\": true in nx.json"
	case w.value("NX_NO_CLOUD").Value == "true":
		off = "NX_NO_CLOUD=true"
	}
	switch {
	case len(why) == 0:
		e.ok(IDNxCloud, details, "Nx Cloud is not configured")
	case off != "":
		e.ok(IDNxCloud, details, "Nx Cloud is configured, but turned off by %s", off)
	default:
		e.add(Finding{ID: IDNxCloud, Status: Warn, bypass: true, Title: "Nx Cloud is configured: " + strings.Join(why, ", "),
			Means: "Nx asks the cloud first of all caches, and never this server.",
			Do:    "Remove that, or put \"neverConnectToCloud\": true into nx.json. " + read("nx-cloud.md"), Details: details})
	}
}

// checkSwitches looks for variables that turn caches off: nrwl/nx, packages/nx/src/utils/command-line-utils.ts. Only
// the exact word "true" counts there.
func (e *exam) checkSwitches() {
	w := e.workspace
	var off []string
	for _, name := range []string{"NX_SKIP_NX_CACHE", "NX_DISABLE_NX_CACHE", "NX_SKIP_REMOTE_CACHE", "NX_DISABLE_REMOTE_CACHE"} {
		if s := w.value(name); s.Value == "true" {
			off = append(off, name+"=true ("+s.Source+")")
		}
	}
	unknown := w.value("NX_REJECT_UNKNOWN_LOCAL_CACHE").Value
	switch {
	case len(off) > 0:
		e.add(Finding{ID: IDNxSwitches, Status: Warn, bypass: true, Title: strings.Join(off, ", "),
			Means: "Nx uses no remote cache as long as that is set.", Do: "Unset it.", Details: Details{"set": off}})
	case unknown == "0" || unknown == "false":
		e.add(Finding{ID: IDNxSwitches, Status: Warn, Title: "NX_REJECT_UNKNOWN_LOCAL_CACHE=" + unknown + " is set",
			Means: "Nx ignores it with its present cache. It was meant for cache folders that CI passes around, which are open to poisoning.",
			Do:    "Unset it; a remote cache takes the place of such folders."})
	default:
		e.ok(IDNxSwitches, nil, "no variable turns the cache off")
	}
}

func (e *exam) checkTargets() {
	w := e.workspace
	var plugins []any
	w.config.get("plugins", &plugins)
	switch {
	case !w.config.found || w.config.err != nil:
		e.skip(IDNxTargets, "there is no readable nx.json")
	case w.config.cachesTargets():
		e.ok(IDNxTargets, nil, "nx.json makes targets cacheable")
	case len(plugins) > 0:
		e.ok(IDNxTargets, nil, "nx.json makes no target cacheable itself; its %s may", plural(len(plugins), "plugin"))
	case strings.Contains(string(w.manifest.Nx), `"cache"`):
		e.ok(IDNxTargets, nil, "package.json makes targets cacheable")
	default:
		e.add(Finding{ID: IDNxTargets, Status: Warn, Title: "nx.json makes no target cacheable",
			Means: "Unless the projects' own files do, Nx caches nothing, and asks no cache.",
			Do:    "Put \"cache\": true into targetDefaults of nx.json, for targets such as build, test and lint."})
	}
}

// checkEnvFiles looks at what the .env files say about the cache, and at a token that could end up in git.
func (e *exam) checkEnvFiles() {
	w := e.workspace
	var here, means, do []string
	for _, f := range w.files {
		if f.err != nil {
			here = append(here, f.name+" cannot be read")
			means = append(means, "What it says about the cache is unknown ("+f.err.Error()+").")
			do = append(do, "Check the file.")
			continue
		}
		for _, name := range []string{ServerVariable, TokenVariable} {
			value, ok := f.values[name]
			if !ok {
				continue
			}
			here = append(here, f.name+" sets "+name)
			if strings.Contains(value, "$") {
				means = append(means, "Nx expands \"$\" in "+f.name+": the value becomes another one.")
				do = append(do, "Write \\$ for a dollar sign in "+f.name+".")
			}
			if trouble := envFileTrouble(name, value); trouble != "" {
				means = append(means, "In "+f.name+" "+trouble)
				do = append(do, "Correct "+f.name+".")
			}
			if name == TokenVariable && value != "" && w.exists(".git") && !w.ignored(f.name) {
				means = append(means, f.name+" holds a token, and .gitignore does not name it: it may be committed, and read by whoever reads the repository.")
				do = append(do, "Add "+f.name+" to .gitignore. If it was ever committed, revoke the token.")
			}
			if env, set := w.env.lookup(name); set && env == "" && value != "" {
				if w.emptyWins() {
					means = append(means, name+" is set but empty in the environment, and this Nx leaves it so: "+f.name+" does not count.")
				} else {
					means = append(means, name+" is set but empty in the environment: from Nx 23 on "+f.name+" counts all the same.")
				}
				do = append(do, "Unset the variable, or give it a value.")
			}
		}
	}
	switch {
	case len(means) > 0:
		e.add(Finding{ID: IDNxEnvFiles, Status: Warn, Title: strings.Join(here, ", "),
			Means: strings.Join(means, " "), Do: strings.Join(unique(do), " ")})
	case len(here) > 0:
		e.ok(IDNxEnvFiles, nil, "%s", strings.Join(here, ", "))
	default:
		e.ok(IDNxEnvFiles, nil, "no .env file sets the cache's variables")
	}
}

// envFileTrouble is what is wrong with a value, as the end of a sentence; the value itself is never told.
func envFileTrouble(name, value string) string {
	if name == ServerVariable {
		if _, trouble := parseTarget(value); trouble != nil && trouble.status == Fail && value != "" {
			return "the server is no usable URL."
		}
		return ""
	}
	switch {
	case strings.ContainsAny(value, "\r\n"):
		return "the token has a line break: Nx crashes as it starts."
	case strings.ContainsAny(value, "\"'`"):
		return "the token has quotes in it."
	case strings.TrimSpace(value) != value || strings.Contains(value, " "):
		return "the token has blanks in it."
	}
	return ""
}

func unique(list []string) []string {
	seen := make(map[string]bool, len(list))
	var out []string
	for _, s := range list {
		if !seen[s] {
			out, seen[s] = append(out, s), true
		}
	}
	return out
}
