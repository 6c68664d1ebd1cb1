package scrub

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// chunk is how many bytes are read at once.
const chunk = 64 << 10

// perEntry is what opening an entry counts for, in bytes, so that many small ones are no storm of requests.
const perEntry = 16 << 10

// flawError is a body that does not fit its record.
type flawError string

func (f flawError) Error() string { return string(f) }

// Is makes it [cache.ErrDamaged] to those who ask.
func (flawError) Is(target error) bool { return target == cache.ErrDamaged }

// Verify reads the body of an open entry to its end and holds it against size and SHA-256 of the record. After each piece it calls moved with the
// bytes of that; an error of moved ends the reading and is returned as it is. [cache.ErrDamaged] if the body does not fit: then it is the caller's to set
// the entry aside, unless the store has done so.
func Verify(obj *cache.Object, moved func(n int) error) error {
	sum, got := sha256.New(), int64(0)
	body := struct{ io.Reader }{obj.Body}
	for buf := make([]byte, chunk); ; {
		n, err := body.Read(buf)
		sum.Write(buf[:n])
		if got += int64(n); got > obj.Record.Size {
			return flawError("its body is longer than its record says")
		}
		if n > 0 {
			if err := moved(n); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) && got < obj.Record.Size, errors.Is(err, io.ErrUnexpectedEOF):
			return flawError(fmt.Sprintf("its body ends after %d bytes of %d", got, obj.Record.Size))
		case errors.Is(err, io.EOF) && [sha256.Size]byte(sum.Sum(nil)) != obj.Record.SHA256:
			return flawError("its body does not have the SHA-256 of its record")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// pace lets bytes pass at a rate.
type pace struct {
	rate int64 // in a second
	next time.Time
}

// wait returns when n more bytes may be read, or with the reason why ctx ended.
func (p *pace) wait(ctx context.Context, n int64) error {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now // what was not used is lost
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	if d := p.next.Sub(now); d > 0 && !sleep(ctx, d) {
		return context.Cause(ctx)
	}
	return context.Cause(ctx)
}
