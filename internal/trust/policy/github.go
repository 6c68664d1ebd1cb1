package policy

import (
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Claims: https://docs.github.com/en/actions/reference/security/oidc. All are texts. "sub" has several formats, chosen by whoever
// administers the repository, and is recorded but never looked into. Names can be given to others; ids cannot.

const (
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
)

// besideEvents run on the default branch, or any ref, for whatever somebody else set off: the ref says nothing of whose work is built.
// https://docs.github.com/en/actions/reference/workflows-and-actions/events-that-trigger-workflows
var besideEvents = []string{
	"branch_protection_rule", "check_run", "check_suite", "create", "delete", "deployment", "deployment_status", "discussion",
	"discussion_comment", "fork", "gollum", "image_version", "issue_comment", "issues", "label", "milestone", "page_build", "project",
	"project_card", "project_column", "public", "registry_package", "status", "watch", "workflow_run",
}

// reviewEvents are those of pull requests that run beside their code, or with it but for somebody else.
var reviewEvents = []string{"pull_request_target", "pull_request_review", "pull_request_review_comment"}

func (*github) kind() Provider  { return GitHub }
func (*github) foreign() string { return "github, another repository" }
func (g *github) from() Issuer  { return Issuer{string(g.Issuer), string(g.Keys)} }
func (g *github) where() place  { return g.Place }

// share puts the repository's id into the names of own scopes: numbers of runs and pull requests are those of one repository.
func (g *github) share(shared bool) { g.Place.prefix = prefix(shared, GitHub, g.RepositoryID) }

func prefix(shared bool, kind Provider, number id) string {
	if !shared {
		return ""
	}
	return string(kind) + ":" + string(number) + "/"
}

func (g *github) own(kind, name string) string { return kind + "/" + g.Place.prefix + name }

func (g *github) warn(warn func(key, what string)) {
	for _, event := range g.Trusted.Events {
		if event == "workflow_dispatch" || event == "repository_dispatch" {
			warn(g.Trusted.Place.key+".events", "whoever may start "+string(event)+" runs on a trusted branch, with inputs of their choice, can write trusted entries")
		}
	}
	if g.MergeQueue == modeTrusted {
		warn(g.Place.key+".merge_queue", "code that is not merged yet can write trusted entries")
	}
	warnPublic(g.Forks, g.Place, warn)
}

func warnPublic(forks choice, at place, warn func(key, what string)) {
	if forks == publicRead {
		warn(at.key+".forks", "anybody who reaches this server can read trusted entries without a credential, terminal output included")
	}
}

func (g *github) owns(l *look) bool {
	l.is("repository_id", string(g.RepositoryID))
	l.is("repository_owner_id", string(g.OwnerID))
	return l.met()
}

func (g *github) producer(l *look, p *cache.Producer) {
	p.Subject = l.record("sub")
	p.Repository = l.record("repository")
	p.RepositoryID, p.OwnerID = string(g.RepositoryID), string(g.OwnerID)
	p.Event, p.Ref, p.Commit = l.record("event_name"), l.record("ref"), l.record("sha")
	p.RunID, p.RunAttempt, p.Job = l.record("run_id"), l.record("run_attempt"), l.record("check_run_id")
	p.WorkflowRef = l.record("workflow_ref")
	p.Actor, p.ActorID = l.record("actor"), l.record("actor_id")
	l.carry("ref_type", "ref_protected", "runner_environment", "environment")
}

// githubRun is what every rule looks at.
type githubRun struct{ event, ref, refType, id string }

func (g *github) judge(l *look) verdict {
	run := githubRun{l.need("event_name"), l.need("ref"), l.need("ref_type"), l.needID("run_id")}
	if l.malformed() {
		return verdict{}
	}
	switch {
	case run.event == "release", run.event == "push" && run.refType == "tag":
		return g.tagOrRelease(l, run)
	case run.event == "push":
		return g.push(l, run)
	case run.event == "schedule":
		return g.schedule(l, run)
	case run.event == "workflow_dispatch", run.event == "repository_dispatch":
		return g.dispatch(l, run)
	case run.event == "merge_group":
		return g.mergeGroup(l, run)
	case run.event == "pull_request":
		return g.pullRequest(l, run)
	case slices.Contains(reviewEvents, run.event):
		l.begin("github pull request, beside its code")
		l.event("event_name", run.event, "which runs beside a pull request, whatever its ref")
		return by(g.PullRequests, "pull_requests", g.own("run", run.id), "a run beside a pull request")
	case slices.Contains(besideEvents, run.event):
		l.begin("github event beside the code")
		l.event("event_name", run.event, "which runs for what somebody else did, whatever its ref")
		return by(modeIsolated, "", g.own("run", run.id), "a run that somebody else's doing set off")
	}
	l.begin("github unknown event")
	l.that(false, quoted(run.event), "event_name is one that the rules know")
	return verdict{reason: "the rules do not know the event " + quoted(run.event)}
}

// trustedBranch looks at all that a trusted run must have.
func (g *github) trustedBranch(l *look, run githubRun, rule string) bool {
	l.begin(rule)
	l.is("event_name", texts(g.Trusted.Events)...)
	l.is("ref_type", "branch")
	l.listed("ref", run.ref, g.Trusted.Branches)
	g.require(l)
	return l.met()
}

// require looks at the further conditions of the policy.
func (g *github) require(l *look) {
	r := g.Trusted.Require
	if r.RefProtected {
		l.need("ref_protected")
		l.is("ref_protected", "true")
	}
	if r.Runner != "" {
		l.need("runner_environment")
		l.is("runner_environment", string(r.Runner))
	}
	if r.Environment != "" {
		l.is("environment", string(r.Environment)) // a job may have none
	}
	if r.WorkflowRef != "" {
		l.need("workflow_ref")
		l.is("workflow_ref", string(r.WorkflowRef))
	}
}

// listed asks whether a full ref is one of the trusted branches.
func (l *look) listed(claim claimName, ref string, branches []branch) {
	met := false
	shown := make([]string, len(branches))
	for i, b := range branches {
		met = met || b.matches(ref)
		if before, isPattern := b.pattern(); isPattern {
			shown[i] = quoted(headsPrefix+before) + " and one more part"
		} else {
			shown[i] = quoted(headsPrefix + string(b))
		}
	}
	l.that(met, quoted(ref), "%s is %s", claim, oneOf(shown))
}

func (g *github) push(l *look, run githubRun) verdict {
	if g.trustedBranch(l, run, "github push, trusted branch") {
		return verdict{trusted, "", "a push to a trusted branch: reads and writes trusted entries"}
	}
	l.begin("github push, another branch")
	l.is("event_name", "push")
	l.is("ref_type", "branch")
	l.that(strings.HasPrefix(run.ref, headsPrefix), quoted(run.ref), "ref begins with %q", headsPrefix)
	if !l.met() {
		return verdict{reason: "a push to something that is neither a branch nor a tag"}
	}
	return by(g.Branches, "branches", g.own("branch", run.ref), "a push to a branch that is not trusted")
}

func (g *github) schedule(l *look, run githubRun) verdict {
	if g.trustedBranch(l, run, "github schedule, trusted branch") {
		return verdict{trusted, "", "a scheduled run on a trusted branch: reads and writes trusted entries"}
	}
	l.begin("github schedule, another branch")
	l.is("event_name", "schedule")
	return by(modeIsolated, "", g.own("run", run.id), "a scheduled run that is not trusted")
}

func (g *github) dispatch(l *look, run githubRun) verdict {
	if g.trustedBranch(l, run, "github dispatch, trusted branch") {
		return verdict{trusted, "", "a run on a trusted branch that was started by hand or by API, which the policy trusts: reads and writes trusted entries"}
	}
	l.begin("github dispatch")
	l.event("event_name", run.event, "which somebody or something starts with inputs of their choice")
	return by(modeIsolated, "", g.own("run", run.id), "a run that was started by hand or by API")
}

func (g *github) mergeGroup(l *look, run githubRun) verdict {
	if g.MergeQueue == modeTrusted {
		l.begin("github merge queue, trusted branch")
		l.is("event_name", "merge_group")
		l.is("ref_type", "branch")
		l.listed("the branch that the queue of ref is for", queueOf(run.ref), g.Trusted.Branches)
		g.require(l)
		if l.met() {
			return verdict{trusted, "", "a merge queue of a trusted branch, which the policy trusts: reads and writes trusted entries"}
		}
	}
	l.begin("github merge queue")
	l.is("event_name", "merge_group")
	l.is("ref_type", "branch")
	l.that(strings.HasPrefix(run.ref, headsPrefix+queuePrefix), quoted(run.ref), "ref begins with %q", headsPrefix+queuePrefix)
	if !l.met() {
		return verdict{reason: "a merge group whose ref is of no merge queue"}
	}
	return by(modeIsolated, "", g.own("queue", run.ref), "a merge queue")
}

// queueOf returns the full ref of the branch that a queue's ref is for, empty if it is none. After the branch there is exactly one
// part, pr-NUMBER-COMMIT: the queue of "main/a" is not one of "main".
func queueOf(ref string) string {
	name, ok := strings.CutPrefix(ref, headsPrefix+queuePrefix)
	cut := strings.LastIndexByte(name, '/')
	if !ok || cut < 0 {
		return ""
	}
	number, commit, ok := strings.Cut(strings.TrimPrefix(name[cut+1:], "pr-"), "-")
	if !ok || !strings.HasPrefix(name[cut+1:], "pr-") || !isID(number) || strings.Trim(commit, "0123456789abcdef") != "" || commit == "" {
		return ""
	}
	return headsPrefix + name[:cut]
}

func (g *github) pullRequest(l *look, run githubRun) verdict {
	l.begin("github pull request")
	l.is("event_name", "pull_request")
	// Of head_ref and base_ref anybody chooses the names.
	number, ok := strings.CutPrefix(run.ref, "refs/pull/")
	number, ok2 := strings.CutSuffix(number, "/merge")
	if !l.that(ok && ok2 && isID(number), quoted(run.ref), `ref is "refs/pull/" NUMBER "/merge"`) {
		return verdict{reason: "a pull request whose ref is not that of its merge, as after it was closed"}
	}
	return by(g.PullRequests, "pull_requests", g.own("pr", number), "a pull request")
}

func (g *github) tagOrRelease(l *look, run githubRun) verdict {
	l.begin("github tag or release")
	l.is("event_name", "push", "release")
	if run.event == "push" && !l.that(strings.HasPrefix(run.ref, tagsPrefix), quoted(run.ref), "ref begins with %q, as ref_type is \"tag\"", tagsPrefix) {
		return verdict{reason: "a push of a tag whose ref is of no tag"}
	}
	return release(g.Releases)
}
