//go:build e2e

package replicas_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// Real builds and a client that keeps count work through nginx, while servers are killed, the database is stopped and the bucket hangs. No build is red, nothing that was
// acknowledged is lost, revocations and purges hold on all servers, and one more server comes while all runs.
func TestNoRedBuild(t *testing.T) {
	f := newFront(t)
	var doomed []bezoar.Token
	for i := range 20 {
		doomed = append(doomed, f.createToken(t, fmt.Sprintf("doomed-%d", i)))
	}

	stop := make(chan struct{})
	end := sync.OnceFunc(func() { close(stop) })
	defer end()
	c := startChecker(t, f, stop)
	defer c.done.Wait()
	builds := startCheckouts(t, f.nginx.URL+"/web", f.token, stop)
	defer builds.done.Wait()
	defer end()
	// work goes on until so much has been done since.
	work := func(what string) {
		t.Helper()
		n, b := c.soFar(), builds.soFar()
		await(t, "work goes on: "+what, func() bool { return t.Failed() || c.soFar() >= n+10 && builds.soFar() >= b+2 })
		t.Log(what)
	}

	work("all is well")
	f.revoke(t, doomed)

	f.servers[0].Kill()
	work("a server was killed")
	f.start(t, 0)
	work("it is back")

	f.bucket.Pause(t)
	work("the bucket hangs")
	victim, most := 0, 0
	for i, s := range f.servers {
		if n := queued(t, s); n > most {
			victim, most = i, n
		}
	}
	f.servers[victim].Kill()
	t.Logf("a server was killed that had %d acknowledged uploads on its disk alone", most)
	if most == 0 {
		t.Error("nothing was in any spool while the bucket hung")
	}
	work("the bucket hangs, and two servers are left")
	f.bucket.Resume(t)
	f.start(t, victim)
	work("both are back")

	f.database.Stop(t)
	work("the database was stopped")
	f.database.Restart(t)
	f.database.Pause(t)
	work("it is back and hangs")
	f.servers[1].Kill()
	work("and a server was killed")
	f.database.Resume(t)
	f.start(t, 1)
	work("all are back")

	f.servers[0].Kill()
	f.servers[2].Kill()
	work("two servers were killed")
	f.start(t, 0)
	f.start(t, 2)
	work("both are back")

	before := f.pids()
	f.add(t)
	await(t, "nginx sends requests to a server that was added", func() bool { return len(f.servers[3].Requests(t)) > 20 })
	if now := f.pids()[:3]; fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("to add a server others were started anew: %v, before %v", now, before)
	}
	work("a fourth server was added")
	f.servers[3].Kill()
	work("and killed")
	f.start(t, 3)

	for i, s := range f.servers {
		s.Stop(t)
		f.start(t, i)
		await(t, "nginx asks a server that was updated", func() bool { return len(f.servers[i].Requests(t)) > 0 })
	}
	work("all were updated, one after the other")

	f.purge(t, 10)
	work("all is well again")
	end()
	began := time.Now()
	builds.end(t)
	c.end(t)
	t.Logf("what was acknowledged was compared in %v", time.Since(began).Round(time.Second))
}

func (f *front) pids() (list []int) {
	for _, s := range f.servers {
		list = append(list, s.PID())
	}
	return list
}
