package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/server"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// Names under which servers remember what was in force, so that a change shows that was made while none ran.
const (
	auditPolicySetting = "audit-policy"
	auditKeysSetting   = "audit-keys"
)

// auditor puts on record what the server tells it.
type auditor struct{ *audit.Recorder }

var _ server.Auditor = auditor{}

// Stored implements [server.Auditor].
func (a auditor) Stored(e cache.Entry) {
	a.Note(audit.Event{
		Action: audit.Uploaded, Actor: audit.ActorOf(e.Record.Producer), Subject: string(e.Key.Hash), Workspace: e.Key.Workspace, Scope: e.Key.Scope,
		Details: audit.Details{"sha256": e.Record.SHA256.String(), "size": e.Record.Size},
	})
}

// Issued implements [server.Auditor]. The session's token is not on record, its id is.
func (a auditor) Issued(s trust.Issued) {
	read := make([]string, len(s.Read))
	for i, scope := range s.Read {
		read[i] = string(scope)
	}
	a.Note(audit.Event{
		Action: audit.SessionGranted, Actor: audit.ActorOf(s.Producer), Subject: s.ID, Workspace: s.Workspace, Scope: s.Write,
		Details: audit.Details{"rule": s.Rule, "expires": s.Expires.UTC().Format(time.RFC3339), "read": read},
	})
}

// Denied implements [server.Auditor].
func (a auditor) Denied(d server.Denial) {
	action := audit.Denied
	if d.Session {
		action = audit.SessionRefused
	}
	a.Deny(audit.Event{
		Action: action, Actor: audit.ActorOf(d.Producer), Subject: d.Cause, Workspace: d.Workspace, Scope: d.Scope,
		Details: audit.Details{"method": d.Method, "reason": d.Reason, "remote": d.Remote},
	})
}

// openAudit begins the server's audit log, which ends with the server: what is opened later may report to it until it is closed.
func (a *app) openAudit(ring *keyring.Ring) {
	a.replica = replicaName()
	a.ledger = a.ledger.By(a.serverActor(), a.replica)
	recorder := audit.Start(a.ledger, audit.Options{Replica: a.replica, Logger: a.log, Registerer: a.registry, Now: time.Now})
	a.audit = auditor{recorder}
	a.causes.Add("audit", recorder.Degraded)
	a.keeper = audit.NewKeeper(a.ledger, audit.KeeperOptions{
		Keys: auditKeys(ring), Keep: a.cfg.AuditKeep, Replica: a.replica, Logger: a.log, Registerer: a.registry, Now: time.Now,
	})
	a.causes.Add("audit_chain", a.keeper.Degraded)
	a.auditFacts = []fact{{auditKeysSetting, audit.KeysChanged, ring.IDs()}, {auditPolicySetting, audit.PolicyChanged, a.policyFact()}}
	if a.policy != nil {
		a.policy.changed = a.policyTaken
	}
	a.atEnd(a.endAudit)
}

// endAudit writes what waits, that the server ends, and a last seal over it.
func (a *app) endAudit() error {
	if a.onRecord {
		a.audit.Note(a.serverEvent(audit.ServerStopped))
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordingEnd)
	defer cancel()
	if whole := a.audit.Close(ctx) == nil; !whole || !a.onRecord { // the log has what is lost
		return nil
	}
	if err := a.keeper.Seal(ctx); err != nil {
		a.log.Warn("the end of the audit log is not sealed: the next start does it", "error", err)
	}
	return nil
}

// fact is what is in force, as servers remember it.
type fact struct {
	setting string
	action  audit.Action
	value   []string // the subject first
}

func (a *app) policyFact() []string {
	if a.policy == nil {
		return nil
	}
	return []string{a.policy.current.Load().Fingerprint()}
}

// recordStart puts on record that the server serves, and what is in force that was not when one did so before. Without the ledger it waits for it, as all
// that is on record does.
func (a *app) recordStart(ctx context.Context) {
	a.onRecord = true
	events := []audit.Event{a.serverEvent(audit.ServerStarted)}
	for _, f := range a.auditFacts {
		if e, changed := a.compareFact(ctx, f); changed {
			events = append(events, e)
		}
	}
	for i := range events {
		events[i].Time, events[i].Replica = time.Now(), a.replica
	}
	if _, err := a.ledger.AppendAudit(ctx, events); err != nil {
		for _, e := range events {
			a.audit.Note(e)
		}
	}
}

// compareFact tells a change since a server served before.
func (a *app) compareFact(ctx context.Context, f fact) (audit.Event, bool) {
	known, err := a.ledger.Setting(ctx, f.setting)
	if err != nil {
		a.log.Warn("what was in force before is not known to the audit log", "name", f.setting, "error", err)
		return audit.Event{}, false
	}
	var before []string
	if json.Unmarshal(known, &before) == nil && slices.Equal(before, f.value) || known == nil && len(f.value) == 0 {
		return audit.Event{}, false
	}
	return a.changed(ctx, f, before), true
}

// changed makes an event of a change, and has servers remember it.
func (a *app) changed(ctx context.Context, f fact, before []string) audit.Event {
	text, err := json.Marshal(f.value)
	err = errors.Join(err, a.ledger.SetSetting(ctx, f.setting, text))
	if err != nil {
		a.log.Warn("what is in force is not noted for the next start: the audit log may tell of the change again", "name", f.setting, "error", err)
	}
	e := audit.Event{Action: f.action, Actor: a.serverActor(), Details: audit.Details{"from": append([]string{}, before...), "to": append([]string{}, f.value...)}}
	if len(f.value) > 0 {
		e.Subject = f.value[0]
	}
	return e
}

// policyTaken is told of a policy that took another one's place while the server runs.
func (a *app) policyTaken(before, now string) {
	ctx, cancel := context.WithTimeout(context.Background(), recordingEnd)
	defer cancel()
	a.audit.Note(a.changed(ctx, fact{auditPolicySetting, audit.PolicyChanged, []string{now}}, []string{before}))
}

func (a *app) serverEvent(action audit.Action) audit.Event {
	return audit.Event{Action: action, Actor: a.serverActor(), Subject: version(), Details: audit.Details{"open": a.auth.Open()}}
}

func (a *app) serverActor() audit.Actor { return audit.Actor{Kind: audit.KindServer, Host: hostname()} }

// auditKeys are the keys that seal the audit log.
func auditKeys(ring *keyring.Ring) []audit.Key {
	var keys []audit.Key
	for _, k := range ring.Derive("audit") {
		keys = append(keys, audit.NewKey(k.ID, k.Secret[:]))
	}
	return keys
}

// replicaName tells servers apart, also two on one host, and one from itself before a restart.
func replicaName() string {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	return hostname() + "/" + hex.EncodeToString(id[:])
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
