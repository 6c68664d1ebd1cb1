package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// showRevocation says what a revocation hits.
func showRevocation(w io.Writer, change admin.RevocationChange, asJSON bool) error {
	r := &change.Revocation
	if asJSON {
		return writeJSON(w, r)
	}
	if !change.Changed {
		_, err := fmt.Fprintf(w, "It was revoked already, on %s (revocation %s): %s.\n", timeOr(r.Created, ""), r.ID, describeHits(r))
		return err
	}
	_, err := fmt.Fprintf(w, `Revoked: %s.
A running server refuses them within a second, uploads that are under way included. What they stored before stays.
'bezoar revoke lift %s' takes it back.
`, describeHits(r), r.ID)
	return err
}

// describeHits says in words what a revocation hits.
func describeHits(r *admin.Revocation) string {
	const all = "all sessions and identity tokens "
	where := "in every workspace"
	if r.Workspace != nil {
		where = "in workspace " + string(*r.Workspace)
	}
	hits := all + "of " + r.Kind + " " + r.Value
	switch trust.RevocationKind(r.Kind) {
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

func showRevocations(w io.Writer, all []admin.Revocation, asJSON bool) error {
	if asJSON {
		return writeJSON(w, all)
	}
	if len(all) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tKIND\tVALUE\tWORKSPACE\tCREATED\tSTATE\tREASON")
	for i := range all {
		r := &all[i]
		workspace := "(all)"
		if r.Workspace != nil {
			workspace = string(*r.Workspace)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Kind, r.Value, workspace, timeOr(r.Created, ""), r.State, r.Reason)
	}
	return table.Flush()
}

func showLifted(w io.Writer, change admin.RevocationChange, asJSON bool) error {
	r := &change.Revocation
	if asJSON {
		return writeJSON(w, r)
	}
	what := "is lifted: a running server judges them by its policy again within a second"
	if !change.Changed {
		what = "was lifted already, on " + timeOrNull(r.Lifted, "")
	}
	_, err := fmt.Fprintf(w, "The revocation %s of %s %s.\n", r.ID, describeHits(r), what)
	return err
}
