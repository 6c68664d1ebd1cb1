package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func TestStatementsNameSourcesAndBuilders(t *testing.T) {
	key := cache.Key{Workspace: "web", Scope: "fork/9/refs/heads/x", Hash: "1"}
	fork := cache.Producer{
		Kind: "ci", Provider: "gitlab", Issuer: "https://gitlab.com", Repository: "acme/library", RepositoryID: "77", SourceID: "9",
		Ref: "refs/heads/x", Commit: "6ac3fbd3", RunID: "5",
	}
	s := newStatement(key, cache.Record{Producer: fork, Created: time.Date(2026, 2, 3, 5, 5, 6, 7, time.FixedZone("", 3600))})
	want := []resource{{
		Name: "acme/library", Digest: map[string]string{"gitCommit": "6ac3fbd3"},
		Annotations: map[string]string{"ref": "refs/heads/x", "repository_id": "77", "source_id": "9"},
	}}
	if diff := cmp.Diff(want, s.Predicate.BuildDefinition.ResolvedDependencies); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if run := s.Predicate.RunDetails; run.Builder.ID != "https://gitlab.com" || run.Metadata.InvocationID != "5" || run.Metadata.FinishedOn != "2026-02-03T04:05:06Z" {
		t.Errorf("%+v", run)
	}
	for want, p := range map[string]cache.Producer{
		"urn:bezoar:anonymous":          {Kind: "anonymous"},
		"urn:bezoar:token:3f9a1c22b07e": {Kind: "token", TokenID: "3f9a1c22b07e"},
	} {
		s := newStatement(key, cache.Record{Producer: p})
		if got := s.Predicate.RunDetails.Builder.ID; got != want || s.Predicate.BuildDefinition.ResolvedDependencies != nil {
			t.Errorf("builder %q, want %q", got, want)
		}
	}
}
