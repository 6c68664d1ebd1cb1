package artifact_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	build "github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

func many(n int) []byte {
	members := make([]build.Member, n)
	for i := range members {
		members[i] = build.File(fmt.Sprintf("dist/%060d", i), "")
	}
	return build.Nx(members...)
}

func TestBudget(t *testing.T) {
	lim := artifact.DefaultLimits()
	lim.Budget = artifact.NewBudget(4 << 20)
	fits, tooMany := many(5_000), many(50_000)
	for range 3 { // what a check took is given back, however it ended
		if _, err := artifact.Check(bytes.NewReader(tooMany), lim); !errors.Is(err, artifact.ErrBusy) {
			t.Errorf("50,000 members: got %v", err)
		}
		if _, err := artifact.Check(bytes.NewReader(fits), lim); err != nil {
			t.Errorf("5,000 members: %v", err)
		}
	}
	// One check holds what there is: another one with many members is turned away, an ordinary one is not.
	inside := false
	_, err := artifact.Walk(bytes.NewReader(many(9_000)), lim, func(m artifact.Member) error {
		if m.Path != "terminalOutput" {
			return nil
		}
		inside = true
		if _, err := artifact.Check(bytes.NewReader(many(9_000)), lim); !errors.Is(err, artifact.ErrBusy) {
			t.Errorf("a second check with many members: got %v", err)
		}
		_, err := artifact.Check(bytes.NewReader(build.Typical(1)), lim)
		return err
	})
	if err != nil || !inside {
		t.Errorf("the first check: %v", err)
	}
	if _, err := artifact.Check(bytes.NewReader(tooMany), artifact.DefaultLimits()); err != nil {
		t.Errorf("without a budget: %v", err)
	}
}
