package trust

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/session"
)

// RevocationKind is what a revocation is of: it says with which part of a [cache.Producer] its value is compared.
type RevocationKind string

// The kinds of revocations. Static tokens have a revocation of their own.
const (
	// RevokeSession hits one session, by its id.
	RevokeSession RevocationKind = "session"
	// RevokeRun hits all of a run (GitLab: pipeline), by its id.
	RevokeRun RevocationKind = "run"
	// RevokeActor hits all runs that somebody set off, by the id of the account.
	RevokeActor RevocationKind = "actor"
	// RevokeRepository hits all runs of a repository (GitLab: project), by its id: in it, or of its code.
	RevokeRepository RevocationKind = "repository"
	// RevokeSubject hits all with one "sub", byte by byte.
	RevokeSubject RevocationKind = "subject"
)

// RevocationKinds are all kinds, from the narrowest to the widest.
var RevocationKinds = [...]RevocationKind{RevokeSession, RevokeRun, RevokeActor, RevokeRepository, RevokeSubject}

// Bounds of what people write into a revocation, in bytes.
const (
	MaxRevocationValue  = 1024
	MaxRevocationReason = 512
)

// Revocation refuses identities of CIs until it is lifted: their sessions and their own tokens, those that are yet to come included.
type Revocation struct {
	// ID names the revocation: 12 hexadecimal digits.
	ID   string
	Kind RevocationKind
	// Value is the id that is compared, byte by byte.
	Value string
	// Workspace is the only one that it holds for; empty: it holds for all.
	Workspace cache.Workspace
	// Reason is for people and may be empty.
	Reason string
	// Created and Lifted are in UTC. The zero time of Lifted is: in force.
	Created, Lifted time.Time
}

// NewRevocation makes a revocation that is in force, with an id of its own.
func NewRevocation(kind RevocationKind, value string, workspace cache.Workspace, reason string, now time.Time) (Revocation, error) {
	var id [idLength / 2]byte
	rand.Read(id[:]) // never fails: it ends the process instead
	r := Revocation{ID: hex.EncodeToString(id[:]), Kind: kind, Value: value, Workspace: workspace, Reason: reason, Created: now}
	return r, r.Validate()
}

// Validate checks what comes from a person. Its errors repeat nothing of it: a token may have been pasted.
func (r *Revocation) Validate() error {
	if !looksLikeID(r.ID) {
		return fmt.Errorf("a revocation's id is %d hexadecimal digits", idLength)
	}
	if !r.Kind.known() {
		return errors.New("a revocation is of a session, run, actor, repository or subject")
	}
	if r.Value == "" || len(r.Value) > MaxRevocationValue || !printable(r.Value) {
		return fmt.Errorf("the %s to revoke is named by 1 to %d bytes of text without control characters", r.Kind, MaxRevocationValue)
	}
	if r.Kind == RevokeSession && !session.IsID(r.Value) {
		return errors.New("the id of a session is 32 hexadecimal digits, as in the server's log")
	}
	if len(r.Reason) > MaxRevocationReason || !printable(r.Reason) {
		return fmt.Errorf("a reason is at most %d bytes of text without control characters", MaxRevocationReason)
	}
	if r.Workspace == "" {
		return nil
	}
	_, err := cache.ParseWorkspace(string(r.Workspace))
	return err
}

// SessionID finds the id of a session in what a person has of it: the id itself, or the session's token, which is not verified. It repeats
// nothing of what it does not take.
func SessionID(text string) (string, error) {
	if session.IsID(text) {
		return text, nil
	}
	if id, err := session.PeekID(text); err == nil {
		return id, nil
	}
	return "", errors.New("this is neither the id of a session, which is 32 hexadecimal digits, nor a whole session token")
}

func (k RevocationKind) known() bool {
	for _, kind := range RevocationKinds {
		if k == kind {
			return true
		}
	}
	return false
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || 0x7f <= r && r < 0xa0 })
}

// revocationIndex finds the revocations that are in force.
type revocationIndex map[revocationKey][]*Revocation

type revocationKey struct {
	kind  RevocationKind
	value string
}

func newRevocationIndex(all []Revocation) revocationIndex {
	index := revocationIndex{}
	for i := range all {
		if r := &all[i]; r.Lifted.IsZero() {
			key := revocationKey{r.Kind, r.Value}
			index[key] = append(index[key], r)
		}
	}
	return index
}

// of returns a revocation that hits who in a workspace, or nil. What a producer does not say is hit by nothing: no value is empty.
func (x revocationIndex) of(who cache.Producer, workspace cache.Workspace) *Revocation {
	if len(x) == 0 {
		return nil
	}
	for _, key := range [...]revocationKey{
		{RevokeSession, who.Session},
		{RevokeRun, who.RunID},
		{RevokeActor, who.ActorID},
		{RevokeRepository, who.RepositoryID},
		{RevokeRepository, who.SourceID},
		{RevokeSubject, who.Subject},
	} {
		if key.value == "" {
			continue
		}
		for _, r := range x[key] {
			if r.Workspace == "" || r.Workspace == workspace {
				return r
			}
		}
	}
	return nil
}
