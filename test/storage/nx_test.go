//go:build e2e

package storage_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// TestNx builds with the newest and the oldest real Nx over each storage server, with the tier and without, sealed and encrypted: what one checkout built,
// another one restores, through another replica.
func TestNx(t *testing.T) {
	versions := nx.Versions()
	each(t, func(t *testing.T, p place) {
		for i, tier := range []bool{false, true} {
			for j, seal := range []string{"record", "aead"} {
				version := versions[(i+j)%2*(len(versions)-1)] // each release with each setting, over all of the four
				t.Run(fmt.Sprintf("tier=%t seal=%s %s", tier, seal, version), func(t *testing.T) {
					serve := func() *bezoar.Server {
						args := []string{"--store", p.url, "--seal-key-file", p.key, "--seal", seal}
						if tier {
							args = append(args, "--tier-dir", t.TempDir())
						}
						return p.binary.Serve(t, t.TempDir(), args...)
					}
					build(t, nx.Install(t, version), serve(), serve())
				})
			}
		}
	})
}

// TestNxRedirected has real Nx follow the server's answer to the bucket.
func TestNxRedirected(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		if !p.presigns {
			t.Log("fake-gcs-server serves no signed URLs")
			return
		}
		for _, version := range []string{nx.Versions()[0], nx.Versions()[len(nx.Versions())-1]} {
			servers := p.replicas(t, 2, "--redirect", "on")
			build(t, nx.Install(t, version), servers[0], servers[1])
		}
	})
}

// build fills the cache through one server, and reads it twice through another.
func build(t *testing.T, release nx.Release, first, second *bezoar.Server) {
	t.Helper()
	// What makes the hashes differ from those of other runs over the same bucket, whose entries have another key.
	salt := first.URL
	projects := []nx.Project{
		{Name: "app", Script: "echo 'app " + salt + "' >out/app/main.js", DependsOn: []string{"lib"}},
		{Name: "lib", Script: "head -c 300000 /dev/urandom >out/lib/random; echo " + salt},
		{Name: "lint", Script: "echo linted " + salt, Outputs: nx.NoOutputs()},
	}
	ws := nx.NewWorkspace(t, release, projects...)
	wantRun(t, "cold", ws.Run(t, nx.Run{Server: first.URL}), nil)
	built := ws.Tree(t, "out")
	first.AwaitResults(t, map[string]int{"PUT stored": 3})
	awaitSent(t, first)
	for _, run := range []string{"warm", "warm again"} {
		ws.Clean(t)
		ws.Forget(t)
		wantRun(t, run, ws.Run(t, nx.Run{Server: second.URL}), []string{"app", "lib", "lint"})
		if got := ws.Tree(t, "out"); fmt.Sprint(got) != fmt.Sprint(built) {
			t.Errorf("%s: restored %v, built %v", run, got, built)
		}
	}
}

func wantRun(t *testing.T, run string, got nx.Result, remote []string) {
	t.Helper()
	if got.Exit != 0 || len(got.Failed) > 0 || !slices.Equal(got.Remote(), remote) || len(got.Tasks) != 3 {
		t.Errorf("%s: nx ended with %d, failed %v, %v of %v came from the cache, want %v", run, got.Exit, got.Failed, got.Remote(), got.Tasks, remote)
	}
}
