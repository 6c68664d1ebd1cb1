package policy

import (
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Claims: https://docs.gitlab.com/ci/secrets/id_token_authentication. Ids and booleans are texts. project_id is that of the code, which
// for a fork's merge request is the fork, and job_project_id that of the pipeline; GitLab before 18.4 has no job_project_id. ref is
// a bare name that a branch and a tag can share, and ref_path is that of a merge request's source branch.

// byHandSources are pipelines whose variables are chosen by whoever, or whatever, starts them.
var byHandSources = []string{"web", "api", "trigger", "pipeline", "chat"}

func (*gitlab) kind() Provider  { return GitLab }
func (*gitlab) foreign() string { return "gitlab, another project or a fork's own pipeline" }
func (g *gitlab) from() Issuer  { return Issuer{string(g.Issuer), string(g.Keys)} }
func (g *gitlab) where() place  { return g.Place }

func (g *gitlab) share(shared bool) { g.Place.prefix = prefix(shared, GitLab, g.ProjectID) }

func (g *gitlab) own(kind, name string) string { return kind + "/" + g.Place.prefix + name }

func (g *gitlab) warn(warn func(key, what string)) {
	if slices.Contains(g.Trusted.Sources, "parent_pipeline") {
		warn(g.Trusted.Place.key+".sources", "a child pipeline on a trusted branch can write trusted entries, whatever started its parent: also one started by hand, with variables of their choice, or for a merge request of that branch")
	}
	warnPublic(g.Forks, g.Place, warn)
}

func (g *gitlab) owns(l *look) bool {
	if _, ok := l.claims["job_project_id"]; ok {
		l.is("job_project_id", string(g.ProjectID))
	} else {
		l.is("project_id", string(g.ProjectID))
	}
	return l.met()
}

func (g *gitlab) producer(l *look, p *cache.Producer) {
	p.Subject = l.record("sub")
	p.RepositoryID = string(g.ProjectID)
	p.Repository, p.OwnerID = l.record("job_project_path"), l.record("job_namespace_id")
	project, path, namespace := l.record("project_id"), l.record("project_path"), l.record("namespace_id")
	if project != p.RepositoryID {
		p.SourceID = project
	} else {
		p.Repository, p.OwnerID = path, namespace // the same, and there before GitLab 18.4
	}
	p.Event, p.Ref, p.Commit = l.record("pipeline_source"), l.record("ref_path"), l.record("sha")
	p.RunID, p.Job = l.record("pipeline_id"), l.record("job_id")
	p.WorkflowRef = l.record("ci_config_ref_uri")
	p.Actor, p.ActorID = l.record("user_login"), l.record("user_id")
	l.carry("job_project_id", "ref_type", "ref_protected", "runner_environment", "environment")
}

// gitlabRun is what every rule looks at.
type gitlabRun struct {
	source, refPath, refType, pipeline, project string
	// sure says that job_project_id is there, so that a fork's code is known as such.
	sure bool
}

func (g *gitlab) judge(l *look) verdict {
	run := gitlabRun{l.need("pipeline_source"), l.need("ref_path"), l.need("ref_type"), l.needID("pipeline_id"), l.needID("project_id"), false}
	l.need("ref_protected")
	if l.malformed() {
		return verdict{}
	}
	_, run.sure = l.claims["job_project_id"]
	switch {
	case run.project != string(g.ProjectID):
		return g.forkMergeRequest(l, run)
	case run.refType == "tag":
		l.begin("gitlab tag")
		l.is("ref_type", "tag")
		return release(g.Releases)
	case run.source == "push":
		return g.push(l, run)
	case run.source == "schedule":
		return g.schedule(l, run)
	case run.source == "parent_pipeline":
		return g.parentPipeline(l, run)
	case run.source == "merge_request_event":
		return g.mergeRequest(l, run)
	case slices.Contains(byHandSources, run.source):
		l.begin("gitlab web, api, trigger, pipeline or chat")
		l.event("pipeline_source", run.source, "whose variables are chosen by whoever starts it")
		return by(modeIsolated, "", g.own("run", run.pipeline), "a pipeline that was started by hand or by another")
	}
	l.begin("gitlab unknown source")
	l.that(false, quoted(run.source), "pipeline_source is one that the rules know")
	return verdict{reason: "the rules do not know the pipeline source " + quoted(run.source)}
}

// trustedBranch looks at all that a trusted pipeline must have.
func (g *gitlab) trustedBranch(l *look, run gitlabRun, rule string) bool {
	l.begin(rule)
	l.is("pipeline_source", texts(g.Trusted.Sources)...)
	l.is("ref_type", "branch")
	l.listed("ref_path", run.refPath, g.Trusted.Branches)
	l.is("ref_protected", "true")
	l.is("job_project_id", string(g.ProjectID))
	l.is("project_id", string(g.ProjectID))
	if r := g.Trusted.Require.Runner; r != "" {
		l.need("runner_environment")
		l.is("runner_environment", string(r))
	}
	if e := g.Trusted.Require.Environment; e != "" {
		l.is("environment", string(e)) // a job may have none
	}
	return l.met()
}

func (g *gitlab) push(l *look, run gitlabRun) verdict {
	if g.trustedBranch(l, run, "gitlab push, trusted branch") {
		return verdict{trusted, "", "a push to a trusted branch: reads and writes trusted entries"}
	}
	l.begin("gitlab push, another branch")
	l.is("pipeline_source", "push")
	if !l.branchRef(run) {
		return verdict{reason: "a push to something that is neither a branch nor a tag"}
	}
	return by(g.Branches, "branches", g.own("branch", run.refPath), "a push to a branch that is not trusted")
}

func (l *look) branchRef(run gitlabRun) bool {
	l.is("ref_type", "branch")
	l.that(strings.HasPrefix(run.refPath, headsPrefix), quoted(run.refPath), "ref_path begins with %q", headsPrefix)
	return l.met()
}

func (g *gitlab) schedule(l *look, run gitlabRun) verdict {
	if g.trustedBranch(l, run, "gitlab schedule, trusted branch") {
		return verdict{trusted, "", "a scheduled pipeline on a trusted branch: reads and writes trusted entries"}
	}
	l.begin("gitlab schedule, another branch")
	l.is("pipeline_source", "schedule")
	return by(modeIsolated, "", g.own("run", run.pipeline), "a scheduled pipeline that is not trusted")
}

func (g *gitlab) parentPipeline(l *look, run gitlabRun) verdict {
	if g.trustedBranch(l, run, "gitlab parent pipeline, trusted branch") {
		return verdict{trusted, "", "a child pipeline on a trusted branch, which the policy trusts: reads and writes trusted entries"}
	}
	l.begin("gitlab parent pipeline")
	l.is("pipeline_source", "parent_pipeline")
	return by(modeIsolated, "", g.own("run", run.pipeline), "a child pipeline")
}

func (g *gitlab) mergeRequest(l *look, run gitlabRun) verdict {
	if !run.sure {
		// A fork's source branch may have any name, so that one scope for each name would let forks into each other's.
		l.begin("gitlab merge request, perhaps of a fork")
		l.is("pipeline_source", "merge_request_event")
		l.is("job_project_id", string(g.ProjectID))
		return by(g.MergeRequests, "merge_requests", g.own("run", run.pipeline), "a merge request that may be of a fork, because this GitLab is older than 18.4")
	}
	l.begin("gitlab merge request")
	l.is("pipeline_source", "merge_request_event")
	l.is("project_id", string(g.ProjectID))
	if !l.branchRef(run) {
		return verdict{reason: "a merge request whose ref_path is of no branch"}
	}
	return by(g.MergeRequests, "merge_requests", g.own("mr", run.project+"/"+run.refPath), "a merge request")
}

func (g *gitlab) forkMergeRequest(l *look, run gitlabRun) verdict {
	l.begin("gitlab merge request of a fork")
	l.that(true, quoted(run.project), "project_id is %s, another project than this one", quoted(run.project))
	l.is("pipeline_source", "merge_request_event")
	l.branchRef(run)
	if !l.met() {
		return verdict{reason: "a fork's code in a pipeline that is not one of a merge request"}
	}
	own := g.own("fork", run.project+"/"+run.refPath)
	if g.ForkMergeRequests == "own" {
		return verdict{ownOnly, own, "a fork's merge request: reads and writes its own entries"}
	}
	return by(g.ForkMergeRequests, "fork_merge_requests", own, "a fork's merge request")
}
