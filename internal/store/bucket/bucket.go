// Package bucket keeps entries in an object storage: Amazon S3 and what speaks it, Google Cloud Storage, Azure Blob. What these have in
// common is here; each is a [Bucket] in a package of its own.
package bucket

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

// What a [Bucket] answers beside success. Any other error means trouble: of the way to it, of its own, or of the credentials.
var (
	// ErrNotExist says that there is no object of that name.
	ErrNotExist = errors.New("no such object")
	// ErrExist says that there is an object of that name already, or that one is being made right now.
	ErrExist = errors.New("the object exists already")
	// ErrChanged says that the object is not the version that was asked for.
	ErrChanged = errors.New("the object was replaced meanwhile")
	// ErrRefused says that the bucket understood and refused for reasons that trying again does not change: wrong credentials, a
	// missing permission, no such bucket, a feature that it lacks.
	ErrRefused = errors.New("the bucket refuses")
)

// Bucket is what is asked of an object storage, below one prefix. Implementations are safe for concurrent use and pass the contract
// suite in buckettest. Names are relative to the prefix, hold no "//", and none begins or ends with "/".
//
// Waiting is the caller's affair: each call ends soon after its context does. Implementations try again what is safe to try again, a few times.
type Bucket interface {
	// Head describes an object, or is [ErrNotExist].
	Head(ctx context.Context, name string) (Info, error)
	// Get opens an object from byte offset on, to its end. With a version it must be exactly that one, else it is [ErrChanged] (or
	// [ErrNotExist]). The body is read under ctx; the caller closes it. A body that breaks off ends in an error that is not [io.EOF].
	Get(ctx context.Context, name string, offset int64, version string) (Info, io.ReadCloser, error)
	// Put makes an object whole or not at all. With [IfAbsent] it is [ErrExist] if there is one, by the storage's own atomic condition,
	// for bodies of any size. After any other error, the object may exist or not: the line may have broken before the answer. The caller
	// settles that by looking at what is there.
	Put(ctx context.Context, name string, content Content, mode Mode) error
	// Delete removes an object; that there is none is no error. With a version it removes that one and no newer one, as far as the storage can.
	Delete(ctx context.Context, name, version string) error
	// List yields the objects whose names begin with prefix, in no promised order. An error ends the listing.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Presign returns a URL under which anybody can GET the object for a time, or an error if the credentials cannot make one.
	Presign(ctx context.Context, name string, ttl time.Duration) (string, error)
	// URL names bucket and prefix, for people: as in the setting, without credentials.
	URL() string
	// Close gives idle connections back.
	Close() error
}

// Info describes an object.
type Info struct {
	Name string
	// Version tells this content of the object from any other that it had or will have: an ETag, a generation.
	Version string
	Size    int64
	// Meta is what Put was given. Listings may leave it out.
	Meta string
	// HasMeta says that Meta is known: an object that others made has none, and then Meta is empty.
	HasMeta bool
	// Modified is when the object was made, by the storage's clock.
	Modified time.Time
}

// Content is what an object is made of.
type Content struct {
	// Body has Size bytes. It may be read several times and from several goroutines.
	Body io.ReaderAt
	Size int64
	// Meta is kept beside the object: ASCII letters, digits, '.', '-' and '_', at most [MaxMeta] bytes.
	Meta string
	// InParts sends the body in parts, however small it is, as is done with large ones: a start-up check tries that way as well.
	InParts bool
}

// MaxMeta bounds Content.Meta: S3 takes 2 KB for all names and values together.
const MaxMeta = 1984

// Mode says what Put does with an object of that name.
type Mode int

// The modes of Put.
const (
	// IfAbsent leaves it as it is: [ErrExist].
	IfAbsent Mode = iota
	// Replace replaces it.
	Replace
)
