package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// The types of an in-toto statement (https://github.com/in-toto/attestation/tree/main/spec/v1) whose predicate is SLSA's provenance
// (https://slsa.dev/spec/v1.0/provenance).
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	// buildType says how to read the parameters below.
	buildType = "https://github.com/bezoar-cache/bezoar/blob/main/docs/records.md#in-toto"
)

type statement struct {
	Type          string     `json:"_type"`
	Subject       []resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     provenance `json:"predicate"`
}

type provenance struct {
	BuildDefinition struct {
		BuildType          string         `json:"buildType"`
		ExternalParameters entryName      `json:"externalParameters"`
		InternalParameters cache.Producer `json:"internalParameters"`
		// ResolvedDependencies are the sources, as far as the identity names them.
		ResolvedDependencies []resource `json:"resolvedDependencies,omitempty"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata struct {
			InvocationID string `json:"invocationId,omitempty"`
			FinishedOn   string `json:"finishedOn"`
		} `json:"metadata"`
		Byproducts []resource `json:"byproducts"`
	} `json:"runDetails"`
}

type entryName struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     cache.Scope     `json:"scope"`
	Hash      cache.Hash      `json:"hash"`
}

// resource is a ResourceDescriptor.
type resource struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// errNoStatement says that nothing is known of an entry that could be stated.
var errNoStatement = errors.New("the entry's record is not to be believed, so nothing is stated of it")

// state says who made an entry. It has to be whole and to have a good seal.
func (r inspected) state(key cache.Key) (statement, error) {
	switch {
	case r.Damage != "":
		return statement{}, fmt.Errorf("%w: %s", errNoStatement, r.Damage)
	case r.Seal.State != admin.SealGood:
		return statement{}, fmt.Errorf("%w: its seal is %s: %s", errNoStatement, r.Seal.State, r.Seal.Reason)
	}
	return newStatement(key, r.Record), nil
}

func newStatement(key cache.Key, r cache.Record) statement {
	s := statement{Type: statementType, PredicateType: predicateType}
	s.Subject = []resource{{Name: string(key.Hash), Digest: sha256Digest(r.SHA256)}}
	build, run, p := &s.Predicate.BuildDefinition, &s.Predicate.RunDetails, r.Producer
	build.BuildType = buildType
	build.ExternalParameters = entryName{key.Workspace, key.Scope, key.Hash}
	build.InternalParameters = p
	if p.Commit != "" {
		source := resource{Name: p.Repository, Digest: map[string]string{"gitCommit": p.Commit}, Annotations: map[string]string{}}
		for name, value := range map[string]string{"ref": p.Ref, "repository_id": p.RepositoryID, "source_id": p.SourceID} {
			if value != "" {
				source.Annotations[name] = value
			}
		}
		build.ResolvedDependencies = []resource{source}
	}
	// Who vouches for it: the CI's issuer, or the token that the server gave.
	run.Builder.ID = p.Issuer
	if p.Issuer == "" {
		run.Builder.ID = "urn:bezoar:" + p.Kind
		if p.TokenID != "" {
			run.Builder.ID += ":" + p.TokenID
		}
	}
	run.Metadata.InvocationID = p.RunID
	if p.RunAttempt != "" {
		run.Metadata.InvocationID += "/attempts/" + p.RunAttempt
	}
	run.Metadata.FinishedOn = r.Created.UTC().Format(time.RFC3339)
	run.Byproducts = []resource{{Name: "content", Digest: sha256Digest(r.Content)}}
	return s
}

func sha256Digest(d artifact.Digest) map[string]string {
	return map[string]string{"sha256": hex.EncodeToString(d[:])}
}
