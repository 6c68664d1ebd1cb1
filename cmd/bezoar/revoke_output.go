package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// revocationJSON is what --json prints of a revocation. Scripts depend on it: fields are added, never changed.
type revocationJSON struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"`
	Value     string           `json:"value"`
	Workspace *cache.Workspace `json:"workspace"`
	Reason    string           `json:"reason"`
	State     string           `json:"state"`
	Created   time.Time        `json:"created"`
	Lifted    *time.Time       `json:"lifted"`
}

func newRevocationJSON(r *trust.Revocation) revocationJSON {
	out := revocationJSON{
		ID: r.ID, Kind: string(r.Kind), Value: r.Value, Reason: r.Reason, State: revocationState(r), Created: r.Created, Lifted: orNull(r.Lifted),
	}
	if r.Workspace != "" {
		out.Workspace = &r.Workspace
	}
	return out
}

func revocationState(r *trust.Revocation) string {
	if r.Lifted.IsZero() {
		return "in force"
	}
	return "lifted"
}

// showRevocation says what a revocation hits; fresh says that it was not there before.
func showRevocation(w io.Writer, r trust.Revocation, fresh, asJSON bool) error {
	if asJSON {
		return writeJSON(w, newRevocationJSON(&r))
	}
	if !fresh {
		_, err := fmt.Fprintf(w, "It was revoked already, on %s (revocation %s): %s.\n", timeOr(r.Created, ""), r.ID, describeHits(&r))
		return err
	}
	_, err := fmt.Fprintf(w, `Revoked: %s.
A running server refuses them within a second, uploads that are under way included. What they stored before stays.
'bezoar revoke lift %s' takes it back.
`, describeHits(&r), r.ID)
	return err
}

// describeHits says in words what a revocation hits.
func describeHits(r *trust.Revocation) string {
	const all = "all sessions and identity tokens "
	where := "in every workspace"
	if r.Workspace != "" {
		where = "in workspace " + string(r.Workspace)
	}
	hits := all + "of " + string(r.Kind) + " " + r.Value
	switch r.Kind {
	case trust.RevokeSession:
		hits = "the requests of session " + r.Value
	case trust.RevokeActor:
		hits = all + "of runs that the account with the id " + r.Value + " set off"
	case trust.RevokeRepository:
		hits = all + "of runs in the repository or project with the id " + r.Value + ", or of its code"
	case trust.RevokeSubject:
		hits = all + "with the subject " + r.Value
	}
	return hits + ", " + where
}

func showRevocations(w io.Writer, all []trust.Revocation, asJSON bool) error {
	if asJSON {
		out := make([]revocationJSON, 0, len(all)) // [] and not null
		for i := range all {
			out = append(out, newRevocationJSON(&all[i]))
		}
		return writeJSON(w, out)
	}
	if len(all) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tKIND\tVALUE\tWORKSPACE\tCREATED\tSTATE\tREASON")
	for i := range all {
		r := &all[i]
		workspace := string(r.Workspace)
		if workspace == "" {
			workspace = "(all)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Kind, r.Value, workspace, timeOr(r.Created, ""), revocationState(r), r.Reason)
	}
	return table.Flush()
}

func showLifted(w io.Writer, r trust.Revocation, now time.Time, asJSON bool) error {
	if asJSON {
		return writeJSON(w, newRevocationJSON(&r))
	}
	what := "is lifted: a running server judges them by its policy again within a second"
	if r.Lifted.Before(now) {
		what = "was lifted already, on " + timeOr(r.Lifted, "")
	}
	_, err := fmt.Fprintf(w, "The revocation %s of %s %s.\n", r.ID, describeHits(&r), what)
	return err
}
