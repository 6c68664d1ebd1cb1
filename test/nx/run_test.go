package nx

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The texts below are what the releases print: 20 and 21 in black, later ones in colours, and a task's own output anywhere between.
func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, output string
		tasks        map[string]Status
		failed       []string
	}{
		{
			name:   "nothing",
			output: "\n NX   No tasks were run\n",
			tasks:  map[string]Status{},
		},
		{
			name: "plain, every status",
			output: "\n> nx run built:build\n\n> sh task.sh\n\n" +
				"\n> nx run far:build  [remote cache]\n\n" +
				"\n> nx run near:build  [local cache]\n\n" +
				"\n> nx run here:build  [existing outputs match the cache, left as is]\n\n",
			tasks: map[string]Status{"built": Ran, "far": Remote, "near": Local, "here": "existing outputs match the cache, left as is"},
		},
		{
			name: "colours, line ends of a terminal, and a failure",
			output: "\x1b[2m> \x1b[22m\x1b[2mnx run\x1b[22m far:build  \x1b[2m[remote cache]\x1b[22m\r\n" +
				"\x1b[2m> \x1b[22m\x1b[2mnx run\x1b[22m bad-one:build\r\n\r\n" +
				"\x1b[7m\x1b[1m\x1b[31m NX \x1b[39m\x1b[22m\x1b[27m  \x1b[31mRunning target \x1b[1mbuild\x1b[22m for 2 projects failed\x1b[39m\r\n\r\n" +
				"\x1b[2mFailed tasks:\x1b[22m\r\n\r\n\x1b[2m-\x1b[22m bad-one:build\r\n\r\nHint\r\n",
			tasks:  map[string]Status{"far": Remote, "bad-one": Ran},
			failed: []string{"bad-one"},
		},
		{
			name:   "the list of what will run is no report of what ran",
			output: " NX   Running target build for 1 project:\n\n- one\n\nFailed tasks:\n\n- z:build\n- a:build\n",
			tasks:  map[string]Status{},
			failed: []string{"a", "z"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := parse(tt.output)
			if diff := cmp.Diff(tt.tasks, got.Tasks); diff != "" {
				t.Errorf("tasks (-want +got):\n%s", diff)
			}
			if !slices.Equal(got.Failed, tt.failed) {
				t.Errorf("failed tasks %q, want %q", got.Failed, tt.failed)
			}
		})
	}
}

func TestVersionsOldestFirst(t *testing.T) {
	got := Versions()
	if !slices.IsSortedFunc(got, func(a, b string) int { return major(a) - major(b) }) {
		t.Errorf("versions %q are not in order", got)
	}
	if len(got) == 0 || major(got[0]) != 20 {
		t.Errorf("versions %q do not begin with a release 20, the first that has the client", got)
	}
}
