package trust

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

func TestPublicReading(t *testing.T) {
	open := testSettings
	open.PublicRead = true
	b := newBench(t, newRules("p", func(r *fakeRules) { r.settings["library"] = open }), nil)
	want := cache.Grant{Workspace: "library", Read: []cache.Scope{"trusted"}, Producer: cache.Producer{Kind: "anonymous"}}
	for _, header := range []string{"", " ", "Bearer", "bearer \t "} {
		g, err := b.Grant(t.Context(), header, "library")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, g); diff != "" {
			t.Fatal(diff)
		}
		for _, named := range []cache.Workspace{"", "web", "default", "nowhere"} {
			_, err := b.Grant(t.Context(), header, named)
			wantDenial(t, err, ErrNoCredential)
		}
	}
	// Whoever shows a credential is judged by it.
	_, err := b.Grant(t.Context(), "Basic x", "library")
	wantDenial(t, err, ErrMalformed)
	_, err = b.Grant(t.Context(), "Bearer "+b.session().Token, "library")
	wantDenial(t, err, ErrOtherWorkspace)
	b.setRules(newRules("closed", nil))
	_, err = b.Grant(t.Context(), "", "library")
	wantDenial(t, err, ErrNoCredential)
}

func TestPolicyNarrowsDevelopers(t *testing.T) {
	jo, other := newMade("jo-laptop", "web", Isolated), newMade("ci", "web", Isolated)
	jo.Developer = "jo"
	for _, tt := range []struct {
		read, write bool
		wantRead    []cache.Scope
		wantWrite   cache.Scope
	}{
		{true, true, []cache.Scope{"trusted", "dev/jo"}, "dev/jo"},
		{true, false, []cache.Scope{"trusted"}, ""},
		{false, true, []cache.Scope{"dev/jo"}, "dev/jo"},
		{false, false, nil, ""},
	} {
		b := newBench(t, nil, func(o *Options) { o.Fixed = []Token{jo.Token, other.Token} })
		before := b.mustGrant(jo.text)
		b.setRules(newRules("p", func(r *fakeRules) {
			r.settings["web"] = policy.Settings{DevelopersRead: tt.read, DevelopersWrite: tt.write}
		}))
		g := b.mustGrant(jo.text)
		if !slices.Equal(g.Read, tt.wantRead) || g.Write != tt.wantWrite || g.Producer.Developer != "jo" || g.Producer.TokenID != jo.ID {
			t.Errorf("%+v: %+v", tt, g)
		}
		if err := b.valid(jo.text, before); (err == nil) != tt.write {
			t.Errorf("%+v: mid-upload: %v", tt, err)
		}
		if g := b.mustGrant(other.text); g.Write != cache.Scope("token/"+other.ID) || len(g.Read) != 2 {
			t.Errorf("a token that is no developer's got %+v", g)
		}
		// A policy that says nothing of the workspace narrows nothing in it.
		b.setRules(newRules("q", func(r *fakeRules) { delete(r.settings, "web") }))
		if diff := cmp.Diff(before, b.mustGrant(jo.text)); diff != "" {
			t.Error(diff)
		}
	}
}
