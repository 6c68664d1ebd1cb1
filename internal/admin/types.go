package admin

import (
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// The JSON of these types is what the API answers and what commands print with --json. Scripts depend on it: fields are added, never changed.

// Token is a static token as it can be shown: without its text and its hash.
type Token struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Workspace string     `json:"workspace"` // empty: a role for the whole server
	Access    string     `json:"access"`
	Role      string     `json:"role"`
	Developer string     `json:"developer"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires"`
	Revoked   *time.Time `json:"revoked"`
}

// ShowToken makes a token fit to be shown.
func ShowToken(t *trust.Token, now time.Time) Token {
	return Token{
		ID: t.ID, Name: t.Name, Workspace: string(t.Workspace), Access: string(t.Access), Role: string(t.Role), Developer: t.Developer,
		State: string(t.State(now)), Created: t.Created, Expires: orNull(t.Expires), Revoked: orNull(t.Revoked),
	}
}

// Tokens is a page of tokens.
type Tokens struct {
	Tokens []Token `json:"tokens"`
	Next   string  `json:"next"`
}

// NewToken is a token that is to be made.
type NewToken struct {
	Name string `json:"name"`
	// Workspace is the one that it is for. Empty: the default one for an access, all for a role.
	Workspace string `json:"workspace"`
	// Access or Role says what it may do: one of them.
	Access    string `json:"access"`
	Role      string `json:"role"`
	Developer string `json:"developer"`
	// Expires is when it ends: 90d, 2160h, 2027-01-31, a time as in RFC 3339, or never. Empty: [DefaultExpiry].
	Expires string `json:"expires"`
}

// CreatedToken is a token that was made, with its text: a secret.
type CreatedToken struct {
	ID    string `json:"id"`
	Token string `json:"token"`
	Hash  string `json:"hash"`

	Name      string     `json:"name"`
	Workspace string     `json:"workspace"`
	Access    string     `json:"access"`
	Role      string     `json:"role"`
	Developer string     `json:"developer"`
	State     string     `json:"state"`
	Created   time.Time  `json:"created"`
	Expires   *time.Time `json:"expires"`
	Revoked   *time.Time `json:"revoked"`
}

// TokenChange is a token, and whether it is as it is only now.
type TokenChange struct {
	Changed bool  `json:"changed"`
	Token   Token `json:"token"`
}

// Revocation is what identities of CIs are refused by.
type Revocation struct {
	ID        string           `json:"id"`
	Kind      string           `json:"kind"`
	Value     string           `json:"value"`
	Workspace *cache.Workspace `json:"workspace"` // null: all
	Reason    string           `json:"reason"`
	State     string           `json:"state"`
	Created   time.Time        `json:"created"`
	Lifted    *time.Time       `json:"lifted"`
}

// The states of a revocation.
const (
	InForce = "in force"
	Lifted  = "lifted"
)

// ShowRevocation makes a revocation fit to be shown.
func ShowRevocation(r *trust.Revocation) Revocation {
	out := Revocation{ID: r.ID, Kind: string(r.Kind), Value: r.Value, Reason: r.Reason, State: InForce, Created: r.Created, Lifted: orNull(r.Lifted)}
	if out.Lifted != nil {
		out.State = Lifted
	}
	if r.Workspace != "" {
		out.Workspace = &r.Workspace
	}
	return out
}

// Revocations is a page of revocations.
type Revocations struct {
	Revocations []Revocation `json:"revocations"`
	Next        string       `json:"next"`
}

// NewRevocation is a revocation that is to be made.
type NewRevocation struct {
	Kind      string `json:"kind"`
	Value     string `json:"value"`
	Workspace string `json:"workspace"` // empty: all
	Reason    string `json:"reason"`
}

// RevocationChange is a revocation, and whether it is as it is only now.
type RevocationChange struct {
	Changed    bool       `json:"changed"`
	Revocation Revocation `json:"revocation"`
}

// Entry is an entry that the ledger knows.
type Entry struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     string          `json:"scope"`
	Hash      cache.Hash      `json:"hash"`
	Record    cache.Record    `json:"record"`
}

// ShowEntry makes an entry fit to be shown.
func ShowEntry(e *cache.Entry) Entry {
	return Entry{e.Key.Workspace, string(e.Key.Scope), e.Key.Hash, e.Record}
}

// Entries is a page of entries.
type Entries struct {
	Entries []Entry `json:"entries"`
	Next    string  `json:"next"`
}

// Scope is what a scope holds, as far as the ledger knows.
type Scope struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     string          `json:"scope"`
	Entries   int64           `json:"entries"`
	Bytes     int64           `json:"bytes"`
	Newest    time.Time       `json:"newest"` // when the newest of them was made
	Used      *time.Time      `json:"used"`   // when one of them was last read or came in, to about an hour; null: nobody knows
}

// Scopes is a page of scopes.
type Scopes struct {
	Scopes []Scope `json:"scopes"`
	Next   string  `json:"next"`
}

// DeletedScope is what went with a scope.
type DeletedScope struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Complete says that nothing is left that was there at the beginning. Else there is more to delete.
	Complete bool `json:"complete"`
}

// Status is how a server is.
type Status struct {
	Version string `json:"version"`
	// State is [Healthy], or [Degraded] if a cause is.
	State      string            `json:"state"`
	Causes     []Cause           `json:"causes"`
	Workspaces []cache.Workspace `json:"workspaces"`
	// Store and Ledger are where things are, for people. They are told to operators of the whole server alone, and so are the details of causes.
	Store  string `json:"store"`
	Ledger string `json:"ledger"`
}

// The states of a server.
const (
	Healthy  = "ok"
	Degraded = "degraded"
)

// Cause is a part of a server that can be in trouble.
type Cause struct {
	Name     string `json:"name"`
	Degraded bool   `json:"degraded"`
	Detail   string `json:"detail"`
}

func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
