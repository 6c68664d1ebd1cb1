package bucket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// Options of a [Store]. The zero value will do.
type Options struct {
	// Cipher encrypts bodies and records. Nil: they lie as they are. Encrypted entries have a place of their own in the bucket: a store
	// with a cipher sees no others, and one without sees none of them.
	Cipher Cipher
	// Redirect makes Open return a URL, valid for that long, in place of a body. Zero: it does not.
	Redirect time.Duration
	// Stall bounds the wait for the answer to a request for a body, and for the next bytes of it. After it the line is taken for broken. Zero: [DefaultStall].
	Stall time.Duration
	// MinRate is how many bytes of a body have to come per second, on average over a Stall. A line that gives less is cut, and another one tried a few
	// times. Zero: any byte will do.
	MinRate int64
	// TempDir is where bodies are encrypted and damaged ones are copied, one file at a time for each, removed at once. Empty: [os.TempDir].
	TempDir string
	// KeepDamaged bounds what was set aside; the oldest go first. Zero: [DefaultKeepDamaged].
	KeepDamaged int
	// Logger is told of entries that are set aside. Nil: nobody is.
	Logger *slog.Logger
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// Defaults of [Options].
const (
	DefaultStall       = 10 * time.Second
	DefaultKeepDamaged = 64
)

const (
	rootPlain  = "entries"
	rootSealed = "sealed"
	rootMarks  = "marks"
	rootAside  = "damaged"
	// rootQuarantine holds what purges took.
	rootQuarantine = "quarantine"

	formatName = "FORMAT"
	formatText = "bezoar-bucket 1\n"
)

// Store keeps entries as objects of a [Bucket]: it is all of a [cache.Store] but for Create, in whose place [Store.Put] takes a whole body.
// Any number of them, in any number of processes, may work on one bucket.
//
//	FORMAT                          what lies here, and the version of its layout
//	marks/NAME                      notes ([cache.Marker])
//	entries/WORKSPACE/SCOPE/HASH    the artifact; key and record lie beside it as metadata
//	sealed/WORKSPACE/SCOPE/HASH     the same, encrypted
//	damaged/TIME-RANDOM-HASH        what was set aside, the newest few
//	quarantine/NAME                 what purges took ([cache.Quarantiner])
//	check/RANDOM                    left behind by [Check] if it was killed
//
// Names are those of [layout.FileName].
type Store struct {
	bucket Bucket
	cipher Cipher
	root   string
	opts   Options
	log    *slog.Logger
	probe  *probe
}

var _ cache.Marker = (*Store)(nil)

// Open begins to use a bucket, and notes in a new one what it is for. It looks at no entries. The bucket stays the caller's.
func Open(ctx context.Context, b Bucket, options Options) (*Store, error) {
	s := &Store{bucket: b, cipher: options.Cipher, root: rootPlain, opts: options, log: options.Logger, probe: new(probe)}
	if s.cipher != nil {
		s.root = rootSealed
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	s.opts.Stall = cmp.Or(s.opts.Stall, DefaultStall)
	s.opts.KeepDamaged = cmp.Or(s.opts.KeepDamaged, DefaultKeepDamaged)
	return s, s.checkFormat(ctx)
}

// checkFormat reads FORMAT, or writes it into a new bucket.
func (s *Store) checkFormat(ctx context.Context) error {
	text, err := s.readSmall(ctx, formatName)
	if errors.Is(err, ErrNotExist) {
		if err := s.bucket.Put(ctx, formatName, small([]byte(formatText)), IfAbsent); errors.Is(err, ErrRefused) {
			return s.trouble("mark the bucket", err)
		}
		text, err = s.readSmall(ctx, formatName) // whoever wrote it
	}
	if err != nil {
		return s.trouble("read the bucket's format", err)
	}
	if string(text) != formatText {
		return fmt.Errorf("%s/%s is %q and not %q: this place belongs to another version of bezoar or to something else; name another prefix or update this server",
			s.bucket.URL(), formatName, text[:min(len(text), 64)], formatText)
	}
	return nil
}

// URL names the bucket, for people.
func (s *Store) URL() string { return s.bucket.URL() }

// name returns where the entry of key lies.
func (s *Store) name(key cache.Key) string {
	return s.root + "/" + layout.FileName(string(key.Workspace)) + "/" + layout.FileName(string(key.Scope)) + "/" + layout.FileName(string(key.Hash))
}

func (s *Store) trouble(doing string, err error) error {
	return fmt.Errorf("%s in %s: %w", doing, s.bucket.URL(), err)
}

// WithBodies returns the store without [Options].Redirect, for whoever reads bodies himself.
func (s *Store) WithBodies() *Store {
	own := *s
	own.opts.Redirect = 0
	return &own
}

// maxReopened bounds how often Open looks anew because the object was replaced or deleted between its answer and its first bytes.
const maxReopened = 3

// Open returns the entry under key, [cache.ErrNotExist], or [cache.ErrDamaged]. The body is verified while it is read, and its last bytes are withheld
// until its digest fits; damage that shows then sets the entry aside, too. A body of a few bytes is verified before Open returns. One
// that breaks off is read on from there, unless the entry was replaced.
func (s *Store) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	name := s.name(key)
	if s.opts.Redirect > 0 {
		return s.openElsewhere(ctx, key, name)
	}
	for again := 1; ; again++ {
		obj, err := s.open(ctx, key, name)
		// That it never was is said with the cache's own word.
		if gone := errors.Is(err, ErrNotExist) || errors.Is(err, ErrChanged); !gone || again == maxReopened {
			return obj, err
		}
	}
}

func (s *Store) open(ctx context.Context, key cache.Key, name string) (*cache.Object, error) {
	raw := s.newReader(ctx, name)
	info, err := raw.open()
	if err != nil {
		raw.close()
		return nil, s.openError(key, err)
	}
	entry, err := s.inspect(info, key)
	if err != nil {
		raw.close()
		return nil, s.unfit(ctx, info, key, err)
	}
	plain, err := s.decrypt(raw, entry)
	if err != nil {
		raw.close()
		return nil, s.unfit(ctx, info, key, err)
	}
	body := newVerified(plain, raw, entry.Record, func(d damageError) error { return s.unfit(ctx, info, key, d) })
	if err := body.begin(); err != nil {
		raw.close()
		if errors.Is(err, cache.ErrDamaged) {
			return nil, err
		}
		return nil, s.trouble(fmt.Sprintf("open the entry %q", key), err)
	}
	return &cache.Object{
		Entry:    entry,
		Body:     body,
		Verified: true,
		SetAside: func(reason string) error { return s.setAside(ctx, info, reason) },
	}, nil
}

// decrypt returns what raw reads in its plain form.
func (s *Store) decrypt(raw *reader, entry cache.Entry) (io.Reader, error) {
	if s.cipher == nil {
		return raw, nil
	}
	text, err := layout.EncodeEntry(entry)
	if err != nil {
		return nil, err
	}
	body, err := s.cipher.Decrypt(raw, text)
	if err != nil {
		return nil, cipherError("its body", err)
	}
	return body, nil
}

// openElsewhere describes the entry and says where a client finds its body.
func (s *Store) openElsewhere(ctx context.Context, key cache.Key, name string) (*cache.Object, error) {
	info, err := s.bucket.Head(ctx, name)
	if err != nil {
		return nil, s.openError(key, err)
	}
	entry, err := s.inspect(info, key)
	if err != nil {
		return nil, s.unfit(ctx, info, key, err)
	}
	url, err := s.bucket.Presign(ctx, name, s.opts.Redirect)
	if err != nil {
		return nil, s.trouble(fmt.Sprintf("make a URL for the entry %q", key), err)
	}
	return &cache.Object{
		Entry:    entry,
		Body:     io.NopCloser(noBody{}),
		URL:      url,
		SetAside: func(reason string) error { return s.setAside(ctx, info, reason) },
	}, nil
}

// noBody is read by whoever overlooks the URL.
type noBody struct{}

func (noBody) Read([]byte) (int, error) {
	return 0, errors.New("the body of this entry is to be fetched from its URL")
}

func (s *Store) openError(key cache.Key, err error) error {
	if errors.Is(err, ErrNotExist) {
		return cache.ErrNotExist
	}
	return s.trouble(fmt.Sprintf("open the entry %q", key), err)
}

// unfit sets aside what is damaged, and returns what Open says of an object that it cannot serve.
func (s *Store) unfit(ctx context.Context, info Info, key cache.Key, err error) error {
	damage, ok := errors.AsType[damageError](err)
	if !ok {
		return s.trouble(fmt.Sprintf("open the entry %q", key), err)
	}
	if damage == noRecord {
		if err := s.keepsMeta(ctx); err != nil {
			return s.trouble(fmt.Sprintf("judge %s, which has no record beside it", info.Name), err)
		}
	}
	if err := s.setAside(ctx, info, string(damage)); err != nil {
		return s.trouble(fmt.Sprintf("set aside %s, which is damaged (%s)", info.Name, string(damage)), err)
	}
	s.log.Error("a stored entry was damaged and is set aside", "object", info.Name, "bucket", s.bucket.URL(), "reason", string(damage))
	return fmt.Errorf("%w: %s: %s", cache.ErrDamaged, info.Name, string(damage))
}

// Has reports whether there is an entry under key, without reading its body.
func (s *Store) Has(ctx context.Context, key cache.Key) (bool, error) {
	info, err := s.bucket.Head(ctx, s.name(key))
	switch {
	case errors.Is(err, ErrNotExist):
		return false, nil
	case err != nil:
		return false, s.trouble(fmt.Sprintf("look for the entry %q", key), err)
	}
	_, err = s.inspect(info, key)
	if _, damaged := errors.AsType[damageError](err); damaged {
		return false, nil // Put makes room for a new one
	}
	return true, nil
}

// Delete removes the entry under key; [cache.ErrNotExist] if there is none.
func (s *Store) Delete(ctx context.Context, key cache.Key) error {
	name := s.name(key)
	info, err := s.bucket.Head(ctx, name)
	if errors.Is(err, ErrNotExist) {
		return cache.ErrNotExist
	}
	if err == nil {
		err = s.bucket.Delete(ctx, name, info.Version)
	}
	if err != nil {
		return s.trouble(fmt.Sprintf("delete the entry %q", key), err)
	}
	return nil
}
