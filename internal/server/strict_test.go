package server

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// TestStrict: only where the cache itself is ill does it break a build, and only if it was told to. Both ways the header tells the cause.
func TestStrict(t *testing.T) {
	for _, strict := range []bool{false, true} {
		f := newFixture(t, func(o *Options) { o.Strict = strict })
		body := artifacttest.Typical(1)
		for _, c := range []struct {
			fault, denial error
			cause         string
			ill           bool
		}{
			{nil, nil, "", false},
			{cache.ErrStore, nil, "store", true},
			{cache.ErrTimeout, nil, "timeout", true},
			{cache.ErrBreaker, nil, "breaker", true},
			{nil, &trust.DeniedError{Err: trust.ErrExpired}, "expired", false},
			{nil, &trust.DeniedError{Err: trust.ErrNotAllowed}, "not_allowed", false},
			{nil, &trust.DeniedError{Err: trust.ErrUnverifiable}, "unverifiable", true},
		} {
			f.store.set(func(string) error { return c.fault })
			f.auth.set(c.denial)
			get, put := 404, 403
			if c.cause == "" {
				put = 200
			}
			if c.ill && strict {
				get, put = 503, 503
			}
			for method, want := range map[string]int{"GET": get, "HEAD": get, "PUT": put} {
				hash := "1"
				if method == "PUT" {
					hash = "2"
				}
				resp, _ := f.do(method, "/v1/cache/"+hash, body)
				if got := resp.Header.Get("Bezoar-Cause"); resp.StatusCode != want || got != c.cause {
					t.Errorf("strict %v, %s, %q: %d %q, want %d", strict, method, c.cause, resp.StatusCode, got, want)
				}
			}
		}
	}
}

// TestWhatIsIllIsAnError: whatever turns a build red with on-error strict is counted as an error, and is no client's.
func TestWhatIsIllIsAnError(t *testing.T) {
	for _, r := range rules {
		clients := r.cause == causeClientGone || r.cause == causeClientStalled || r.cause == "upload_broken"
		if want := r.result == resultError && !clients; r.ill != want {
			t.Errorf("cause %q: ill is %v, want %v", r.cause, r.ill, want)
		}
	}
	for _, err := range []error{artifact.ErrBusy, &panicError{"boom"}} {
		if o := outcomeOf(t.Context(), http.MethodPut, err); !o.ill {
			t.Errorf("%v is not ill", err)
		}
	}
}

// TestCausesAreDocumented holds the table of causes in docs/operations.md, and the list of those that are ill, against the rules.
func TestCausesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Results and causes\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var documented []string
	for _, line := range regexp.MustCompile("(?m)^\\| (?:`\\w+`)? ?\\| (`.*?) \\|").FindAllStringSubmatch(table, -1) {
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(line[1], -1) {
			documented = append(documented, m[1])
		}
	}
	_, strict, _ := strings.Cut(table, "This holds for the causes ")
	strict, _, _ = strings.Cut(strict, ". ")
	var ill []string
	for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(strict, -1) {
		ill = append(ill, m[1])
	}
	for _, r := range rules {
		if r.get != 0 && r.cause != "" && r.cause != "open" && r.cause != "bad_request" && !slices.Contains(documented, r.cause) {
			t.Errorf("the cause %q is in no table of docs/operations.md: %q", r.cause, documented)
		}
		if r.ill != slices.Contains(ill, r.cause) {
			t.Errorf("the cause %q: ill is %v, and docs/operations.md says %q", r.cause, r.ill, ill)
		}
	}
}
