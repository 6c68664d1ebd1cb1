package artifact

import (
	"errors"
	"sync/atomic"
)

// ErrBusy says that too many archives with many members are being checked at once. The archive may be a good one.
var ErrBusy = errors.New("too many archives with many members are being checked at once")

// Budget bounds the memory that the member tables of all checks at once may take. It is safe for concurrent use.
type Budget struct{ left atomic.Int64 }

// NewBudget makes a budget of so many bytes.
func NewBudget(bytes int64) *Budget {
	b := &Budget{}
	b.left.Store(bytes)
	return b
}

const (
	// memberCost is what a member takes beside its path: its entry in a table that doubles as it grows, and as much again
	// that waits for the garbage collector.
	memberCost = 320
	// freeOfBudget is what each check may take without asking, so that ordinary archives are never turned away.
	freeOfBudget = 512 << 10
	// budgetStep is how much is asked for at once.
	budgetStep = 256 << 10
)

func (b *Budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

// loan is what one check has taken of a budget.
type loan struct {
	budget      *Budget // nil: no bound
	used, taken int64
}

func (l *loan) use(n int) error {
	if l.budget == nil {
		return nil
	}
	l.used += int64(n)
	for l.used > l.taken+freeOfBudget {
		if !l.budget.take(budgetStep) {
			return ErrBusy
		}
		l.taken += budgetStep
	}
	return nil
}

func (l *loan) giveBack() {
	if l.taken > 0 {
		l.budget.left.Add(l.taken)
	}
	*l = loan{}
}
