package ledger

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func TestScopes(t *testing.T) { onEvery(t, testScopes) }

func testScopes(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	want := []Held{
		{Workspace: "docs", Scope: "trusted", Entries: 1},
		{Workspace: "web", Scope: "branch/refs/heads/\xffä ", Entries: 2}, // Git's refs need not be UTF-8
		{Workspace: "web", Scope: "pr/10", Entries: 1},
		{Workspace: "web", Scope: "pr/9", Entries: 3},
	}
	var entries []cache.Entry
	for i := range want {
		for range want[i].Entries {
			e := newEntry(len(entries))
			e.Key.Workspace, e.Key.Scope = want[i].Workspace, want[i].Scope
			entries = append(entries, e)
			want[i].Bytes += e.Record.Size
			want[i].Newest = e.Record.Created
		}
	}
	used := time.Now().Add(48 * time.Hour).UTC().Truncate(time.Second) // after they came in, for sure
	uses := make(map[cache.Key]time.Time)
	for i := range want {
		want[i].Used = used
	}
	for _, e := range entries {
		uses[e.Key] = used
	}
	slices.Reverse(entries) // in another order than they are listed
	if err := l.RecordEntries(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
	if err := l.RecordUses(t.Context(), uses); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 2, 3, 4, 1000} {
		var got []Held
		for after := Cursor(""); ; {
			page, next, err := l.Scopes(t.Context(), "", after, limit)
			if err != nil || len(page) > limit || next != "" && len(page) < limit {
				t.Fatal(page, next, err)
			}
			got = append(got, page...)
			if after = next; after == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("in pages of %d: %s", limit, diff)
		}
	}
	got, next, err := l.Scopes(t.Context(), "web", "", 2)
	if diff := cmp.Diff(want[1:3], got); diff != "" || next == "" || err != nil {
		t.Error(diff, next, err)
	}
	if got, next, err := l.Scopes(t.Context(), "nobody", "", 2); len(got) != 0 || next != "" || err != nil {
		t.Error(got, next, err)
	}
	for _, cursor := range []Cursor{"x", "d2Vi", "!", "d2ViIA", Cursor("V0VCIHByLzE")} {
		if _, _, err := l.Scopes(t.Context(), "", cursor, 1); !errors.Is(err, ErrCursor) {
			t.Errorf("%q: %v", cursor, err)
		}
	}
}

func TestTokensOfOperators(t *testing.T) { onEvery(t, testTokensOfOperators) }

func testTokensOfOperators(t *testing.T, db testDatabase) {
	l := db.open(t, t.TempDir())
	operator := func(name string, workspace cache.Workspace, role trust.Role) trust.Token {
		_, hash := trust.NewAdminToken()
		return trust.Token{ID: hash.ID(), Name: name, Workspace: workspace, Role: role, Hash: hash, Created: created}
	}
	all, one, builds := operator("ops", "", trust.Admin), operator("ops", "web", trust.Viewer), newToken("ci", "web")
	one.Created, builds.Created = created.Add(time.Second), created.Add(2*time.Second)
	for _, token := range []trust.Token{all, one, builds} {
		if err := l.CreateToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Tokens(t.Context())
	if diff := cmp.Diff([]trust.Token{all, one, builds}, got); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	if err := l.CreateToken(t.Context(), operator("ops", "", trust.Viewer)); !errors.Is(err, ErrTokenExists) {
		t.Error(err)
	}
	if _, err := l.FindToken(t.Context(), "ops", ""); !errors.Is(err, ErrAmbiguous) {
		t.Error(err)
	}
	if found, err := l.FindToken(t.Context(), "ops", "web"); err != nil || found.ID != one.ID {
		t.Error(found, err)
	}
	if found, err := l.FindToken(t.Context(), all.ID, ""); err != nil || found.Role != trust.Admin {
		t.Error(found, err)
	}
	if _, err := l.FindToken(t.Context(), all.ID, "web"); !errors.Is(err, ErrNoToken) {
		t.Error(err)
	}
	wrong := all
	wrong.Access = trust.Trusted
	if err := l.CreateToken(t.Context(), wrong); err == nil {
		t.Error("a token with a role and an access was recorded")
	}
}
