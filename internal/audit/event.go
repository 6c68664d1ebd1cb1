// Package audit is the record of who did what: a chain of events in which each one is bound to all before it, so that whoever changes, removes or moves one
// is found out. It knows how a chain is made, sealed and verified, and writes events behind the back of requests. Where the rows lie is the ledger's business.
package audit

import (
	"cmp"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Action says what happened. Scripts depend on the names: some are added, none is changed.
type Action string

// What is on record.
const (
	// Uploaded is an upload that was committed. The subject is its hash.
	Uploaded Action = "upload"
	// Denied are requests for artifacts that were denied: those of one identity for one cause within a minute. The subject is the cause.
	Denied Action = "denied"
	// SessionGranted is an identity token that was exchanged for a session. The subject is the session's id.
	SessionGranted Action = "session.granted"
	// SessionRefused are exchanges that were refused, counted as those of Denied are. The subject is the cause.
	SessionRefused Action = "session.refused"
	// TokenCreated and TokenRevoked are of static tokens. The subject is the token's id.
	TokenCreated Action = "token.created"
	TokenRevoked Action = "token.revoked"
	// RevocationMade and RevocationLifted are of identities of CIs. The subject is the revocation's id.
	RevocationMade   Action = "revocation.made"
	RevocationLifted Action = "revocation.lifted"
	// Purged is a purge that somebody ordered, undid or discarded, such as one of all that one run wrote. The subject is its id.
	Purged Action = "purge"
	// Collected is a run of the retention that deleted what was old or too much, or the end of a scope, of which the subject is "scope".
	Collected Action = "gc"
	// PolicyChanged is another policy in force than before. The subject is the fingerprint of the new one, or nothing.
	PolicyChanged Action = "policy.changed"
	// KeysChanged are other keys in use than before. The subject is the id of the active one.
	KeysChanged Action = "keys.changed"
	// ServerStarted and ServerStopped are of one server. The subject is its version.
	ServerStarted Action = "server.started"
	ServerStopped Action = "server.stopped"
	// Lost says that events are missing here which a server had to drop.
	Lost Action = "audit.lost"
	// Trimmed says that old events were removed from the beginning of the chain. The subject is the number of the last one that went.
	Trimmed Action = "audit.trimmed"
)

// Actions are all there are.
var Actions = [...]Action{
	Uploaded, Denied, SessionGranted, SessionRefused, TokenCreated, TokenRevoked, RevocationMade, RevocationLifted, Purged, Collected,
	PolicyChanged, KeysChanged, ServerStarted, ServerStopped, Lost, Trimmed,
}

// Kinds of actors that are no producers.
const (
	// KindServer is a server by itself, KindOperator a person at a command, KindUnknown somebody of whom nothing is verified.
	KindServer   = "server"
	KindOperator = "operator"
	KindUnknown  = "unknown"
)

// Actor is who did it, as far as it is verified. What is not known is empty.
type Actor struct {
	// Kind is that of a [cache.Producer] or one of the above.
	Kind string `json:"kind"`

	TokenID   string `json:"token_id,omitempty"`
	TokenName string `json:"token_name,omitempty"`
	Developer string `json:"developer,omitempty"`

	Issuer       string `json:"issuer,omitempty"`
	Session      string `json:"session,omitempty"`
	Repository   string `json:"repository,omitempty"`
	RepositoryID string `json:"repository_id,omitempty"`
	SourceID     string `json:"source_id,omitempty"`
	Event        string `json:"event,omitempty"`
	Ref          string `json:"ref,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	RunAttempt   string `json:"run_attempt,omitempty"`
	Actor        string `json:"actor,omitempty"`
	ActorID      string `json:"actor_id,omitempty"`
	// Subject is that of an identity which has no ids.
	Subject string `json:"subject,omitempty"`

	// User is the user of the system at a command, Host the machine.
	User string `json:"user,omitempty"`
	Host string `json:"host,omitempty"`
}

// ActorOf makes an actor of who uploaded something, or tried to.
func ActorOf(p cache.Producer) Actor {
	a := Actor{
		Kind: cmp.Or(p.Kind, KindUnknown), TokenID: p.TokenID, TokenName: p.TokenName, Developer: p.Developer,
		Issuer: p.Issuer, Session: p.Session, Repository: p.Repository, RepositoryID: p.RepositoryID, SourceID: p.SourceID, Event: p.Event, Ref: p.Ref,
		RunID: p.RunID, RunAttempt: p.RunAttempt, Actor: p.Actor, ActorID: p.ActorID,
	}
	if p.RepositoryID == "" && p.RunID == "" {
		a.Subject = p.Subject
	}
	return a
}

// Details are what else is to be said: a few texts, numbers and truth values.
type Details map[string]any

// Event is something that happened.
type Event struct {
	// Time is kept in milliseconds.
	Time   time.Time
	Action Action
	Actor  Actor
	// Subject is what it was done to; see the actions.
	Subject   string
	Workspace cache.Workspace
	Scope     cache.Scope
	Details   Details
	// Replica is the server that reports it, or the machine of the command.
	Replica string
}
