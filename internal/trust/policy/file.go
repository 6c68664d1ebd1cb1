package policy

import "github.com/bezoar-cache/bezoar/internal/strictyaml"

// The structs of this file are the whole form of a policy. Their tags say of each field: its name; help; whether it is
// required; its default; enum, the only values; example, for hints; whether it is there for people only, and decides nothing.
// Decoding, the JSON Schema, the table in the docs and the fingerprint come from them, so that a field is written down once.

// place is where a block was written. The decoder fills it in.
type place struct {
	key    string
	at     strictyaml.Position
	given  bool
	prefix string // of the names of own scopes, in a workspace with several blocks
}

type file struct {
	Version    version              `name:"version" required:"true" example:"1" help:"Form of the file: always 1"`
	Audience   audience             `name:"audience" required:"true" example:"https://nx-cache.example.com" help:"The aud that tokens must have, byte by byte: a name of this server that nothing else uses"`
	Workspaces map[string]workspace `name:"workspaces" required:"true" key:"workspace" help:"What may be done in each workspace, by its name"`
}

type workspace struct {
	Place      place
	GitHub     []github   `name:"github" help:"Repositories whose GitHub Actions use this workspace: one block, or a list"`
	GitLab     []gitlab   `name:"gitlab" help:"Projects whose GitLab CI uses this workspace: one block, or a list"`
	OIDC       []oidc     `name:"oidc" help:"Other CIs that use this workspace: one block, or a list"`
	Developers developers `name:"developers" help:"What the tokens of developers may do"`
	Sessions   sessions   `name:"sessions" help:"How long sessions live"`
	Quota      quota      `name:"quota" help:"How much may be stored; what was used least recently goes first"`
	Retention  retention  `name:"retention" help:"How long entries are kept"`
}

type github struct {
	Place        place
	Repository   text          `name:"repository" people:"true" example:"acme/web" help:"Name of the repository, for people; ids decide"`
	RepositoryID id            `name:"repository_id" required:"true" example:"456789" help:"Id of the repository, as in: gh api repos/acme/web --jq .id"`
	OwnerID      id            `name:"owner_id" required:"true" example:"123456" help:"Id of its owner, as in: gh api repos/acme/web --jq .owner.id"`
	Issuer       issuer        `name:"issuer" default:"https://token.actions.githubusercontent.com" example:"https://github.example.com/_services/token" help:"Who signs the tokens; another one for GitHub Enterprise"`
	Keys         keys          `name:"keys" example:"https://github.example.com/_services/token/.well-known/jwks" help:"Where the issuer's key set is, if its discovery document is not to be asked"`
	Trusted      githubTrusted `name:"trusted" required:"true" help:"What makes a run a trusted one"`
	PullRequests choice        `name:"pull_requests" enum:"isolated,read-only,off" default:"isolated" help:"What runs of pull requests may do, pull_request_target and reviews included"`
	MergeQueue   choice        `name:"merge_queue" enum:"isolated,trusted" default:"isolated" help:"What runs of a merge queue may do; trusted lets code that is not merged yet write trusted entries, for the queues of trusted branches"`
	Branches     choice        `name:"branches" enum:"isolated,read-only,off" default:"isolated" help:"What pushes to other branches may do"`
	Forks        choice        `name:"forks" enum:"none,public-read" default:"none" help:"What forks, which get no token, may do; public-read lets anybody read trusted entries without a credential"`
	Releases     choice        `name:"releases" enum:"bypass,read" default:"bypass" help:"What runs for tags and releases may do; bypass: they build everything anew"`
}

type githubTrusted struct {
	Place    place
	Branches []branch      `name:"branches" required:"true" example:"main" help:"Names of the trusted branches, exact; release/* for all branches with one more part, together with ref_protected"`
	Events   []githubEvent `name:"events" default:"push,schedule" help:"Events whose runs on trusted branches are trusted: push, schedule, workflow_dispatch, repository_dispatch"`
	Require  githubRequire `name:"require" help:"More that a trusted run must have"`
}

type githubRequire struct {
	RefProtected yesNo  `name:"ref_protected" default:"false" help:"Whether GitHub must say that the branch is protected"`
	Runner       choice `name:"runner" enum:"github-hosted,self-hosted" help:"The only kind of runner"`
	Environment  text   `name:"environment" example:"production" help:"The only environment of the job, exact"`
	WorkflowRef  text   `name:"workflow_ref" example:"acme/web/.github/workflows/ci.yml@refs/heads/main" help:"The only workflow file, with the ref that it is from, exact"`
}

type gitlab struct {
	Place             place
	Project           text          `name:"project" people:"true" example:"acme/library" help:"Path of the project, for people; ids decide"`
	ProjectID         id            `name:"project_id" required:"true" example:"77" help:"Id of the project, as on its page under its name"`
	Issuer            issuer        `name:"issuer" default:"https://gitlab.com" example:"https://gitlab.example.com" help:"Who signs the tokens: the URL of the GitLab"`
	Keys              keys          `name:"keys" example:"https://gitlab.example.com/oauth/discovery/keys" help:"Where the issuer's key set is, if its discovery document is not to be asked"`
	Trusted           gitlabTrusted `name:"trusted" required:"true" help:"What makes a pipeline a trusted one; its branch must be protected as well"`
	MergeRequests     choice        `name:"merge_requests" enum:"isolated,read-only,off" default:"isolated" help:"What pipelines of merge requests may do"`
	ForkMergeRequests choice        `name:"fork_merge_requests" enum:"own,isolated,off" default:"own" help:"What pipelines may do that run in this project for a fork's merge request: read and write their own entries; isolated: read trusted ones as well"`
	Branches          choice        `name:"branches" enum:"isolated,read-only,off" default:"isolated" help:"What pushes to other branches may do"`
	Forks             choice        `name:"forks" enum:"none,public-read" default:"none" help:"What others may do who have no token; public-read lets anybody read trusted entries without a credential"`
	Releases          choice        `name:"releases" enum:"bypass,read" default:"bypass" help:"What pipelines for tags may do; bypass: they build everything anew"`
}

type gitlabTrusted struct {
	Place    place
	Branches []branch       `name:"branches" required:"true" example:"main" help:"Names of the trusted branches, exact; release/* for all branches with one more part"`
	Sources  []gitlabSource `name:"sources" default:"push,schedule" help:"Sources of the pipelines that are trusted on trusted branches: push, schedule, parent_pipeline"`
	Require  gitlabRequire  `name:"require" help:"More that a trusted pipeline must have"`
}

type gitlabRequire struct {
	Runner      choice `name:"runner" enum:"gitlab-hosted,self-hosted" help:"The only kind of runner"`
	Environment text   `name:"environment" example:"production" help:"The only environment of the job, exact"`
}

type oidc struct {
	Place     place
	Name      providerName          `name:"name" required:"true" example:"buildkite" help:"Name of this CI, in scopes and messages"`
	Issuer    issuer                `name:"issuer" required:"true" example:"https://agent.buildkite.com" help:"Who signs the tokens"`
	Keys      keys                  `name:"keys" example:"https://ci.example.com/.well-known/jwks" help:"Where the issuer's key set is, if its discovery document is not to be asked"`
	Identity  map[string]claimValue `name:"identity" required:"true" key:"claim" example:"{pipeline_id: ...}" help:"Claims that say whose pipeline it is, each with its only value. A claim inside another one is written as a JSON Pointer: /kubernetes.io/serviceaccount/uid"`
	Trusted   oidcTrusted           `name:"trusted" help:"What makes a run a trusted one; without it none is"`
	Untrusted choice                `name:"untrusted" enum:"off,read-only,isolated" default:"off" help:"What other runs of this identity may do; isolated needs scope"`
	Scope     []claimName           `name:"scope" ordered:"true" example:"build_branch" help:"Claims whose values together name the own scope of a run that is not trusted"`
	Record    record                `name:"record" help:"Claims that go into the record of what is stored"`
}

type oidcTrusted struct {
	Place     place
	Ref       binding               `name:"ref" help:"The claim that says what was built, and its only values"`
	Event     binding               `name:"event" help:"The claim that says what set the run off, and its only values"`
	Dedicated yesNo                 `name:"dedicated" default:"false" help:"Instead of ref and event: this identity is used for trusted builds and nothing else"`
	Require   map[string]claimValue `name:"require" key:"claim" help:"More claims that a trusted run must have, each with its only value"`
}

type binding struct {
	Place  place
	Claim  claimName    `name:"claim" required:"true" example:"build_branch" help:"Name of the claim"`
	Values []claimValue `name:"values" required:"true" example:"main" help:"Its values, exact"`
}

type record struct {
	Repository   claimName `name:"repository" example:"pipeline_slug" help:"Name of the repository"`
	RepositoryID claimName `name:"repository_id" example:"pipeline_id" help:"Its id"`
	OwnerID      claimName `name:"owner_id" example:"organization_id" help:"Id of its owner"`
	Commit       claimName `name:"commit" example:"build_commit" help:"Hash of the commit"`
	Run          claimName `name:"run" example:"build_id" help:"Id of the run, for revoking and removing what one run made"`
	Attempt      claimName `name:"attempt" example:"attempt" help:"Which attempt of the run it is"`
	Job          claimName `name:"job" example:"job_id" help:"Id of the job"`
	Workflow     claimName `name:"workflow" example:"pipeline_id" help:"What defines the run"`
	Actor        claimName `name:"actor" example:"actor" help:"Who set the run off"`
	ActorID      claimName `name:"actor_id" example:"actor_id" help:"Their id"`
}

type developers struct {
	Place place
	Read  choice `name:"read" enum:"trusted,none" default:"trusted" help:"What developers read beside their own entries"`
	Write choice `name:"write" enum:"own,none" default:"own" help:"What developers write"`
}

type sessions struct {
	Place place
	TTL   duration `name:"ttl" default:"1h" help:"How long a session lives, if the job asks for nothing else; 1m to 24h"`
	Max   duration `name:"max" default:"6h" help:"The longest that a job may ask for, and that a CI's own token serves; 1m to 24h"`
}

type quota struct {
	Place          place
	Trusted        size `name:"trusted" example:"200GiB" help:"How much the trusted scope may hold"`
	PerScope       size `name:"per_scope" example:"5GiB" help:"How much each other scope may hold"`
	UntrustedTotal size `name:"untrusted_total" example:"50GiB" help:"How much all other scopes may hold together; the largest of them pay"`
}

type retention struct {
	Place   place
	Trusted trustedRetention `name:"trusted" help:"How long entries of the trusted scope are kept"`
	Others  othersRetention  `name:"others" help:"How long entries of all other scopes are kept"`
}

type trustedRetention struct {
	Place     place
	MaxAge    age `name:"max_age" default:"never" example:"90d" help:"How old an entry may become, from its upload on, whether it is read or not; never: as old as it likes"`
	MaxUnused age `name:"max_unused" default:"90d" help:"For how long nobody need read an entry before it goes; never: it stays"`
}

type othersRetention struct {
	Place     place
	MaxAge    age `name:"max_age" default:"30d" help:"How old an entry may become, from its upload on, whether it is read or not; never: as old as it likes"`
	MaxUnused age `name:"max_unused" default:"14d" help:"For how long nobody need read an entry before it goes; never: it stays"`
}
