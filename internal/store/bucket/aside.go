package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// asideTimeout bounds the work of setting one object aside.
	asideTimeout = 30 * time.Second
	// maxAside bounds an object of which a copy is kept, in bytes.
	maxAside = 256 << 20
)

// setAside keeps a copy of an object for whoever looks into it, and takes the object away, but no newer one. It goes on when the request that
// found the damage ends.
func (s *Store) setAside(ctx context.Context, info Info, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), asideTimeout)
	defer cancel()
	aside := rootAside + "/" + s.opts.Now().UTC().Format("20060102T150405.000000Z") + "-" + rand.Text()[:8] + "-" + path.Base(info.Name)
	err := s.copyAside(ctx, info, aside)
	if errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged) {
		return nil // another one did it
	}
	if err != nil {
		// Better to lose the evidence than the use of the key.
		s.log.Warn("no copy is kept of an entry that is set aside", "object", info.Name, "reason", reason, "error", err)
	}
	if err := s.bucket.Delete(ctx, info.Name, info.Version); err != nil {
		return err
	}
	s.pruneAside(ctx)
	return nil
}

func (s *Store) copyAside(ctx context.Context, info Info, to string) error {
	if info.Size > maxAside {
		return errors.New("it is too large to keep a copy")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, body, err := s.bucket.Get(ctx, info.Name, 0, info.Version)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := s.tempFile()
	if err != nil {
		return err
	}
	defer file.Close()
	n, err := io.Copy(file, io.LimitReader(body, maxAside))
	if err != nil {
		return err
	}
	content := Content{Body: file, Size: n}
	if len(info.Meta) <= MaxMeta && plain(info.Meta) {
		content.Meta = info.Meta
	}
	return s.bucket.Put(ctx, to, content, IfAbsent)
}

// plain reports whether a text may be metadata: what others wrote there may be anything.
func plain(meta string) bool {
	return strings.Trim(meta, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == ""
}

// pruneAside removes the oldest copies; their names begin with the time.
func (s *Store) pruneAside(ctx context.Context) {
	var names []string
	for info, err := range s.bucket.List(ctx, rootAside+"/") {
		if err != nil {
			s.log.Warn("cannot list the damaged entries that are kept", "error", s.trouble("list "+rootAside, err))
			return
		}
		names = append(names, info.Name)
	}
	slices.Sort(names)
	for _, name := range names[:max(0, len(names)-s.opts.KeepDamaged)] {
		if err := s.bucket.Delete(ctx, name, ""); err != nil {
			s.log.Warn("cannot remove a damaged entry", "error", s.trouble("remove "+name, err))
		}
	}
}
