package noninterference

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// answer is all that a client sees of one.
type answer struct {
	status int
	header string
	body   string
	// broken says that the connection was broken instead of an end.
	broken bool
}

// serve puts a request to the handler, as net/http would.
func serve(h http.Handler, r *http.Request) (a answer) {
	w := httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it as well
				panic(p)
			}
			a.broken = true
		}
		a.status, a.body, a.header = w.Code, w.Body.String(), headerText(w.Result().Header)
	}()
	h.ServeHTTP(w, r)
	return a
}

func headerText(h http.Header) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(h)) {
		lines = append(lines, name+": "+strings.Join(h[name], ", "))
	}
	return strings.Join(lines, "\n")
}

func (a answer) String() string {
	body := a.body
	if !strings.HasPrefix(body, "{") && strings.ContainsFunc(body, func(r rune) bool { return r < ' ' && r != '\n' }) {
		body = bodyName(body)
	}
	s := fmt.Sprintf("%d %s", a.status, strings.TrimSpace(body))
	if a.broken {
		s += ", broken off"
	}
	return s
}
