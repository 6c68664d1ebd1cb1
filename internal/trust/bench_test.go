package trust

import (
	"testing"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// What a request's judgement costs for each kind of credential, side by side, once the credential is remembered.
func BenchmarkGrant(b *testing.B) {
	m := newMade("ci", "web", Isolated)
	bench := newBench(b, newRules("p", nil), func(o *Options) { o.Fixed = []Token{m.Token} })
	padding := make([]string, 0, 40)
	for _, name := range []string{"ref", "sha", "workflow_ref", "job_workflow_ref", "head_ref", "base_ref", "repository_owner", "enterprise", "environment", "runner"} {
		padding = append(padding, name, "refs/heads/a-branch-with-a-name-of-some-length/"+name)
	}
	issued, identity := bench.session(padding...), bench.identity(padding...)
	bench.revoke(RevokeRun, "another", "")
	bench.look(b.Context())
	for _, bb := range []struct{ name, header string }{
		{"static", m.bearer()}, {"session", "Bearer " + issued.Token}, {"identity", "Bearer " + identity},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportMetric(float64(len(bb.header)), "bytes")
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if g, err := bench.Grant(b.Context(), bb.header, "web"); err != nil || g.Workspace != cache.Workspace("web") {
						b.Fatal(g, err)
					}
				}
			})
		})
	}
	// The first request of a session.
	b.Run("session unseen", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bench.sessions.drop(keyOf(issued.Token))
			if _, err := bench.Grant(b.Context(), "Bearer "+issued.Token, "web"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
