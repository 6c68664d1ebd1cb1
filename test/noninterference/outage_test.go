package noninterference

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// TestAnHourWithoutIssuers has all issuers down for an hour, and asks the whole server all the while: what runs goes on, what cannot be verified is
// a miss and "not stored", and no answer is one that fails a build.
func TestAnHourWithoutIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stage := newStage(t)
		w, err := stage.newWorld(&history{real: true, where: inMemory}, t.TempDir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.verify.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		o := &outage{t: t, stage: stage, world: w, jobs: map[string]*principal{}}
		for _, p := range stage.principals {
			o.jobs[p.name] = p
		}
		session := o.session(o.sign("github push main"))
		o.want(200, "PUT", "before", session)
		direct := o.sign("gitlab push main") // presented for the first time during the outage, and signed with a key that is at hand

		for _, iss := range stage.issuers.offline {
			iss.SetDown(true)
			iss.RotateKeeping() // nobody can hear of these keys
		}
		unverifiable := o.sign("gitlab push fix-login")
		for minute := range 58 { // the session was given for an hour
			<-time.After(time.Minute)
			hash := fmt.Sprint("minute-", minute)
			o.want(200, "GET", "before", session)
			o.want(200, "PUT", hash, session)
			o.want(200, "GET", hash, session)
			o.want(404, "GET", "before", unverifiable)
			o.want(403, "PUT", "after", unverifiable)
			if minute < 50 {
				o.want(404, "GET", "unknown", direct)
				o.want(200, "PUT", "direct-"+hash, direct)
			}
		}
		// A job that begins now has no session; it is told so, and builds without the cache.
		a := o.do("POST", "/v1/session", o.sign("github push main again"), nil)
		if a.status != http.StatusForbidden {
			t.Errorf("an exchange that cannot be judged: %v", a)
		}
		if w.verify.Degraded() == nil {
			t.Error("nobody is told of the outage")
		}

		<-time.After(2 * time.Minute)
		o.want(404, "GET", "before", session) // it has ended, as it would have without an outage
		for _, iss := range stage.issuers.offline {
			iss.SetDown(false)
		}
		<-time.After(6 * time.Minute) // the longest pause between two tries, and a fetch
		o.want(200, "GET", "before", o.session(o.sign("github push main")))
		if err := w.verify.Degraded(); err != nil {
			t.Error(err)
		}
	})
}

type outage struct {
	t      *testing.T
	stage  *stage
	world  *world
	jobs   map[string]*principal
	serial int
}

// sign makes the token of a job that begins now.
func (o *outage) sign(name string) string {
	o.serial++
	return o.stage.issuers.token(o.jobs[name], o.serial, time.Now(), true)
}

func (o *outage) do(method, path, credential string, body []byte) answer {
	r := httptest.NewRequestWithContext(o.t.Context(), method, path, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+credential)
	return serve(o.world.handler, r)
}

func (o *outage) session(token string) string {
	o.t.Helper()
	var got exchanged
	a := o.do("POST", "/v1/session", token, nil)
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != http.StatusOK {
		o.t.Fatalf("no session: %v", a)
	}
	return got.Token
}

func (o *outage) want(status int, method, hash, credential string) {
	o.t.Helper()
	var body []byte
	if method == http.MethodPut {
		body = artifacttest.Typical(1)
	}
	if a := o.do(method, "/v1/cache/"+hash, credential, body); a.status != status {
		o.t.Errorf("%s %s: %v, want %d", method, hash, a, status)
	}
}
