package doctor

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// MaxSize bounds the large body, in bytes.
const MaxSize = 64 << 30

// bytesText writes a number of bytes with three digits or fewer before the point, in powers of 1024.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 || v >= 100 || v == math.Trunc(v) {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

func durationText(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", millis(d))
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", millis(d))
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// millis keeps the microseconds as a fraction.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
