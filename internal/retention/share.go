package retention

import (
	"cmp"
	"slices"
)

// shares says how much of each holding goes so that need bytes go in all: the largest pay, down to a common level, and those below it nothing. All of them
// go if that is not enough.
func shares(holdings []int64, need int64) []int64 {
	pay := make([]int64, len(holdings))
	if need <= 0 {
		return pay
	}
	order := make([]int, len(holdings))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(holdings[b], holdings[a]) })
	var sum, level int64
	payers := 0
	for i, at := range order {
		sum += holdings[at]
		payers = i + 1
		level = max(0, (sum-need)/int64(payers))
		if sum >= need && (payers == len(order) || level >= holdings[order[payers]]) {
			break
		}
	}
	for _, at := range order[:payers] {
		pay[at] = max(0, holdings[at]-level)
	}
	return pay
}
