//go:build e2e

package attack_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// What follows is played by hand: an attacker needs no Nx to send requests.

// poison is an artifact that nobody but its maker may ever be given.
var poison = artifacttest.Nx(artifacttest.File("poison", "poison\n"))

// put uploads poison under a path such as "/v1/cache/1".
func (w *world) put(t *testing.T, token, path string) answer {
	t.Helper()
	return w.must(t, request{method: http.MethodPut, path: path, token: &token, body: poison})
}

func (w *world) get(t *testing.T, token, path string) answer {
	t.Helper()
	return w.must(t, request{method: http.MethodGet, path: path, token: &token})
}

// scene is a scoped world with those who matter in it, each of whom can do what he should.
type scene struct {
	*house
	*world
	// main and pull are sessions of a push to main and of a pull request of the workspace web; docs is one of the main of another workspace.
	main, pull, docs string
	// own is the scope of the pull request.
	own string
}

func (h *house) scene(t *testing.T) *scene {
	t.Helper()
	w := h.scoped(t)
	pull := w.exchange(t, "", h.githubToken(t, "pull_request", nil))
	if pull.Write == "" || pull.Write == "trusted" {
		t.Fatalf("the session of a pull request writes %q", pull.Write)
	}
	s := &scene{
		house: h, world: w, pull: pull.Token, own: pull.Write,
		main: w.session(t, h.githubToken(t, "push-main", nil)),
		docs: w.session(t, h.githubToken(t, "push-main", claims{"repository": "acme/docs", "repository_id": "456790"})),
	}
	for who, token := range map[string]string{"main": s.main, "the pull request": s.pull, "the other workspace": s.docs} {
		path := "/v1/cache/own-" + strings.ReplaceAll(who, " ", "-")
		if got := s.put(t, token, path); got.status != http.StatusOK {
			t.Fatalf("%s cannot upload: %v", who, got)
		}
		if got := s.get(t, token, path); got.status != http.StatusOK {
			t.Fatalf("%s does not find what it uploaded: %v", who, got)
		}
	}
	return s
}

// wantClean checks that neither workspace's trusted builds are given anything under the hash.
func (s *scene) wantClean(t *testing.T, hash string) {
	t.Helper()
	for who, token := range map[string]string{"main": s.main, "the other workspace's main": s.docs} {
		if got := s.get(t, token, "/v1/cache/"+hash); got.status != http.StatusNotFound {
			t.Errorf("%s is poisoned: GET %s gives %v, want 404", who, hash, got)
		}
	}
}

// wantStatus checks an answer.
func wantStatus(t *testing.T, what string, got answer, want ...int) {
	t.Helper()
	if !slices.Contains(want, got.status) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// raw sends a request as it is written, for what net/http would not send, and returns the answer. %d in it is the length of the poison, which
// follows the text.
func (w *world) raw(t *testing.T, text string) answer {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	text = strings.ReplaceAll(text, "%d", fmt.Sprint(len(poison)))
	if _, err := io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(poison); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer to %.100q: %v", text, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, body}
}
