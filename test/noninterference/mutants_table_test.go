//go:build mutants

package noninterference

// mutant is a bug that could be in the code, and that the property has to find.
type mutant struct {
	name string
	// breaks names a law that it has to be found by.
	breaks string
	edits  []edit
	// onFiles says that it takes a store of files to see it.
	onFiles bool
}

// edit replaces a text that stands once in a file.
type edit struct{ file, from, to string }

func one(name, breaks, file, from, to string) mutant {
	return mutant{name: name, breaks: breaks, edits: []edit{{file, from, to}}}
}

const (
	coreFile     = "internal/cache/cache.go"
	githubFile   = "internal/trust/policy/github.go"
	gitlabFile   = "internal/trust/policy/gitlab.go"
	judgeFile    = "internal/trust/policy/judge.go"
	sessionFile  = "internal/trust/session.go"
	artifactFile = "internal/server/artifact.go"
	memFile      = "internal/store/mem/mem.go"
	sealFile     = "internal/store/seal/form.go"
)

func mutants() []mutant {
	return []mutant{
		// Who may what.
		one("a trusted build falls back to entries of a pull request", "isolation", judgeFile,
			"grant.Read, grant.Write = []cache.Scope{cache.Trusted}, cache.Trusted",
			`grant.Read, grant.Write = []cache.Scope{cache.Trusted, "pr/17", "branch/refs/heads/fix"}, cache.Trusted`),
		one("the number of a pull request comes from head_ref where that has one", "authority", githubFile,
			"number, ok := strings.CutPrefix(run.ref, \"refs/pull/\")",
			"ref := run.ref\n\tif h := l.record(\"head_ref\"); strings.HasPrefix(h, \"refs/pull/\") {\n\t\tref = h\n\t}\n\tnumber, ok := strings.CutPrefix(ref, \"refs/pull/\")"),
		{name: "pull_request_target counts as a push", breaks: "authority", edits: []edit{
			{githubFile, `case run.event == "push":`, `case run.event == "push", run.event == "pull_request_target":`},
			{githubFile, `	l.is("event_name", texts(g.Trusted.Events)...)` + "\n", ""},
		}},
		{name: "the event is not looked at", breaks: "authority", edits: []edit{
			{githubFile, `	l.is("event_name", texts(g.Trusted.Events)...)` + "\n", ""},
			{githubFile, `return by(modeIsolated, "", g.own("run", run.id), "a run that somebody else's doing set off")`, "return g.push(l, run)"},
		}},
		one("a branch is compared without its case", "authority", "internal/trust/policy/value.go",
			"return ok && name == string(v)", "return ok && strings.EqualFold(name, string(v))"),
		{name: "the code of a fork counts as that of the project", breaks: "authority", edits: []edit{
			{gitlabFile, "case run.project != string(g.ProjectID):", "case false:"},
			{gitlabFile, "	l.is(\"project_id\", string(g.ProjectID))\n	if !l.branchRef(run) {", "	if !l.branchRef(run) {"},
		}},
		one("the own scope comes before the trusted one", "authority", judgeFile,
			"grant.Read, grant.Write = []cache.Scope{cache.Trusted, own}, own", "grant.Read, grant.Write = []cache.Scope{own, cache.Trusted}, own"),
		one("an isolated token writes trusted entries", "isolation", "internal/trust/access.go",
			"return []cache.Scope{cache.Trusted, own}, own", "return []cache.Scope{cache.Trusted, own}, cache.Trusted"),
		one("developers are told apart without the case of their names", "placement", "internal/trust/token.go",
			`own = cache.Scope("dev/" + t.Developer)`, `own = cache.Scope("dev/" + strings.ToLower(t.Developer))`),
		one("anybody reads where nobody said so", "authority", "internal/trust/grant.go", "ok && settings.PublicRead", "ok && (true || settings.PublicRead)"),

		// Sessions.
		one("a session never ends", "authority", sessionFile, "case !a.now().Before(verdict.expires):", "case false:"),
		one("a session is not judged again under another policy", "authority", sessionFile, "if r.Fingerprint() == s.Policy {", "if true {"),
		one("a session outlives its revocation", "authority", sessionFile, "r := s.revocations.of(who, held.Grant.Workspace); r != nil", "r := s.revocations.of(who, held.Grant.Workspace); false && r != nil"),
		one("credentials are remembered by their beginning", "authority", "internal/trust/memo.go",
			"copy(buffer[:], credential)", "copy(buffer[:60], credential)"),
		one("the signature of a session is not looked at", "authority", "internal/trust/session/token.go",
			"data, err := signed.Verify(keys[i].Secret[:])", "data, err := signed.UnsafePayloadWithoutVerification(), error(nil)"),
		one("a token of the CI is exchanged any number of times", "authority", "internal/trust/exchange.go",
			"case errors.Is(err, ErrReplayed):", "case errors.Is(err, ErrReplayed):\n\t\treturn nil\n\tcase false:"),

		// From the request to the key.
		{name: "the workspace comes from the path", breaks: "isolation", edits: []edit{
			{artifactFile, "	x.workspace, x.producer = grant.Workspace, grant.Producer\n", "	if named != \"\" {\n\t\tgrant.Workspace = named\n\t}\n	x.workspace, x.producer = grant.Workspace, grant.Producer\n"},
			{"internal/trust/snapshot.go", `if named != "" && named != t.Workspace {`, "if false {"},
		}},
		one("a header names the scope", "placement", artifactFile,
			"x.server.opts.Cache.Put(x.r.Context(), grant, cache.Upload{",
			`x.server.opts.Cache.Put(x.r.Context(), func(g cache.Grant) cache.Grant {
		if s := x.r.Header.Get("X-Scope"); s != "" && g.Write != "" {
			g.Write = cache.Scope(s)
		}
		return g
	}(grant), cache.Upload{`),

		// Upload and download.
		one("an entry of one's own may hide behind a trusted one", "shadow", coreFile,
			"if err := c.shadowed(ctx, grant, up.Hash); err != nil {", "if err := c.shadowed(ctx, grant, up.Hash); false {"),
		one("what cannot be read of the trusted scope is looked for in one's own", "shadow", coreFile,
			"		default:\n			return nil, err\n		}\n	}\n	return nil, missing", "		default:\n			missing = err\n		}\n	}\n	return nil, missing"),
		one("a credential that was revoked meanwhile ends its upload", "authority", coreFile, "if up.Valid != nil {", "if false {"),
		one("an upload that was cut is kept", "whole", coreFile, "case err == io.EOF && u.left > 0:", "case false:"),
		one("the record does not say who it was", "producer", coreFile, "Producer: grant.Producer,", "Producer: Producer{Kind: grant.Producer.Kind},"),
		{name: "an entry is replaced", breaks: "write-once", edits: []edit{
			{memFile, "	s.mu.RLock()\n	defer s.mu.RUnlock()\n	if _, ok := s.entries[key]; ok {\n		return nil, cache.ErrExist\n	}\n	return &draft", "	return &draft"},
			{memFile, "if _, ok := d.store.entries[d.key]; ok {", "if false {"},
		}},

		one("an upload is refused for what somebody else has of his own", "isolation", coreFile,
			"		if scope == grant.Write {\n			return nil\n		}", `		if scope == grant.Write {
			for _, other := range []Scope{"pr/17", "branch/refs/heads/fix", "branch/refs/heads/a/b", "dev/alice"} {
				if obj, err := c.open(ctx, Key{grant.Workspace, other, hash}); err == nil {
					obj.Close()
					return ErrExist
				}
			}
			return nil
		}`),
		one("what is new pushes out what others have", "noninterference", memFile,
			"	d.store.entries[d.key] = &stored{", `	for other := range d.store.entries {
		if len(d.store.entries) > 2 {
			delete(d.store.entries, other)
		}
	}
	d.store.entries[d.key] = &stored{`),

		// At rest.
		one("the seal does not bind the scope", "isolation", sealFile,
			"[]string{string(key.Workspace), string(key.Scope), string(key.Hash)}", "[]string{string(key.Workspace), string(key.Hash)}"),
		one("an entry without a seal is served", "isolation", sealFile, "		return ErrMissing\n	}\n	rest", "		return nil\n	}\n	rest"),
		{name: "names of scopes are folded on disk", breaks: "availability", onFiles: true, edits: []edit{
			{"internal/store/fs/path.go", `"path/filepath"`, `"path/filepath"; "strings"`},
			{"internal/store/fs/path.go", "layout.FileName(string(key.Scope))", "layout.FileName(strings.ToLower(string(key.Scope)))"},
		}},
	}
}
