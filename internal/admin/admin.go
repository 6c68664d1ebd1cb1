// Package admin is what operators do with a server's records: tokens, revocations, entries, scopes, purges, what retention removes, divergences and the audit log. [Service] says what there is to do. [Local] does it over
// the ledger and the store, for the API of a server and for commands beside its data; package remote does it at another server, through that API.
// Who may do what is decided here and nowhere else.
package admin

import (
	"context"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

// MaxPage bounds how many things one page of a list holds. A query without a limit gets [DefaultPage].
const (
	MaxPage     = 1000
	DefaultPage = 100
)

// MaxRemoteMembers bounds the members of an archive that a server tells of at a time.
const MaxRemoteMembers = 1000

// Service is what an operator can do. Errors are told apart by [CodeOf]; their texts are for people.
//
// Lists come in pages: Next is where the following page begins, empty if there is none.
type Service interface {
	// Place says where the records are, for people: a file, a database, or the URL of a server.
	Place() string

	// Tokens lists all tokens that ever were, oldest first.
	Tokens(ctx context.Context, workspace cache.Workspace, page Page) (Tokens, error)
	// CreateToken makes a token. Its text is told this once.
	CreateToken(ctx context.Context, asked NewToken) (CreatedToken, error)
	// RevokeToken revokes the token of that id or name, for good. A workspace narrows the search by name.
	RevokeToken(ctx context.Context, idOrName string, workspace cache.Workspace) (TokenChange, error)

	// Revocations lists all that ever were, oldest first.
	Revocations(ctx context.Context, page Page) (Revocations, error)
	// Revoke refuses identities of CIs. What is revoked already stays as it is.
	Revoke(ctx context.Context, asked NewRevocation) (RevocationChange, error)
	// LiftRevocation takes a revocation back.
	LiftRevocation(ctx context.Context, id string) (RevocationChange, error)

	// Entries lists what the ledger knows of entries, newest first.
	Entries(ctx context.Context, filter ledger.Filter, page Page) (Entries, error)
	// Scopes lists the scopes that hold something, by workspace and name.
	Scopes(ctx context.Context, workspace cache.Workspace, page Page) (Scopes, error)
	// DeleteScope deletes the entries of a scope. It ends before its context does, and says whether it came to the end.
	DeleteScope(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (DeletedScope, error)
	// Inspect tells of an entry what the store has: its record, whether its seal holds, and what is in its archive.
	Inspect(ctx context.Context, key cache.Key, look Look) (*Inspection, error)

	// PlanPurge tells what a purge would take, of what the ledger knows. It ends before its context does, and says whether it came to the end.
	PlanPurge(ctx context.Context, asked NewPurge) (PurgePlan, error)
	// OrderPurge purges: what fits is in force when it returns, and goes into quarantine after that. [Service.Purge] tells how far it is.
	OrderPurge(ctx context.Context, asked NewPurge) (Purge, error)
	// Purges lists all that are remembered, newest first, and Purge returns one.
	Purges(ctx context.Context, page Page) (Purges, error)
	Purge(ctx context.Context, id string) (Purge, error)
	// UndoPurge takes a purge back, DiscardPurge lets what it took be deleted for good, ResumePurge lets it be gone on with. They begin it and do not wait for it.
	UndoPurge(ctx context.Context, id string) (Purge, error)
	DiscardPurge(ctx context.Context, id string) (Purge, error)
	ResumePurge(ctx context.Context, id string) (Purge, error)

	// PlanGC tells what is beyond the bounds, in a workspace or, if that is empty, in all, and lists that many entries of it.
	PlanGC(ctx context.Context, workspace cache.Workspace, list int) (Collection, error)
	// RunGC begins to remove it, and does not wait for it. [Service.GCRun] tells how far it is.
	RunGC(ctx context.Context, workspace cache.Workspace) (GCRun, error)
	// GCRuns lists the last runs, newest first, and GCRun returns one.
	GCRuns(ctx context.Context, page Page) (GCRuns, error)
	GCRun(ctx context.Context, id string) (GCRun, error)

	// Divergences lists them, newest first, and Divergence returns one.
	Divergences(ctx context.Context, filter ledger.DivergenceFilter, page Page) (Divergences, error)
	Divergence(ctx context.Context, id int64) (Divergence, error)

	// AuditEvents lists events of the audit log, newest first.
	AuditEvents(ctx context.Context, filter ledger.AuditFilter, page Page) (Events, error)
	// AuditLines exports the audit log, oldest event first.
	AuditLines(ctx context.Context, page Page) (AuditLines, error)
	// AuditHead returns its last seal, and SealAudit seals it before that.
	AuditHead(ctx context.Context) (AuditHead, error)
	SealAudit(ctx context.Context) (AuditHead, error)
}

// Page is a part of a list.
type Page struct {
	// After is the Next of the page before; empty: the first page.
	After string
	// Limit is 1 to [MaxPage]; 0 is [DefaultPage].
	Limit int
}

// limit is the page's, within its bounds.
func (p Page) limit() int {
	if p.Limit <= 0 {
		return DefaultPage
	}
	return min(p.Limit, MaxPage)
}

// Look says how much of an archive is told.
type Look struct {
	// Archive says that the archive is unpacked at all. Without it, the record and its seal are told.
	Archive bool
	// Members is how many of its members are told one by one.
	Members int
	// Output is how many bytes at most of what the task printed are told. No server does: its API shows what an entry is, and nothing that is in a file.
	Output int
}

// All calls each with the pages of a list, from the first on, until each or next fails.
func All[T any](ctx context.Context, list func(context.Context, Page) (T, error), next func(T) string, each func(T) error) error {
	page := Page{Limit: MaxPage}
	for {
		got, err := list(ctx, page)
		if err != nil {
			return err
		}
		if err := each(got); err != nil {
			return err
		}
		if page.After = next(got); page.After == "" {
			return nil
		}
	}
}
