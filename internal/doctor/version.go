package doctor

import (
	"fmt"
	"regexp"
	"strconv"
)

// version is the part of a semantic version that orders releases. Prereleases count as their release.
type version struct{ major, minor, patch int }

var versionPattern = regexp.MustCompile(`(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?`)

// parseVersion finds the first version in s, which may be a range such as "^20.8.0": then it is the lowest one.
func parseVersion(s string) (version, bool) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return version{}, false
	}
	number := func(s string) int {
		n, _ := strconv.Atoi(s) // Digits only, and few.
		return n
	}
	return version{number(m[1]), number(m[2]), number(m[3])}, true
}

func (v version) less(w version) bool {
	if v.major != w.major {
		return v.major < w.major
	}
	if v.minor != w.minor {
		return v.minor < w.minor
	}
	return v.patch < w.patch
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }
