package artifact_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	. "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func check(body []byte) (artifact.Summary, error) {
	return artifact.Check(bytes.NewReader(body), artifact.DefaultLimits())
}

func TestHostile(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Hostile() {
		t.Run(c.Name, func(t *testing.T) {
			if seen[c.Name] {
				t.Errorf("there are two cases of this name")
			}
			seen[c.Name] = true
			summary, err := check(c.Body)
			var refused *artifact.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("got %+v, %v; want it refused", summary, err)
			}
			if refused.Member != c.WantMember || !strings.Contains(refused.Reason, c.WantReason) {
				t.Errorf("refused with member %q, reason %q; want member %q and a reason with %q",
					refused.Member, refused.Reason, c.WantMember, c.WantReason)
			}
			if summary != (artifact.Summary{}) {
				t.Errorf("a refusal came with a summary: %+v", summary)
			}
			// How the bytes arrive makes no difference.
			if _, again := artifact.Check(iotest.OneByteReader(bytes.NewReader(c.Body)), artifact.DefaultLimits()); again == nil || again.Error() != err.Error() {
				t.Errorf("byte by byte: %v; want %v", again, err)
			}
		})
	}
}
