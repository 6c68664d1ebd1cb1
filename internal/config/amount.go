package config

import (
	"math"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// Wait is how long something is waited for: not at all (0), for a time, or [Forever].
type Wait time.Duration

// Forever is a wait without an end.
const Forever Wait = math.MaxInt64

// Limit returns the time after which the waiting ends, and false if it does not.
func (w Wait) Limit() (time.Duration, bool) { return time.Duration(w), w != Forever }

// String returns "forever", or the time as settings have it.
func (w Wait) String() string {
	if w == Forever {
		return "forever"
	}
	return formatDuration(time.Duration(w))
}

func parseWait(text string) (any, error) {
	switch {
	case text == "forever":
		return Forever, nil
	case text == "0":
		return Wait(0), nil
	case strictyaml.Digits(text):
		return nil, &flaw{quoted(text) + " has no unit", "write for example " + text + "s, 0 or forever"}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return nil, &flaw{quoted(text) + " is not a duration", "write a number with a unit: 500ms, 2s, 1m; 0 for not at all, or forever"}
	}
	return Wait(d), nil
}

// UpTo counts bytes, or is [All] of them.
type UpTo int64

// All is every size.
const All UpTo = math.MaxInt64

// String returns "all", or the size as settings have it.
func (u UpTo) String() string {
	if u == All {
		return "all"
	}
	return Size(u).String()
}

func parseUpTo(text string) (any, error) {
	if text == "all" {
		return All, nil
	}
	size, ok := strictyaml.ParseSize(text)
	if !ok || strings.HasPrefix(text, "-") {
		return nil, &flaw{quoted(text) + " is not a size", "write all, or a number of bytes, with a unit if you like: 500MB, 8MiB"}
	}
	return UpTo(size), nil
}
