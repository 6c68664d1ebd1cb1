package main

import (
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// purgeEvent is that of a purge whose state somebody changed.
func purgeEvent(p *ledger.Purge) audit.Event {
	details := audit.Details{"state": string(p.State)}
	for name, value := range map[string]string{
		"hash": string(p.Filter.Hash), "run": p.Filter.Run, "token": p.Filter.Token, "actor": p.Filter.Actor, "repository": p.Filter.Repository, "ref": p.Filter.Ref,
		"reason": p.Reason,
	} {
		if value != "" {
			details[name] = value
		}
	}
	for name, at := range map[string]time.Time{"since": p.Filter.Since, "until": p.Filter.Until} {
		if !at.IsZero() {
			details[name] = at.UTC().Format(time.RFC3339)
		}
	}
	return audit.Event{Action: audit.Purged, Subject: p.ID, Workspace: p.Filter.Workspace, Scope: p.Filter.Scope, Details: details}
}

// collectedEvent is that of entries that went, counted by reason.
func collectedEvent(r *retention.Report) audit.Event {
	reasons := map[string]int64{}
	for _, line := range r.Lines {
		reasons[string(line.Reason)] += line.Entries
	}
	details := audit.Details{"entries": r.Entries, "bytes": r.Bytes}
	for reason, entries := range reasons {
		details[reason] = entries
	}
	return audit.Event{Action: audit.Collected, Details: details}
}

// notOnRecord says that something was done and the audit log does not have it: the command has done what it was asked for.
func notOnRecord(env *environment, err error) {
	if err != nil {
		fmt.Fprintf(env.Stderr, "bezoar: this is done, and could not be put into the audit log: %v\n", err)
	}
}
