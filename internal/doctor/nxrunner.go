package doctor

import (
	"slices"
	"strings"
)

// checkRunner looks for what keeps Nx 20 from its newer cache, the only one that knows HTTP: nrwl/nx 20.8,
// packages/nx/src/tasks-runner/cache.ts, dbCacheEnabled, and run-command.ts, getTasksRunnerPath. Nx 21 has neither. And for what is left
// of such runners: their packages, and the variables with their credentials.
func (e *exam) checkRunner() {
	w := e.workspace
	custom, places := w.customRunners()
	packages := w.runnerPackages()
	variables, secrets := w.runnerVariables()
	legacy := ""
	switch {
	case w.config.truth("useLegacyCache"):
		legacy = "\"useLegacyCache\": true in nx.json"
	case w.value("NX_DISABLE_DB").Value == "true":
		legacy = "NX_DISABLE_DB=true"
	case w.value("NX_DB_CACHE").Value == "false":
		legacy = "NX_DB_CACHE=false"
	}
	old := !w.nx.known || w.nx.version.less(version{major: 21})
	details := Details{"runners": custom, "packages": packages, "variables": variables}
	do := "Remove \"runner\" from tasksRunnerOptions and uninstall the package." + e.dropVariables(variables) + " " + read("nx-remotecache.md")
	also := ""
	if rest := slices.Concat(packages, variables); len(rest) > 0 {
		also = " There are also " + strings.Join(rest, ", ") + "."
	}
	switch {
	case legacy != "" && old:
		e.add(Finding{ID: IDNxRunner, Status: Warn, bypass: true, Title: legacy + " selects Nx's old cache",
			Means: "The old cache does not know " + ServerVariable + ": this server is never asked.", Do: "Remove that setting.", Details: details})
	case len(custom) > 0 && old:
		e.add(Finding{ID: IDNxRunner, Status: Warn, bypass: true, Title: "nx.json names a task runner of its own: " + strings.Join(places, ", "),
			Means: "Runners such as nx-remotecache-* bring a cache of their own, or get in the way of this one." + also, Do: do, Details: details})
	case len(custom) > 0:
		e.add(Finding{ID: IDNxRunner, Status: Warn, Title: "nx.json names a task runner of its own: " + strings.Join(places, ", "),
			Means: "Nx 21 and later ignore it, and with it the cache that it was to bring." + also, Do: do, Details: details})
	case len(secrets) > 0:
		e.add(Finding{ID: IDNxRunner, Status: Warn, Title: "credentials of another cache are left over: " + strings.Join(secrets, ", "),
			Means: "Nothing reads them: no task runner of nx-remotecache-* is named in nx.json. Whoever has them still has the bucket, past this server.",
			Do:    "Revoke them." + e.dropVariables(variables) + " " + read("nx-remotecache.md"), Details: details})
	case len(packages)+len(variables) > 0:
		e.ok(IDNxRunner, details, "Nx's own task runner is used; of another one are left over, without effect: %s", strings.Join(slices.Concat(packages, variables), ", "))
	default:
		e.ok(IDNxRunner, nil, "Nx's own task runner is used")
	}
}

func (e *exam) dropVariables(variables []string) string {
	if len(variables) == 0 {
		return ""
	}
	return " Delete " + strings.Join(variables, ", ") + "."
}

// customRunners are the runners of other makers that runs use unless told otherwise, by name and with the place in nx.json.
func (w *workspace) customRunners() (custom, places []string) {
	r := w.config.runners()["default"]
	switch r.Runner {
	case "", "nx-cloud", "@nrwl/nx-cloud", "nx/tasks-runners/default", "@nx/workspace/tasks-runners/default", "@nrwl/workspace/tasks-runners/default":
		return nil, nil
	}
	return []string{r.Runner}, []string{r.Runner + " (tasksRunnerOptions.default.runner)"}
}

// otherRunners are packages like those of the nx-remotecache family, and called otherwise.
func otherRunners() []string {
	return []string{
		"@nx-aws-plugin/nx-aws-cache", "@vercel/remote-nx", "nx-gcp-cache", "@nx-cache/aws-s3", "@magile/nx-distributed-cache",
		"@uizard/nx-fast-s3-cache", "@runx/nx-runners", "@nx-cloud/runners", "@rothzerg/nx-s3-remote-cache", "@nx-extend/gcp-task-runner",
	}
}

// runnerPackages are the declared packages that are task runners with a cache, with their places.
func (w *workspace) runnerPackages() []string {
	var found []string
	for _, list := range w.manifest.lists() {
		for name := range list {
			if strings.Contains(name, "nx-remotecache") || slices.Contains(otherRunners(), name) {
				found = append(found, name+" in "+w.manifest.place(name))
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	return found[:min(len(found), 20)]
}

// runnerVariables are the variables by which such runners are configured, with their sources, and those among them that are credentials.
func (w *workspace) runnerVariables() (variables, secrets []string) {
	names := sortedKeys(w.env)
	for _, f := range w.files {
		names = append(names, sortedKeys(f.values)...)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !runnerVariable(name) || w.value(name).Value == "" {
			continue
		}
		if len(variables) == 20 {
			break
		}
		where := name + " (" + w.value(name).Source + ")"
		variables = append(variables, where)
		for _, part := range []string{"KEY", "SECRET", "CONNECTION_STRING", "SAS", "TOKEN", "PASSWORD", "REDIS_URL"} {
			if strings.Contains(name, part) {
				secrets = append(secrets, where)
				break
			}
		}
	}
	return variables, secrets
}

// runnerVariable knows NXCACHE_S3_BUCKET and its like: NiklasPor/nx-remotecache-azure and -minio, pellegrims/nx-remotecache-s3,
// manhcuong1414/nx-remotecache-s3, SQLExceptionPhil/nx-remotecache-redis, amalia-oss's nx-remotecache-gcs, bojanbass/nx-aws.
func runnerVariable(name string) bool {
	for _, begin := range []string{"NXCACHE_", "NX_CACHE_S3_", "NX_CACHE_REDIS_", "NX_REMOTE_CACHE_", "NX_AWS_"} {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}
