package doctor

import (
	"context"
	"net/http"
	"strings"
)

// stored is what the uploads of this examination left behind.
type stored struct {
	hash    string
	payload *payload
	// small says that the small artifact was accepted.
	small bool
}

const smallSize = 4 << 10

// checkMiss asks for what nobody has stored. It is the first word with the server, so most of
// what can be wrong with a proxy shows here.
func (e *exam) checkMiss(ctx context.Context) {
	e.http = newClient(e)
	hash, err := newHash(e.opts.Random)
	if err != nil {
		e.add(Finding{ID: IDMiss, Status: Fail, Title: err.Error(), Means: "This machine gives no random bytes.", Do: "Repair its random device."})
		e.blocked = "there are no random bytes"
		return
	}
	a, err := e.http.get(ctx, hash, 0)
	if err != nil {
		f := e.fault("a GET", a, err)
		f.ID = IDMiss
		e.add(f)
		e.blocked = "the first request got no answer"
		return
	}
	switch {
	case a.status == http.StatusNotFound && a.html() && len(a.hops) > 0:
		e.add(Finding{ID: IDMiss, Status: Warn, Title: "a miss is a web page, after a redirect to " + a.hops[len(a.hops)-1].to,
			Means: "Nx takes it as a miss, but this looks like a web site and no cache.", Do: "Check the URL.", Details: e.describe(a)})
	case a.status == http.StatusNotFound && len(a.hops) > 0:
		e.add(Finding{ID: IDMiss, Status: Warn, Title: "the server redirects to " + a.hops[len(a.hops)-1].to,
			Means: "Nx follows, but each request takes two, and the token is dropped where host or port change. A redirect other than 307 and 308 breaks uploads.",
			Do:    "Put the final URL into " + ServerVariable + ".", Details: e.describe(a)})
	case a.status == http.StatusNotFound:
		e.ok(IDMiss, e.describe(a), "an unknown hash is a miss (404)")
	case a.status == http.StatusUnauthorized:
		e.refused(a)
	case a.status == http.StatusOK && a.html():
		f := e.refusal(http.MethodGet, "an unknown hash", a)
		f.ID = IDMiss
		f.Means = "Nx takes the page for an artifact and cannot unpack it: every build fails."
		f.Do = "This is a login page or a web site, not the cache. Check the URL, and exempt the path /v1/cache/ from the proxy's login."
		e.add(f)
		e.blocked = "no cache answers there"
	case a.status == http.StatusOK:
		f := e.refusal(http.MethodGet, "an unknown hash", a)
		f.ID = IDMiss
		f.Means = "Nobody ever stored that hash. Nx takes the answer for an artifact: every build fails, or restores what is not its own."
		f.Do = "Check that the URL is the cache's. A server of this API answers 404."
		e.add(f)
		e.blocked = "no cache answers there"
	default:
		f := e.refusal(http.MethodGet, "an unknown hash", a)
		f.ID = IDMiss
		e.add(f)
		e.blocked = "a miss breaks the build already"
	}
}

// refused reports a 401 to what a build would send.
func (e *exam) refused(a *answer) {
	f := e.refusal(http.MethodGet, "this credential", a)
	f.ID = IDAccess
	f.Title = "the server refuses the credential (401)"
	f.Means = "Nx gives up on a 401: every build fails."
	switch {
	case !e.token.Set:
		f.Title = "the server wants a credential (401), and none is set"
		f.Do = "Set " + TokenVariable + ". " + e.reason(a)
	case e.token.Value == "":
		f.Title = "the server wants a credential (401), and the token is empty"
		f.Do = "Set " + TokenVariable + "; it is there, but empty. " + e.reason(a)
	}
	f.Do = strings.TrimSpace(f.Do)
	if a.header.Get("Content-Type") != "text/plain" {
		f.Means += " It hides the server's reason and blames a \"misconfigured remote cache endpoint\", as the Content-Type is not exactly text/plain."
	}
	e.skip(IDMiss, "the server refuses the credential")
	e.add(f)
	e.blocked = "the server refuses the credential"
}

// checkUpload stores a small artifact, which also tells what the credential may do: nothing but behaviour counts.
func (e *exam) checkUpload(ctx context.Context) {
	hash, err := newHash(e.opts.Random)
	var p *payload
	if err == nil {
		p, err = e.newPayload(smallSize)
	}
	if err != nil {
		e.unready(IDUpload, err)
		return
	}
	e.stored.hash, e.stored.payload = hash, p
	a, err := e.http.put(ctx, hash, p)
	if err != nil {
		f := e.fault("an upload", a, err)
		f.ID = IDUpload
		if f.Means != hangs {
			f.Means = failsPut
		}
		e.add(f)
		e.blocked = "the first upload got no answer"
		return
	}
	switch a.status {
	case http.StatusOK:
		e.stored.small = true
		e.ok(IDUpload, e.describe(a), "an upload is stored (200)")
		e.ok(IDAccess, Details{"read": true, "write": true}, "%s may read and write", e.bearer())
	case http.StatusForbidden:
		e.denied(a)
	case http.StatusConflict:
		f := e.refusal(http.MethodPut, "an upload", a)
		f.ID, f.mild = IDUpload, true
		f.Title = "an upload under a new hash is answered with 409"
		f.Means = "The server says that an entry is there, and a moment ago it was not. Builds go on, but store nothing."
		f.Do = "Check the server: it answers uploads without looking."
		e.add(f)
		e.blocked = "uploads are not stored"
	case http.StatusUnauthorized:
		f := e.refusal(http.MethodPut, "an upload", a)
		f.ID = IDAccess
		e.skip(IDUpload, "the server refuses the credential")
		e.add(f)
		e.blocked = "the server refuses the credential"
	default:
		f := e.refusal(http.MethodPut, "an upload", a)
		f.ID = IDUpload
		e.add(f)
		e.skip(IDAccess, "the upload was not answered as the API says")
	}
}

func (e *exam) bearer() string {
	switch {
	case !e.token.Set:
		return "anybody, without a credential,"
	case e.token.Value == "":
		return "an empty token"
	default:
		return "the token"
	}
}

// denied reports a 403 to an upload. Whether hits are allowed cannot be told: a miss and a reader
// without rights look the same, so that no build breaks on it.
func (e *exam) denied(a *answer) {
	f := Finding{ID: IDAccess, Status: Warn, Title: e.bearer() + " may not write (403)",
		Means:   "Builds go on, but nothing that they upload is stored. Whether they may read what others stored cannot be told from here.",
		Do:      "All is well if this build is meant to read only. Otherwise give it a token that may write, and check that this one has not expired. " + e.reason(a),
		Details: e.describe(a)}
	if e.token.Value == "" {
		f.Do = "If this build is meant to write, set " + TokenVariable + ". " + e.reason(a)
	}
	f.Do = strings.TrimSpace(f.Do)
	f.Details["read"], f.Details["write"] = nil, false
	e.skip(IDUpload, "uploads are not allowed (403)")
	e.add(f)
}

// checkHit fetches what was stored, byte for byte.
func (e *exam) checkHit(ctx context.Context) {
	if !e.stored.small {
		e.skip(IDHit, "no upload was stored")
		return
	}
	a, err := e.http.get(ctx, e.stored.hash, e.stored.payload.size)
	if f, good := e.sameBytes("the artifact just stored", a, err, e.stored.payload); !good {
		f.ID = IDHit
		e.add(f)
		return
	}
	details := e.describe(a)
	if a.length < 0 {
		e.add(Finding{ID: IDHit, Status: Warn, Title: "a hit has the right bytes but no Content-Length",
			Means: "A connection that breaks half-way may look like the end of the artifact.",
			Do:    "A proxy rewrites bodies: turn off its compression and its filters for /v1/cache/.", Details: details})
		return
	}
	e.ok(IDHit, details, "a hit comes back byte for byte (200)")
}

// sameBytes judges a GET of p.
func (e *exam) sameBytes(what string, a *answer, err error, p *payload) (Finding, bool) {
	if err != nil {
		return e.fault("a GET of "+what, a, err), false
	}
	switch {
	case a.status == http.StatusNotFound:
		return Finding{Status: Fail, mild: true, Title: what + " is not found (404)",
			Means:   "Builds go on, but get no hits.",
			Do:      "The server said that it was stored. Look into its log; several servers behind one name must share their storage.",
			Details: e.describe(a)}, false
	case a.status != http.StatusOK:
		return e.refusal(http.MethodGet, what, a), false
	case a.size != p.size || a.sum != p.sum:
		f := Finding{Status: Fail, Title: what + " comes back with other bytes",
			Means:   "Nx cannot unpack a damaged artifact: builds that get a hit fail.",
			Do:      "Something in between rewrites bodies (compression, a filter, a page of its own), or the server damages them.",
			Details: e.describe(a)}
		f.Details["expected_bytes"] = p.size
		if v := a.header.Get("Content-Encoding"); v != "" {
			f.Details["content_encoding"] = e.foreign(v)
			f.Do = "A proxy compresses what is compressed already (Content-Encoding), unasked: turn that off for /v1/cache/."
		}
		return f, false
	}
	return Finding{}, true
}

// checkOnce uploads other bytes under the hash that is taken. What was stored first has to stay: else
// whoever may write can replace what others have tested.
func (e *exam) checkOnce(ctx context.Context) {
	if !e.stored.small {
		e.skip(IDOnce, "no upload was stored")
		return
	}
	other, err := e.newPayload(smallSize)
	if err != nil {
		e.unready(IDOnce, err)
		return
	}
	a, err := e.http.put(ctx, e.stored.hash, other)
	if err != nil {
		f := e.fault("a second upload", a, err)
		f.ID = IDOnce
		e.add(f)
		return
	}
	switch a.status {
	case http.StatusConflict, http.StatusForbidden, http.StatusOK:
	default:
		f := e.refusal(http.MethodPut, "a second upload under one hash", a)
		f.ID = IDOnce
		e.add(f)
		return
	}
	details := e.describe(a)
	again, err := e.http.get(ctx, e.stored.hash, e.stored.payload.size)
	kept := err == nil && again.status == http.StatusOK && again.sum == e.stored.payload.sum
	replaced := err == nil && again.status == http.StatusOK && again.sum == other.sum
	switch {
	case kept && a.status == http.StatusOK:
		e.add(Finding{ID: IDOnce, Status: Warn, Title: "a second upload is answered with 200, though the first one stays",
			Means: "Harmless to builds; the API has 409 for it.", Do: "Let the server answer 409.", Details: details})
	case kept:
		e.ok(IDOnce, details, "a second upload changes nothing (%d)", a.status)
	case replaced:
		e.add(Finding{ID: IDOnce, Status: Fail, mild: true, Title: "a second upload replaces the first",
			Means:   "Whoever may write can replace an artifact that others trust (CVE-2025-36852).",
			Do:      "Use a server that stores a hash once and answers 409 from then on.",
			Details: details})
	default:
		f, _ := e.sameBytes("the artifact, after a second upload,", again, err, e.stored.payload)
		f.ID = IDOnce
		e.add(f)
	}
}

func (e *exam) newPayload(size int64) (*payload, error) {
	s, err := newSeed(e.opts.Random)
	if err != nil {
		return nil, err
	}
	return newPayload(s, size)
}

func (e *exam) unready(id string, err error) {
	e.add(Finding{ID: id, Status: Fail, Title: "the check could not be prepared", Means: "This says nothing about the server.",
		Do: "Look at the error.", Details: Details{"error": err.Error()}})
}
