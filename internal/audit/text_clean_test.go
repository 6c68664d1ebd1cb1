package audit

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestCleanTextsStayAsTheyAre: what is taken for clean at a glance is.
func TestCleanTextsStayAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z/0-9]*`)).Draw(t, "text") + strings.Repeat("a", rapid.SampledFrom([]int{0, 0, maxText - 5, maxText - 4, maxText - 3, maxText}).Draw(t, "more"))
		if isClean(s) && cleaned(s) != s {
			t.Fatalf("%q becomes %q", s, cleaned(s))
		}
	})
	if !isClean("refs/heads/main") || isClean("a\x00") || isClean(`\`) || isClean("ü") {
		t.Error("the glance is wrong")
	}
}
