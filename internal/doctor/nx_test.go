package doctor

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// write lays files out in a new directory. A name that ends in "->" is a symbolic link.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		link, isLink := strings.CutSuffix(name, "->")
		path := filepath.Join(dir, link)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(text, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const (
	goodNx      = `{"name": "nx", "version": "24.0.6"}`
	goodConfig  = `{"targetDefaults": {"build": {"cache": true}}}`
	secretInEnv = "NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=hunter2hunter2"
)

func TestWorkspace(t *testing.T) {
	t.Parallel()
	const nx, config = "node_modules/nx/package.json", "nx.json"
	tests := []struct {
		name    string
		files   map[string]string
		env     []string
		outcome string
		says    string // in the findings that are not well
		version string
	}{
		{name: "healthy", files: map[string]string{nx: goodNx, config: goodConfig}, version: "24.0.6"},
		{name: "empty directory", outcome: "nx.version=warn nx.json=warn nx.targets=skip", says: "no Nx is found"},
		{name: "too old", files: map[string]string{nx: `{"version": "20.7.2"}`, config: goodConfig}, outcome: "nx.version=fail", says: "20.8.0", version: "20.7.2"},
		{name: "first with HTTP", files: map[string]string{nx: `{"version": "20.8.0"}`, config: goodConfig}, version: "20.8.0"},
		{name: "declared only", files: map[string]string{"package.json": `{"devDependencies": {"nx": "^21.2.0"}}`, config: goodConfig}, version: "^21.2.0"},
		{name: "declared as latest", files: map[string]string{"package.json": `{"devDependencies": {"nx": "latest"}}`, config: goodConfig}, outcome: "nx.version=warn", says: `"latest"`},
		{name: "without package.json", files: map[string]string{config: `{"installation": {"version": "22.0.0"}, "targetDefaults": {"a": [{"cache": true}]}}`}, version: "22.0.0"},
		{name: "locked by npm", files: map[string]string{config: goodConfig, "package.json": `{"devDependencies": {"nx": "*"}}`,
			"package-lock.json": "{\n  \"packages\": {\n    \"node_modules/mine\": {\n      \"link\": true\n    },\n    \"node_modules/nx\": {\n      \"version\": \"20.1.0\",\n    }\n  }\n}\n"},
			outcome: "nx.version=fail", version: "20.1.0"},
		{name: "locked by pnpm", files: map[string]string{config: goodConfig,
			"pnpm-lock.yaml": "importers:\n  .:\n    devDependencies:\n      nx:\n        specifier: ^21.0.0\n        version: 21.6.5\npackages:\n  '@nx/gcs-cache@4.0.1':\n    resolution: {}\n  nx@21.6.5:\n    resolution: {}\nsnapshots:\n  nx@21.6.5(@swc/core@1.0.0):\n    x: y\n"},
			outcome: "nx.packages=warn", says: "@nx/gcs-cache is declared", version: "21.6.5"},
		{name: "locked by Yarn", files: map[string]string{config: goodConfig,
			"yarn.lock": "\"@nx/js@^21.0.0\":\n  version \"21.0.1\"\n\nnx@21.0.3, nx@^21.0.0:\n  version \"21.0.3\"\n  resolved \"x\"\n"}, version: "21.0.3"},
		{name: "locked by Yarn 4", files: map[string]string{config: goodConfig,
			"yarn.lock": "\"nx@npm:^23.0.0\":\n  version: 23.0.2\n  resolution: \"nx@npm:23.0.2\"\n"}, version: "23.0.2"},
		{name: "locked by Bun", files: map[string]string{config: goodConfig, "bun.lock": "{\n  \"packages\": {\n    \"nx\": [\"nx@22.3.3\", \"\", {}],\n  }\n}\n"}, version: "22.3.3"},

		{name: "a rival is installed", files: map[string]string{nx: goodNx, config: goodConfig, "node_modules/@nx/s3-cache/package.json": "{}"}, outcome: "nx.packages=warn", says: "npm uninstall @nx/s3-cache"},
		{name: "an older rival is declared", files: map[string]string{nx: goodNx, config: goodConfig, "package.json": `{"dependencies": {"@nx/powerpack-azure-cache": "1"}}`}, outcome: "nx.packages=warn", says: "@nx/powerpack-azure-cache is declared"},
		{name: "a rival with all that belongs to it", files: map[string]string{nx: goodNx, "node_modules/@nx/s3-cache/package.json": "{}", ".nx/key/key.ini": "hunter2hunter2",
			"package.json": `{"devDependencies": {"@nx/s3-cache": "5.0.7"}}`, ".env": "NX_S3_ENCRYPTION_KEY=hunter2hunter2",
			config: `{"s3": {"bucket": "b", "region": "r", "secretAccessKey": "hunter2hunter2"}, "targetDefaults": {"b": {"cache": true}}}`},
			outcome: "nx.packages=warn", says: `It is in node_modules/@nx/s3-cache, package.json (devDependencies), "s3" in nx.json (bucket, region, secretAccessKey), NX_S3_ENCRYPTION_KEY (.env).`},
		{name: "the credentials of a rival", files: map[string]string{nx: goodNx, "node_modules/@nx/azure-cache/package.json": "{}",
			config: `{"azure": {"container": "c", "connectionString": "hunter2hunter2"}, "targetDefaults": {"b": {"cache": true}}}`},
			outcome: "nx.packages=warn", says: "Revoke the credentials in azure.connectionString in nx.json."},
		{name: "a rival without a key", files: map[string]string{nx: goodNx, config: goodConfig, "node_modules/@nx/gcs-cache/package.json": "{}"}, outcome: "nx.packages=warn", says: "steps aside where it finds none"},
		{name: "a rival without settings", files: map[string]string{nx: goodNx, config: goodConfig, "node_modules/@nx/gcs-cache/package.json": "{}"}, outcome: "nx.packages=warn", says: `nx.json has no "gcs"`},
		{name: "a rival with a page", files: map[string]string{nx: goodNx, config: goodConfig, "package.json": `{"dependencies": {"@nx/azure-cache": "5"}}`}, outcome: "nx.packages=warn", says: "docs/migrate/nx-azure-cache.md"},
		{name: "a shared directory", files: map[string]string{nx: goodNx, config: `{"cacheDirectory": "/mnt/nx", "targetDefaults": {"b": {"cache": true}}}`, "package.json": `{"devDependencies": {"@nx/shared-fs-cache": "5"}}`},
			env: []string{"NX_CACHE_DIRECTORY=/mnt/x"}, outcome: "nx.packages=warn", says: `"cacheDirectory" in nx.json, NX_CACHE_DIRECTORY (environment). It needs a key (NX_KEY or .nx/key/key.ini), and steps aside where it finds none, as here. The shared directory counts in CI only`},
		{name: "two rivals", files: map[string]string{nx: goodNx, config: goodConfig, "package.json": `{"devDependencies": {"@nx/s3-cache": "5", "@nx/gcs-cache": "5"}}`}, outcome: "nx.packages=warn", says: "docs/migrate/nx-s3-cache.md and docs/migrate/nx-gcs-cache.md"},
		{name: "settings of a rival that is gone", files: map[string]string{nx: goodNx, config: `{"s3": {"bucket": "b"}, "targetDefaults": {"b": {"cache": true}}}`}},
		{name: "credentials of a rival that is gone", files: map[string]string{nx: goodNx, config: `{"s3": {"accessKeyId": "hunter2hunter2"}, "targetDefaults": {"b": {"cache": true}}}`}, outcome: "nx.packages=warn", says: "s3.accessKeyId in nx.json"},
		{name: "settings of odd types", files: map[string]string{nx: goodNx, config: `{"s3": "x", "gcs": null, "azure": [1], "cacheDirectory": 7, "targetDefaults": {"b": {"cache": true}}}`}},

		{name: "cloud", files: map[string]string{nx: goodNx, config: "{ // note\n\"nxCloudId\": \"abc\", \"targetDefaults\": {\"b\": {\"cache\": true,},}, }"}, outcome: "nx.cloud=warn", says: "nxCloudId in nx.json"},
		{name: "cloud turned off", files: map[string]string{nx: goodNx, config: `{"nxCloudId": "abc", "neverConnectToCloud": true, "targetDefaults": {"b": {"cache": true}}}`}},
		{name: "cloud by environment", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_CLOUD_ACCESS_TOKEN=hunter2hunter2"}, outcome: "nx.cloud=warn", says: "NX_CLOUD_ACCESS_TOKEN (environment)"},
		{name: "cloud by file", files: map[string]string{nx: goodNx, config: goodConfig, ".env": "NX_CLOUD_AUTH_TOKEN=hunter2hunter2"}, outcome: "nx.cloud=warn", says: "NX_CLOUD_AUTH_TOKEN (.env)"},
		{name: "cloud by runner", files: map[string]string{nx: goodNx, config: `{"tasksRunnerOptions": {"default": {"runner": "nx-cloud", "options": {"cacheableOperations": ["build"]}}}}`}, outcome: "nx.cloud=warn", says: "tasksRunnerOptions"},
		{name: "cloud turned off by environment", files: map[string]string{nx: goodNx, config: `{"nxCloudAccessToken": "abc", "plugins": ["@nx/vite/plugin"]}`}, env: []string{"NX_NO_CLOUD=true"}},
		{name: "nx-cloud.env alone", files: map[string]string{nx: goodNx, config: goodConfig, "nx-cloud.env": "NX_CLOUD_ACCESS_TOKEN=x"}},

		{name: "custom runner, Nx 20", files: map[string]string{nx: `{"version": "20.8.4"}`, config: `{"tasksRunnerOptions": {"default": {"runner": "nx-remotecache-s3", "options": {"cacheableOperations": ["build"]}}}}`},
			outcome: "nx.runner=warn", says: "nx-remotecache-s3", version: "20.8.4"},
		{name: "custom runner, Nx 24", files: map[string]string{nx: goodNx, config: `{"tasksRunnerOptions": {"default": {"runner": "nx-remotecache-s3"}}, "targetDefaults": {"b": {"cache": true}}}`},
			outcome: "nx.runner=warn", says: "ignore it"},
		{name: "custom runner with variables", files: map[string]string{nx: goodNx, ".env": "NXCACHE_AZURE_ACCOUNT_KEY=hunter2hunter2\nNXCACHE_READ=true",
			config: `{"tasksRunnerOptions": {"default": {"runner": "nx-remotecache-azure"}}, "targetDefaults": {"b": {"cache": true}}}`}, env: []string{"NXCACHE_AZURE_CONTAINER=c"},
			outcome: "nx.runner=warn", says: "NXCACHE_AZURE_ACCOUNT_KEY (.env), NXCACHE_AZURE_CONTAINER (environment), NXCACHE_READ (.env)"},
		{name: "credentials of a runner that is gone", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_CACHE_REDIS_URL=redis://:hunter2@h"},
			outcome: "nx.runner=warn", says: "NX_CACHE_REDIS_URL (environment)"},
		{name: "what is left of a runner", files: map[string]string{nx: goodNx, config: goodConfig, "package.json": `{"devDependencies": {"@pellegrims/nx-remotecache-s3": "8"}}`}, env: []string{"NXCACHE_S3_BUCKET=b"}},
		{name: "variables of Nx itself", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_CACHE_DIRECTORY=x", "NX_CACHE_PROJECT_GRAPH=false"}},
		{name: "a runner that is not the default one", files: map[string]string{nx: goodNx, config: `{"tasksRunnerOptions": {"ci": {"runner": "nx-remotecache-s3"}}, "targetDefaults": {"b": {"cache": true}}}`}},
		{name: "legacy cache, Nx 20", files: map[string]string{nx: `{"version": "20.8.4"}`, config: `{"useLegacyCache": true, "targetDefaults": {"b": {"cache": true}}}`}, outcome: "nx.runner=warn", says: "old cache"},
		{name: "legacy cache, Nx 24", files: map[string]string{nx: goodNx, config: `{"useLegacyCache": true, "targetDefaults": {"b": {"cache": true}}}`}},

		{name: "cache switched off", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_SKIP_REMOTE_CACHE=true"}, outcome: "nx.switches=warn", says: "NX_SKIP_REMOTE_CACHE=true (environment)"},
		{name: "only true switches off", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_SKIP_NX_CACHE=1"}},
		{name: "unknown local cache", files: map[string]string{nx: goodNx, config: goodConfig}, env: []string{"NX_REJECT_UNKNOWN_LOCAL_CACHE=0"}, outcome: "nx.switches=warn", says: "poisoning"},

		{name: "nothing is cacheable", files: map[string]string{nx: goodNx, config: `{"targetDefaults": {"build": {"cache": false}}}`}, outcome: "nx.targets=warn", says: "targetDefaults"},
		{name: "a preset makes targets cacheable", files: map[string]string{nx: goodNx, config: `{"extends": "nx/presets/npm.json"}`, "node_modules/nx/presets/npm.json": goodConfig}},
		{name: "broken nx.json", files: map[string]string{nx: goodNx, config: `{"a": `}, outcome: "nx.json=warn nx.targets=skip", says: "cannot be read"},
		{name: "nx.json of odd types", files: map[string]string{nx: goodNx, config: `{"nxCloudId": 7, "tasksRunnerOptions": [1], "targetDefaults": {"b": {"cache": true}}, "plugins": "x"}`}},
		{name: "nx.json leads out", files: map[string]string{nx: goodNx, "nx.json->": "/etc/passwd"}, outcome: "nx.json=warn nx.targets=skip", says: "cannot be read"},
		{name: "a link inside", files: map[string]string{"node_modules/.pnpm/nx@24.0.6/package.json": goodNx, "node_modules/nx->": ".pnpm/nx@24.0.6", config: goodConfig}, version: "24.0.6"},
		{name: "hostile version", files: map[string]string{nx: `{"version": "\u001b[31m24.0.6"}`, config: goodConfig}, version: `\x1b[31m24.0.6`},

		{name: "a token in .env, ignored", files: map[string]string{nx: goodNx, config: goodConfig, ".git/HEAD": "x", ".gitignore": "# x\n*.env\n.env*\n", ".env": secretInEnv}},
		{name: "a token in .env, not ignored", files: map[string]string{nx: goodNx, config: goodConfig, ".git/HEAD": "x", ".gitignore": ".env*\n!.env\n", ".env": secretInEnv}, outcome: "nx.env-files=warn", says: "may be committed"},
		{name: "a token with a line break", files: map[string]string{nx: goodNx, config: goodConfig, ".env.local": `NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN="hunter2hunter2\n"`}, outcome: "nx.env-files=warn token.format=fail", says: "crashes"},
		{name: "a token with a dollar", files: map[string]string{nx: goodNx, config: goodConfig, ".env": "NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN=hunter2$hunter2"}, outcome: "nx.env-files=warn", says: "expands"},
		{name: "empty in the environment", files: map[string]string{nx: goodNx, config: goodConfig, ".env": secretInEnv}, env: []string{TokenVariable + "="}, outcome: "nx.env-files=warn", says: "counts all the same"},
		{name: "empty in the environment, Nx 22", files: map[string]string{nx: `{"version": "22.3.3"}`, config: goodConfig, ".env": secretInEnv}, env: []string{TokenVariable + "="},
			outcome: "nx.env-files=warn token.format=warn", says: "does not count"},
		{name: "an .env that leads out", files: map[string]string{nx: goodNx, config: goodConfig, ".env->": "/etc/passwd"}, outcome: "nx.env-files=warn", says: "cannot be read"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			// The server itself is unreachable here; only what belongs to the workspace is looked at.
			r := examine(t, Options{Workspace: write(t, test.files), Environ: append([]string{ServerVariable + "=http://127.0.0.1:9"}, test.env...),
				Connect: refuse})
			var list []string
			for _, f := range r.Findings {
				if f.Status != OK && (strings.HasPrefix(f.ID, "nx.") || f.ID == IDTokenFormat) {
					list = append(list, f.ID+"="+string(f.Status))
				}
			}
			if got := sorted(strings.Join(list, " ")); got != sorted(test.outcome) {
				t.Errorf("findings\n got %s\nwant %s\n%s", got, test.outcome, troubles(r))
			}
			if !strings.Contains(troubles(r), test.says) {
				t.Errorf("no finding says %q:\n%s", test.says, troubles(r))
			}
			if test.version != "" {
				f := finding(t, r, IDNxVersion)
				if got := f.Details["version"]; got != test.version {
					t.Errorf("version %v, want %s", got, test.version)
				}
			}
			var out strings.Builder
			if err := r.WriteJSON(&out); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "root:") {
				t.Errorf("a secret is shown:\n%s", out.String())
			}
		})
	}
}

// TestLeftovers: what does nothing is named, and is no reason to warn.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	r := examine(t, Options{Connect: refuse, Environ: []string{ServerVariable + "=http://127.0.0.1:9", "NXCACHE_S3_BUCKET=b"}, Workspace: write(t, map[string]string{
		"node_modules/nx/package.json": goodNx, "nx.json": `{"s3": {"bucket": "b"}, "targetDefaults": {"b": {"cache": true}}}`,
		"package.json": `{"devDependencies": {"@pellegrims/nx-remotecache-s3": "8", "@nx-aws-plugin/nx-aws-cache": "3"}}`,
	})})
	for id, want := range map[string]string{
		IDNxPackages: `no other cache package is installed or declared; "s3" in nx.json (bucket) is left over, and nothing reads it`,
		IDNxRunner: "Nx's own task runner is used; of another one are left over, without effect: @nx-aws-plugin/nx-aws-cache in package.json (devDependencies), " +
			"@pellegrims/nx-remotecache-s3 in package.json (devDependencies), NXCACHE_S3_BUCKET (environment)",
	} {
		if f := finding(t, r, id); f.Status != OK || f.Title != want {
			t.Errorf("%s: %s, %s", id, f.Status, f.Title)
		}
	}
}

// TestSettings shows where server and token come from.
func TestSettings(t *testing.T) {
	t.Parallel()
	const file = ServerVariable + "=http://file\n" + TokenVariable + "=file\n"
	tests := []struct {
		name    string
		files   map[string]string
		env     []string
		given   Setting
		want    Setting
		none    bool // no workspace is given
		missing bool
	}{
		{name: "nothing", none: true, missing: true},
		{name: "environment", none: true, env: []string{ServerVariable + "=http://env"}, want: Setting{"http://env", true, "environment"}},
		{name: "argument", none: true, env: []string{ServerVariable + "=http://env"}, given: Setting{"http://arg", true, "argument"}, want: Setting{"http://arg", true, "argument"}},
		{name: "first file", files: map[string]string{".env": "X=1", ".env.local": file, ".local.env": strings.ReplaceAll(file, "file", "first")}, want: Setting{"http://first", true, ".local.env"}},
		{name: "second file", files: map[string]string{".env": strings.ReplaceAll(file, "file", "last"), ".env.local": file}, want: Setting{"http://file", true, ".env.local"}},
		{name: "environment wins", files: map[string]string{".env": file}, env: []string{ServerVariable + "=http://env"}, want: Setting{"http://env", true, "environment"}},
		{name: "empty environment does not", files: map[string]string{".env": file}, env: []string{ServerVariable + "="}, want: Setting{"http://file", true, ".env"}},
		{name: "empty environment does in Nx 22", files: map[string]string{".env": file, "package.json": `{"dependencies": {"nx": "22.0.0"}}`}, env: []string{ServerVariable + "="}, want: Setting{"", true, "environment"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := &exam{opts: Options{Server: test.given}, env: parseEnviron(test.env), report: &Report{}}
			if !test.none {
				w, err := openWorkspace(write(t, test.files), e.env)
				if err != nil {
					t.Fatal(err)
				}
				defer w.close()
				e.workspace = w
			}
			e.settle()
			if diff := cmp.Diff(test.want, e.server); diff != "" {
				t.Error(diff)
			}
			if test.missing {
				if _, err := Run(t.Context(), Options{}); !errors.Is(err, ErrNoServer) {
					t.Errorf("Run: %v, want ErrNoServer", err)
				}
			}
		})
	}
}

// TestOldNxAndPrivateCA: before 21.5 the system's trust store does not help.
func TestOldNxAndPrivateCA(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]Status{"20.8.4": Fail, "21.4.1": Fail, "21.5.1": OK, "24.0.6": OK} {
		e := &exam{report: &Report{}, privateCA: true, workspace: &workspace{nx: nxVersion{text: version, source: "test"}.parse()}}
		e.checkNxVersion()
		if f := finding(t, e.report, IDNxVersion); f.Status != want {
			t.Errorf("Nx %s: %s, want %s", version, f.Status, want)
		}
	}
}

func TestWorkspaceMissing(t *testing.T) {
	t.Parallel()
	if _, err := Run(t.Context(), Options{Server: server("http://127.0.0.1:9"), Workspace: filepath.Join(t.TempDir(), "none"), Connect: refuse}); err == nil {
		t.Error("a directory that is not there was examined")
	}
}

func TestBigFilesAreRefused(t *testing.T) {
	t.Parallel()
	dir := write(t, map[string]string{"nx.json": strings.Repeat(" ", maxFile+1), ".env": strings.Repeat("#", maxFile+1)})
	r := examine(t, Options{Server: server("http://127.0.0.1:9"), Workspace: dir, Connect: refuse})
	if !strings.Contains(troubles(r), "cannot be read") || finding(t, r, IDNxEnvFiles).Status != Warn {
		t.Error(troubles(r))
	}
}
