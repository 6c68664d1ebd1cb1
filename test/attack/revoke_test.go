//go:build e2e

package attack_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestRevocations has stolen credentials, of which somebody learns while the thief is uploading.
func TestRevocations(t *testing.T) {
	h := newHouse(t)
	for _, tt := range []struct {
		name string
		// steal gives the thief's credential and the command that ends it.
		steal func(*testing.T, *scene) (credential string, revoke []string)
		// heir gives a credential that reads the same scope and is not revoked; nil: there is none.
		heir func(*testing.T, *scene) string
	}{
		{
			"the session of a pull request, by its run",
			func(t *testing.T, s *scene) (string, []string) {
				return s.session(t, s.githubToken(t, "pull_request", claims{"run_id": "4711"})), []string{"revoke", "run", "4711"}
			},
			func(_ *testing.T, s *scene) string { return s.pull },
		},
		{
			"the session of main, by its run",
			func(t *testing.T, s *scene) (string, []string) {
				return s.session(t, s.githubToken(t, "push-main", claims{"run_id": "4712"})), []string{"revoke", "run", "4712"}
			},
			func(_ *testing.T, s *scene) string { return s.main },
		},
		{
			"a session alone, by its token",
			func(t *testing.T, s *scene) (string, []string) {
				session := s.session(t, s.githubToken(t, "pull_request", nil))
				return session, []string{"revoke", "session", session}
			},
			func(_ *testing.T, s *scene) string { return s.pull },
		},
		{
			"all of a project",
			func(t *testing.T, s *scene) (string, []string) {
				return s.session(t, s.gitlabToken(t, "push-main", nil)), []string{"revoke", "repository", "77"}
			},
			func(_ *testing.T, s *scene) string { return s.main },
		},
		{
			"all with a subject",
			func(t *testing.T, s *scene) (string, []string) {
				return s.session(t, s.githubToken(t, "push-main", claims{"sub": "repo:acme/web:stolen"})), []string{"revoke", "subject", "repo:acme/web:stolen"}
			},
			func(_ *testing.T, s *scene) string { return s.main },
		},
		{
			"GitLab's own token, by its pipeline",
			func(t *testing.T, s *scene) (string, []string) {
				return s.gitlabToken(t, "push-main", claims{"pipeline_id": "4713"}), []string{"revoke", "run", "4713"}
			},
			func(_ *testing.T, s *scene) string { return s.main },
		},
		{
			"all that an account sets off",
			func(t *testing.T, s *scene) (string, []string) {
				return s.session(t, s.githubToken(t, "pull_request", claims{"actor_id": "4714"})), []string{"revoke", "actor", "4714"}
			},
			func(_ *testing.T, s *scene) string { return s.pull },
		},
		{
			"a static token",
			func(t *testing.T, s *scene) (string, []string) {
				token := s.staticToken(t, s.binary, "--access", "isolated")
				return token.Secret, []string{"token", "revoke", token.ID}
			},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := h.scene(t)
			credential, revoke := tt.steal(t, s)
			wantStatus(t, "an upload before", s.put(t, credential, "/v1/cache/before"), http.StatusOK)

			upload := s.begin(t, credential, "/v1/cache/meanwhile")
			args := append(revoke, "--data", s.data)
			if out, err := s.binary.Command(t.Context(), args...).CombinedOutput(); err != nil {
				t.Fatalf("bezoar %q: %v\n%s", args, err, out)
			}
			s.awaitRefusal(t, credential)
			wantStatus(t, "the upload that was under way", upload.end(t), http.StatusUnauthorized)

			wantStatus(t, "an upload after", s.put(t, credential, "/v1/cache/after"), http.StatusUnauthorized)
			wantStatus(t, "a download after", s.get(t, credential, "/v1/cache/before"), http.StatusUnauthorized)
			if tt.heir != nil {
				heir := tt.heir(t, s)
				wantStatus(t, "what was uploaded before", s.get(t, heir, "/v1/cache/before"), http.StatusOK)
				for _, hash := range []string{"meanwhile", "after"} {
					wantStatus(t, "what was uploaded "+hash, s.get(t, heir, "/v1/cache/"+hash), http.StatusNotFound)
				}
			}
			s.wantClean(t, "meanwhile")
		})
	}
}

// TestRevokedRunGetsNoSession: the thief still has the job, which can ask for any number of tokens.
func TestRevokedRunGetsNoSession(t *testing.T) {
	s := newHouse(t).scene(t)
	run := claims{"run_id": "4711"}
	credential := s.session(t, s.githubToken(t, "pull_request", run))
	if out, err := s.binary.Command(t.Context(), "revoke", "run", "4711", "--data", s.data).CombinedOutput(); err != nil {
		t.Fatalf("bezoar revoke: %v\n%s", err, out)
	}
	s.awaitRefusal(t, credential)
	token := s.githubToken(t, "pull_request", run)
	wantStatus(t, "the exchange", s.must(t, request{method: http.MethodPost, path: "/v1/session", token: &token}), http.StatusUnauthorized)
	s.session(t, s.githubToken(t, "pull_request", claims{"run_id": "4712"}))
}

// awaitRefusal waits until a running server has learned of a revocation.
func (s *scene) awaitRefusal(t *testing.T, credential string) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		got := s.get(t, credential, "/v1/cache/any")
		if got.status == http.StatusUnauthorized {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("a revoked credential is still answered with %v", got)
		case <-poll.C:
		}
	}
}

// slowUpload is one that the server has let in and that has not ended.
type slowUpload struct {
	rest   *io.PipeWriter
	group  errgroup.Group
	answer answer
}

// begin sends the first half of the poison, and returns when the server has judged the credential and asked for the body.
func (w *world) begin(t *testing.T, credential, path string) *slowUpload {
	t.Helper()
	asked := make(chan struct{})
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(asked) }})
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, w.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(poison))
	req.Header.Set("Authorization", "Bearer "+credential)
	req.Header.Set("Expect", "100-continue")
	u := &slowUpload{rest: rest}
	patient := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: time.Minute}}
	u.group.Go(func() error {
		resp, err := patient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		u.answer = answer{resp.StatusCode, resp.Header, text}
		return err
	})
	t.Cleanup(func() { rest.CloseWithError(errors.New("the test has ended")) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	select {
	case <-asked:
	case <-ctx.Done():
		t.Fatal("the server did not ask for the body of an upload")
	}
	if _, err := rest.Write(poison[:len(poison)/2]); err != nil {
		t.Fatal(err)
	}
	return u
}

// end sends the rest and returns the answer.
func (u *slowUpload) end(t *testing.T) answer {
	t.Helper()
	_, err := u.rest.Write(poison[len(poison)/2:])
	u.rest.Close()
	if err := errors.Join(err, u.group.Wait()); err != nil {
		t.Fatal(err)
	}
	return u.answer
}
