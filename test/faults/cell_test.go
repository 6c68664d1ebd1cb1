//go:build faults || e2e

package faults_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
	"github.com/bezoar-cache/bezoar/test/disk/faulty"
	"github.com/bezoar-cache/bezoar/test/nx"
)

// deadline is how long a build may take. Without a fault it takes one to three seconds; the client itself waits for ever.
const deadline = 90 * time.Second

// cell is one cause at one moment, with one release of Nx.
type cell struct {
	cause
	moment  moment
	release string
}

func (c cell) name() string { return c.cause.name + "/" + string(c.moment) + "/" + c.release }

// result is what became of a cell.
type result struct {
	cell
	shelf shelf
	// Counts of builds: all, those that failed, those that did not end, those with outputs that are not theirs.
	builds, red, hung, wrong int
	// untold says what made the cell say nothing: the fault did not come to pass, or did not end.
	untold string
	// detail is what Nx said.
	detail string
	// took is the time of the build under fault.
	took time.Duration
	// answers counts what the server did meanwhile, by what it logged.
	answers map[string]int
	// finished is when.
	finished time.Time
}

func (r result) bad() bool { return r.red+r.hung+r.wrong > 0 || r.untold != "" }

// sizes of the outputs of a build's tasks.
var sizes = map[string]int{"little": 2_000, "middle": 300_000, "much": 6_000_000}

// huge is the size of the output of a task beyond verify-ahead.
const huge = 12_000_000

// project is what a cell builds: three tasks whose outputs are known.
type project struct {
	ws    *nx.Workspace
	files map[string]string // what each output has to be, by its path
	serie int
}

func newProject(t *testing.T, release string, much int) *project {
	p := &project{files: make(map[string]string)}
	var list []nx.Project
	random := rand.NewChaCha8([32]byte{1})
	for name, size := range sizes {
		if name == "much" {
			size = much
		}
		data := make([]byte, size)
		_, _ = random.Read(data)
		list = append(list, nx.Project{
			Name:   name,
			Script: "cp projects/" + name + "/data projects/" + name + "/salt out/" + name + "/; echo finished " + name,
			Files:  map[string]string{"data": string(data), "salt": ""},
		})
		p.files["out/"+name+"/data"] = string(data)
	}
	slices.SortFunc(list, func(a, b nx.Project) int { return strings.Compare(a.Name, b.Name) })
	p.ws = nx.NewWorkspace(t, nx.Install(t, release), list...)
	return p
}

// renew gives all tasks hashes that nobody has seen.
func (p *project) renew(t *testing.T) {
	p.serie++
	salt := fmt.Sprintf("%d of %d\n", p.serie, time.Now().UnixNano())
	for name := range sizes {
		p.ws.Write(t, "projects/"+name+"/salt", salt)
		p.files["out/"+name+"/salt"] = salt
	}
	p.ws.Forget(t)
}

// build builds from nothing but the remote cache, and notes what was wrong.
func (p *project) build(t *testing.T, r *result, what, url, token string) nx.Result {
	p.ws.Forget(t)
	r.builds++
	run := nx.Run{Server: url, Timeout: deadline}
	if token != "" {
		run.Token = &token
	}
	got, err := p.ws.Try(t.Context(), run)
	if err != nil {
		r.hung++
		r.detail += fmt.Sprintf("%s: %v\n", what, err)
		return got
	}
	if got.Exit != 0 || len(got.Failed) > 0 {
		r.red++
		r.detail += fmt.Sprintf("%s: nx ended with %d, failed are %q; it printed:\n%s\n", what, got.Exit, got.Failed, got.Output)
		return got
	}
	tree := p.ws.Tree(t, ".")
	for name, want := range p.files {
		if tree[name] == "" || p.ws.Read(t, name) != want {
			r.wrong++
			r.detail += fmt.Sprintf("%s: %s is not what was built: %s\n", what, name, tree[name])
			break
		}
	}
	return got
}

// run does a cell: what is to be a hit is stored, something breaks at its moment while Nx builds, it is mended, and another build of the same follows.
func (w *world) run(t *testing.T, c cell, p *project) (r result) {
	r = result{cell: c, shelf: w.shelf, answers: make(map[string]int)}
	defer func() {
		r.detail = strings.TrimSpace(r.detail)
		r.finished = time.Now().UTC()
	}()
	p.renew(t)
	token := w.session
	if c.moment.primed() {
		feed := w.feed()
		if c.moment == between {
			feed = w.gate.url
		}
		p.build(t, &r, "the build before", feed, token)
		if err := w.fed(); err != nil || r.bad() {
			r.untold = fmt.Sprintf("the build before was not stored: %v", err)
			return r
		}
	}
	if c.token != nil {
		token = c.token(w)
	}
	f := &fault{w: w, c: c}
	seen := len(w.server.Log())
	server := w.server
	switch c.moment {
	case between:
		f.begin()
		w.poke()
		f.end()
		// The build comes at once: what the fault has left must not break it.
	case fromStart:
		f.begin()
	default:
		f.arm()
	}
	began := time.Now()
	p.build(t, &r, "the build under fault", w.gate.url, token)
	r.took = time.Since(began)
	f.disarm()
	if c.moment != between && c.moment != fromStart && !f.happened() {
		r.untold = "its moment did not come: the build asked for something else"
		if r.red+r.hung+r.wrong > 0 {
			r.untold = ""
		}
	}
	f.end()
	if err := f.error(); err != nil {
		r.untold = err.Error()
	}
	tally(r.answers, server.Log()[seen:])
	if server != w.server {
		tally(r.answers, w.server.Log())
	}
	if c.spoils {
		w.server.Kill()
		return r
	}
	if err := w.well(); err != nil {
		r.untold = err.Error()
		return r
	}
	p.build(t, &r, "the build afterwards", w.gate.url, w.session)
	return r
}

// tally counts the answers of a log by method, result and cause.
func tally(into map[string]int, log string) {
	for _, q := range bezoar.ReadRequests(log) {
		what := q.Method + " " + q.Result
		if q.Cause != "" {
			what += " (" + q.Cause + ")"
		}
		into[what]++
	}
}

// fault is a cause at work.
type fault struct {
	w *world
	c cell

	mu    sync.Mutex
	mend  faulty.Mend
	err   error
	timer *time.Timer
}

// triggers are those that can see the moment.
func (f *fault) trigger() *trigger {
	if f.c.side == atBucket {
		return &f.w.bucket.injector.trigger
	}
	return &f.w.gate.trigger
}

func (f *fault) arm()           { f.trigger().arm(f.c.moment, f.begin) }
func (f *fault) happened() bool { return f.mended() || f.trigger().happened() }

func (f *fault) disarm() {
	t := f.trigger()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fire = nil
}

func (f *fault) mended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.timer != nil
}

func (f *fault) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	mend, err := f.c.apply(f.w)
	if err != nil {
		f.err = fmt.Errorf("the fault could not be made: %w", err)
	}
	f.mend = mend
	if f.c.lasts > 0 {
		f.timer = time.AfterFunc(f.c.lasts, f.end)
	}
}

func (f *fault) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mend == nil {
		return
	}
	if err := f.mend(); err != nil {
		f.err = errors.Join(f.err, fmt.Errorf("the fault could not be mended: %w", err))
	}
	f.mend = nil
}

func (f *fault) error() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// cellsOf makes the cells of causes. Releases take turns, so that each meets each moment and, over all shelves, each cause.
func cellsOf(causes []cause, turn int) []cell {
	releases := []string{nx.Versions()[0], nx.Versions()[len(nx.Versions())-1]}
	var cells []cell
	for i, c := range causes {
		moments := c.moments
		if moments == nil {
			moments = allMoments
		}
		for j, m := range moments {
			cells = append(cells, cell{c, m, releases[(i+j+turn)%len(releases)]})
		}
	}
	return cells
}

// few are the causes at those of their moments alone.
func few(causes []cause, moments ...moment) []cause {
	for i, c := range causes {
		causes[i].moments = slices.DeleteFunc(slices.Clone(moments), func(m moment) bool { return c.moments != nil && !slices.Contains(c.moments, m) })
	}
	return causes
}

// matrix is all cells of a shelf, those of one kind of server together.
func matrix(on shelf) []cell {
	var cells []cell
	if on == onDisk {
		cells = slices.Concat(cellsOf(diskCauses(), 0), cellsOf(ledgerCauses(), 0), cellsOf(postgresCauses(), 0), cellsOf(issuerCauses(), 0),
			cellsOf(processCauses(), 0), cellsOf(descriptorCauses(), 0), cellsOf(clockCauses(), 0), cellsOf(overloadCauses(), 0), cellsOf(goneCauses(), 0))
	} else {
		// What does not concern the bucket is tried at fewer moments than on a disk.
		turn := map[shelf]int{s3: 0, s3WithTier: 1}[on]
		cells = cellsOf(slices.Concat(bucketCauses(), hugeCauses(),
			few(diskCauses(), beforeMiss, beforeHit, midUpload),
			few(ledgerCauses()[:1], beforeMiss, midUpload),
			few(processCauses()[:3], midUpload, between),
			few(descriptorCauses()[:1], beforeHit, midUpload),
			few(clockCauses()[:2], beforeMiss, beforeHit),
			few(overloadCauses()[1:], beforeMiss, midUpload)), turn)
	}
	slices.SortStableFunc(cells, func(a, b cell) int {
		if a.kind != b.kind {
			return strings.Compare(string(a.kind), string(b.kind))
		}
		switch { // what spoils a server comes last
		case a.spoils == b.spoils:
			return 0
		case a.spoils:
			return 1
		}
		return -1
	})
	return cells
}

// play runs cells on a shelf, with one server for those of a kind.
func play(t *testing.T, h *house, cells []cell, note func(result)) {
	var w *world
	projects := make(map[string]*project)
	for _, c := range cells {
		t.Run(string(h.shelf)+"/"+c.name(), func(t *testing.T) {
			if w != nil && w.kind != c.kind {
				w.stop()
				w = nil
			}
			if w == nil {
				w = h.open(c.kind)
			}
			much := sizes["much"]
			if c.huge {
				much = huge
			}
			which := fmt.Sprint(c.release, much)
			if projects[which] == nil {
				projects[which] = newProject(h.t, c.release, much)
			}
			r := w.run(t, c, projects[which])
			note(r)
			t.Logf("%v: %d red, %d hung, %d wrong; %v", r.took.Round(100*time.Millisecond), r.red, r.hung, r.wrong, r.answers)
			if why := c.helpless[c.moment]; why != "" && r.red > 0 && r.hung+r.wrong == 0 {
				t.Logf("no server can help: %s", why)
			} else if r.bad() {
				t.Errorf("%s\n%s\nthe end of the server's log:\n%s", r.untold, abridged(r.detail), tail(w.server.Log(), 40))
			}
			if c.spoils || r.untold != "" {
				w.server.Kill()
				w = nil
			}
		})
	}
	if w != nil {
		w.stop()
	}
}

func abridged(s string) string {
	if len(s) > 6000 {
		return s[:3000] + "\n[…]\n" + s[len(s)-3000:]
	}
	return s
}

func tail(s string, lines int) string {
	all := strings.SplitAfter(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
