package admin

import (
	"testing"
	"time"
)

func TestParseExpires(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"never":                     {},
		"90d":                       now.AddDate(0, 0, 90),
		"1d":                        now.AddDate(0, 0, 1),
		"3660d":                     now.AddDate(0, 0, 3660),
		"2160h":                     now.Add(2160 * time.Hour),
		"1h30m":                     now.Add(90 * time.Minute),
		"2027-01-31":                time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC),
		"2027-01-31T12:00:00+02:00": time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC),
	} {
		if got, err := parseExpires(s, now); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "d", "-1d", "+1d", "1.5d", "90", "90 d", "Never", "0", "-1h", "0d", "2026-11-20", "2026-13-01", "31.01.2027",
		"3661d", "99999999d", "99999999999999999999d", "999999h", "9999-01-01", "2027-01-31 12:00"} {
		if got, err := parseExpires(s, now); err == nil {
			t.Errorf("%q: taken for %v", s, got)
		}
	}
}
