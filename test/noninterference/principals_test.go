package noninterference

import (
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// principal is somebody who asks. What he may do is written down by hand, from the tables of scopes, and not taken from the code that
// this package is to judge.
type principal struct {
	name string
	// group names those who share an own scope, or the trusted one. Whoever is in another group must not be able to tell whether this one
	// was there.
	group string
	// workspace is the one that he may do something in, and names in paths.
	workspace cache.Workspace

	// token is a static token; secret is its text.
	token  *trust.Token
	secret string
	// claims are those of his CI; direct says that he presents his CI's token itself.
	claims map[string]any
	direct bool
	// credential is sent as it is, by somebody who has neither.
	credential string

	rights [variants]right
}

func (p *principal) String() string { return p.name }

// GoString is what rapid prints.
func (p *principal) GoString() string { return p.name }

// trusted is the group of those who write trusted entries, and of those who see nothing else.
const trusted = "trusted"

// right is what somebody may do under one policy. Its zero value is nothing.
type right struct {
	read  []cache.Scope
	write cache.Scope
}

func (r right) none() bool { return len(r.read) == 0 && r.write == "" }

var (
	trustedWrite = right{[]cache.Scope{cache.Trusted}, cache.Trusted}
	trustedRead  = right{[]cache.Scope{cache.Trusted}, ""}
	nothing      = right{}
)

// own is the right of everybody else.
func own(scope cache.Scope) right {
	return right{[]cache.Scope{cache.Trusted, scope}, scope}
}

// Policies that are reloaded into each other.
const (
	ordinary = iota // what the guides say
	moved           // another branch is the trusted one
	tight           // pull requests and merge requests may write nothing
	shrunk          // the library is gone, and so is the right to read without a credential
	variants
)

const (
	audience = "https://nx-cache.example.com"
	github   = "https://token.actions.githubusercontent.com"
	gitlab   = "https://gitlab.example.com"
)

const web, library cache.Workspace = "web", "library"

// policyText is a policy of the given form.
func policyText(webBranch, requests, forks, developers string, withLibrary bool) string {
	text := `version: 1
audience: ` + audience + `
workspaces:
  web:
    github:
      repository: acme/web
      repository_id: 456789
      owner_id: 123456
      trusted: {branches: [` + webBranch + `]}
      pull_requests: ` + requests + `
      forks: ` + forks + `
    developers: ` + developers + `
    sessions: {ttl: 1h, max: 6h}
`
	if withLibrary {
		text += `  library:
    gitlab:
      issuer: ` + gitlab + `
      project: acme/library
      project_id: 77
      trusted: {branches: [` + webBranch + `]}
      merge_requests: ` + requests + `
    sessions: {ttl: 1h, max: 6h}
`
	}
	return text
}

var policyTexts = [variants]string{
	ordinary: policyText("main", "isolated", "public-read", "{read: trusted, write: own}", true),
	moved:    policyText("release", "isolated", "public-read", "{read: trusted, write: own}", true),
	tight:    policyText("main", "read-only", "public-read", "{read: trusted, write: none}", true),
	shrunk:   policyText("main", "isolated", "none", "{read: trusted, write: own}", false),
}

// everywhere is a right that no policy changes.
func everywhere(r right) (all [variants]right) {
	for v := range all {
		all[v] = r
	}
	return all
}

// github makes a run of the repository of the workspace web.
func githubRun(name, file string, rights [variants]right, claims ...any) *principal {
	p := ciRun("github", name, file, web, rights, claims)
	p.claims["actor_id"] = p.claims["run_id"].(string) + "9"
	return p
}

// gitlabJob makes a job of the project of the workspace library.
func gitlabJob(name, file string, rights [variants]right, claims ...any) *principal {
	rights[shrunk] = nothing
	p := ciRun("gitlab", name, file, library, rights, claims)
	p.claims["user_id"] = p.claims["pipeline_id"].(string) + "9"
	return p
}

func ciRun(provider, name, file string, workspace cache.Workspace, rights [variants]right, claims []any) *principal {
	p := &principal{name: provider + " " + name, group: name, workspace: workspace, claims: exampleClaims(provider + "/" + file), rights: rights}
	for i := 0; i < len(claims); i += 2 {
		if claims[i+1] == nil {
			delete(p.claims, claims[i].(string))
		} else {
			p.claims[claims[i].(string)] = claims[i+1]
		}
	}
	p.group = trusted
	if w := rights[ordinary].write; w != cache.Trusted && !rights[ordinary].none() {
		p.group = string(workspace) + " " + string(w)
	} else if rights[ordinary].none() {
		p.group = "nobody"
	}
	return p
}

// branch is the right of a push to a branch that is not the trusted one.
func branch(ref string) [variants]right { return everywhere(own(cache.Scope("branch/" + ref))) }

// mainPush is the right of a push to main: it is lost while another branch is the trusted one.
func mainPush() [variants]right {
	all := everywhere(trustedWrite)
	all[moved] = own("branch/refs/heads/main")
	return all
}

// request is the right of a pull request or merge request.
func request(scope cache.Scope) [variants]right {
	all := everywhere(own(scope))
	all[tight] = trustedRead
	return all
}

func runScope(id string) [variants]right { return everywhere(own(cache.Scope("run/" + id))) }

// lookAlikes are branches that want to be taken for main, or for each other.
func lookAlikes() []string {
	long := strings.Repeat("a", 380)
	return []string{
		"refs/heads/trusted", "refs/heads/Main", "refs/heads/MAIN", "refs/heads/refs/heads/main", "refs/heads/main%2F", "refs/heads/m%61in",
		"refs/heads/m\u0430in", "refs/heads/main\u200b", "refs/heads/caf\u00e9", "refs/heads/cafe\u0301", "refs/heads/Fix", "refs/heads/fix",
		"refs/heads/a/b", "refs/heads/a%2Fb", "refs/heads/a-b", "refs/heads/" + long + "1", "refs/heads/" + long + "2",
	}
}

func newPrincipals() []*principal {
	all := []*principal{
		githubRun("push main", "push-main.json", mainPush()),
		githubRun("push main again", "push-main.json", mainPush(), "run_id", "17650000101"),
		githubRun("schedule main", "schedule.json", func() [variants]right {
			r := mainPush()
			r[moved] = runScope("17650000006")[moved]
			return r
		}()),
		githubRun("workflow_dispatch main", "workflow_dispatch.json", runScope("17650000007")),
		githubRun("merge_group main", "merge_group.json",
			everywhere(own("queue/refs/heads/gh-readonly-queue/main/pr-17-6f0d2c1b9e8a7f6d5c4b3a2918070605f4e3d2c1"))),
		githubRun("pull_request 17", "pull_request.json", request("pr/17")),
		githubRun("pull_request 1", "pull_request.json", request("pr/1"), "ref", "refs/pull/1/merge", "run_id", "17650000111"),
		githubRun("pull_request 170 with head main", "pull_request.json", request("pr/170"),
			"ref", "refs/pull/170/merge", "head_ref", "main", "run_id", "17650000112"),
		githubRun("pull_request 18 with head refs/pull/17/merge", "pull_request.json", request("pr/18"),
			"ref", "refs/pull/18/merge", "head_ref", "refs/pull/17/merge", "run_id", "17650000113"),
		githubRun("pull_request_target main", "pull_request_target.json", request("run/17650000012")),
		githubRun("workflow_run main", "workflow_run.json", runScope("17650000014")),
		githubRun("issue_comment main", "issue_comment.json", runScope("17650000015")),
		githubRun("push of a tag main", "push-tag.json", everywhere(nothing), "ref", "refs/tags/main", "run_id", "17650000116"),
		githubRun("unknown event on main", "push-main.json", everywhere(nothing), "event_name", "push_main", "run_id", "17650000117"),
		githubRun("push main without its type", "push-main.json", everywhere(nothing), "ref_type", nil, "run_id", "17650000118"),
		githubRun("push main of a recycled repository", "push-main.json", everywhere(nothing), "repository_id", "456790", "run_id", "17650000119"),
		githubRun("push main of another owner", "push-main.json", everywhere(nothing), "repository_owner_id", "123457", "run_id", "17650000120"),
		githubRun("push main for another audience", "push-main.json", everywhere(nothing), "aud", "https://other.example.com", "run_id", "17650000121"),

		gitlabJob("push main", "push-main.json", mainPush()),
		gitlabJob("schedule main", "schedule.json", func() [variants]right {
			r := mainPush()
			r[moved] = runScope("1519139003")[moved]
			return r
		}()),
		gitlabJob("merge request of fix-login", "merge-request.json", request("mr/77/refs/heads/fix-login")),
		gitlabJob("merge request of main, protected", "merge-request-protected.json", request("mr/77/refs/heads/main")),
		gitlabJob("merge request of a fork's main", "merge-request-fork-in-parent.json",
			everywhere(right{[]cache.Scope{"fork/901/refs/heads/main"}, "fork/901/refs/heads/main"})),
		gitlabJob("a fork's own main", "fork-pipeline.json", everywhere(nothing)),
		gitlabJob("main from the web", "web.json", runScope("1519139005")),
		gitlabJob("push fix-login", "push-branch.json", branch("refs/heads/fix-login")),
		gitlabJob("tag main", "tag.json", everywhere(nothing), "ref", "main", "ref_path", "refs/tags/main"),
	}
	for i, ref := range lookAlikes() {
		all = append(all, githubRun(fmt.Sprintf("push %q", shorten(ref)), "push-branch.json", branch(ref), "ref", ref, "run_id", fmt.Sprint(17650000200+i)))
	}
	for _, name := range []string{"push main", "merge request of a fork's main", "push fix-login"} {
		for _, p := range all {
			if p.name == "gitlab "+name {
				twin := *p
				twin.name, twin.direct = p.name+", its own token", true
				all = append(all, &twin)
			}
		}
	}
	return append(all, newStatic()...)
}

// newStatic makes those who have a static token, or none.
func newStatic() []*principal {
	static := func(name string, workspace cache.Workspace, access trust.Access, developer string) *principal {
		secret, hash := trust.NewToken()
		p := &principal{
			name: name, workspace: workspace, secret: secret,
			token: &trust.Token{ID: hash.ID(), Name: strings.ReplaceAll(name, " ", "-"), Workspace: workspace, Access: access, Hash: hash, Developer: developer},
		}
		p.group = trusted
		switch access {
		case trust.Trusted:
			p.rights = everywhere(trustedWrite)
		case trust.Read:
			p.rights = everywhere(trustedRead)
		case trust.Isolated:
			scope := cache.Scope("token/" + hash.ID())
			if developer != "" {
				scope = cache.Scope("dev/" + developer)
			}
			p.rights = everywhere(own(scope))
			if developer != "" && workspace == web {
				p.rights[tight] = trustedRead
			}
			p.group = string(workspace) + " " + string(scope)
		}
		return p
	}
	nobody := func(name, credential string) *principal {
		return &principal{name: name, group: "nobody", workspace: web, credential: credential}
	}
	public := nobody("anybody", "")
	public.group, public.rights = trusted, everywhere(trustedRead)
	public.rights[shrunk] = nothing
	// The clock begins with the year 2000; see testing/synctest.
	ending := func(p *principal, at time.Duration) *principal {
		p.token.Expires = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(at)
		return p
	}
	return []*principal{
		static("trusted token", web, trust.Trusted, ""),
		ending(static("trusted token for half an hour", web, trust.Trusted, ""), 30*time.Minute),
		ending(static("isolated token for a day", web, trust.Isolated, ""), 24*time.Hour),
		ending(static("isolated token of yesterday", web, trust.Isolated, ""), -24*time.Hour),
		static("trusted token of the library", library, trust.Trusted, ""),
		static("read token", web, trust.Read, ""),
		static("isolated token", web, trust.Isolated, ""),
		static("isolated token 2", web, trust.Isolated, ""),
		static("isolated token of the library", library, trust.Isolated, ""),
		static("alice", web, trust.Isolated, "alice"),
		static("Alice", web, trust.Isolated, "Alice"),
		static("bob", web, trust.Isolated, "bob"),
		static("bob's laptop", web, trust.Isolated, "bob"),
		static("alice in the library", library, trust.Isolated, "alice"),
		public,
		nobody("a stranger's password", "Basic YWRtaW46YWRtaW4="),
		nobody("a stranger's guess", "Bearer trusted"),
		nobody("a token without a signature", "Bearer eyJhbGciOiJub25lIn0.eyJzY29wZSI6InRydXN0ZWQifQ."),
		nobody("a session that says trusted", "Bearer bzs_eyJhbGciOiJub25lIn0.eyJ3cml0ZSI6InRydXN0ZWQifQ."),
	}
}

// shorten keeps long names readable.
func shorten(s string) string {
	if len(s) > 48 {
		return s[:40] + "…" + s[len(s)-4:]
	}
	return s
}
