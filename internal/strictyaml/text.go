package strictyaml

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Suggest returns a hint with the name that is nearest to the one that was not found, or otherwise.
func Suggest(name string, known []string, otherwise string) string {
	fold := strings.NewReplacer("-", "", "_", "", " ", "")
	folded := fold.Replace(strings.ToLower(name))
	if len(folded) > 64 {
		return otherwise
	}
	best, least := "", max(2, len(folded)/4)+1
	for _, k := range known {
		if d := distance(folded, fold.Replace(strings.ToLower(k))); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return otherwise
	}
	return "did you mean " + best + "?"
}

// distance counts the bytes to insert, delete or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Digits says whether text is a plain number. One with leading zeros is not: to some it is octal.
func Digits(text string) bool {
	return text != "" && (text[0] != '0' || text == "0") && !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

// ParseSize reads a number of bytes, with or without a unit: 0, 500MB, 2GiB. A number that is too large gives the largest one.
func ParseSize(text string) (int64, bool) {
	number := strings.TrimRightFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	unit, ok := unitOf(strings.TrimPrefix(text[len(number):], " "))
	if !ok || !Digits(number) {
		return 0, false
	}
	// There are digits only, so that the one error is too many of them, and n the largest number.
	n, _ := strconv.ParseUint(number, 10, 64)
	high, low := bits.Mul64(n, uint64(unit))
	if high != 0 || low > math.MaxInt64 {
		return math.MaxInt64, true
	}
	return int64(low), true
}

func unitOf(name string) (int64, bool) {
	switch name {
	case "", "B":
		return 1, true
	case "kB", "KB":
		return 1e3, true
	case "MB":
		return 1e6, true
	case "GB":
		return 1e9, true
	case "TB":
		return 1e12, true
	case "KiB":
		return 1 << 10, true
	case "MiB":
		return 1 << 20, true
	case "GiB":
		return 1 << 30, true
	case "TiB":
		return 1 << 40, true
	case "PiB":
		return 1 << 50, true
	}
	return 0, false
}

// MaxListed bounds the problems in one message.
const MaxListed = 100

// ListProblems puts the problems of a file into one text: the only one as it is, or a heading and a line for each of the first [MaxListed].
func ListProblems[E error](heading string, problems []E) string {
	if len(problems) == 1 {
		return problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d problems:", heading, len(problems))
	for _, p := range problems[:min(len(problems), MaxListed)] {
		b.WriteString("\n  " + p.Error())
	}
	if more := len(problems) - MaxListed; more > 0 {
		fmt.Fprintf(&b, "\n  and %d more", more)
	}
	return b.String()
}
