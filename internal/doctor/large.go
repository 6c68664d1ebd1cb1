package doctor

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"time"
)

// checkLarge sends a body of the size of real outputs both ways, through whatever is in between.
func (e *exam) checkLarge(ctx context.Context) {
	switch {
	case e.opts.Size <= 0:
		e.skip(IDLarge, "the size is 0")
		return
	case !e.stored.small:
		e.skip(IDLarge, "no upload was stored")
		return
	}
	hash, err := newHash(e.opts.Random)
	var p *payload
	if err == nil {
		p, err = e.newPayload(e.opts.Size)
	}
	if err != nil {
		e.unready(IDLarge, err)
		return
	}
	up, err := e.http.put(ctx, hash, p)
	if err != nil {
		f := e.fault("an upload of "+bytesText(p.size), up, err)
		f.ID = IDLarge
		if f.Means != hangs {
			f.Means = failsPut
		}
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			f.Do = "Most often a limit on bodies in a proxy (nginx: client_max_body_size), or a timeout. Look into its log."
		}
		e.add(f)
		return
	}
	if up.status != http.StatusOK {
		f := e.refusal(http.MethodPut, "an upload of "+bytesText(p.size), up)
		f.ID = IDLarge
		f.Details["uploaded_bytes"] = p.size
		if up.status == http.StatusForbidden {
			f.Status, f.Means = Warn, "Builds go on, but artifacts of this size are not stored."
			f.Do = "Raise the server's limit, if that is what it is. " + e.reason(up)
		}
		e.add(f)
		return
	}
	down, err := e.http.get(ctx, hash, p.size)
	if f, good := e.sameBytes("the artifact of "+bytesText(p.size), down, err, p); !good {
		f.ID = IDLarge
		e.add(f)
		return
	}
	e.ok(IDLarge, Details{"bytes": p.size, "upload_ms": millis(up.took), "download_ms": millis(down.took),
		"upload_bytes_per_second": perSecond(p.size, up.took), "download_bytes_per_second": perSecond(p.size, down.took)},
		"%s up in %s (%s/s) and down in %s (%s/s)", bytesText(p.size), durationText(up.took), bytesText(perSecond(p.size, up.took)),
		durationText(down.took), bytesText(perSecond(p.size, down.took)))
}

func perSecond(n int64, d time.Duration) int64 {
	return int64(float64(n) / max(d.Seconds(), 1e-6))
}
