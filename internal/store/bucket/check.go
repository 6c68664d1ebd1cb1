package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

// Check tries on an object of its own all that a server will do with the bucket, so that a bucket that cannot serve is told of at the start, and
// above all one that lets an object take the place of another: there, entries would not be written once.
func Check(ctx context.Context, b Bucket) error {
	c := &checker{bucket: b, name: "check/" + rand.Text()}
	defer c.clean(ctx)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"write an object", c.write},
		{"write an object once only", func(ctx context.Context) error { return c.writeAgain(ctx, false) }},
		{"write an object once only, in parts", func(ctx context.Context) error { return c.writeAgain(ctx, true) }},
		{"read an object", c.read},
		{"read an object from the middle on", c.readOn},
		{"describe an object", c.describe},
		{"list objects", c.list},
		{"delete an object", c.delete},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("the bucket %s cannot be used: trying to %s: %w", b.URL(), step.what, err)
		}
	}
	return nil
}

// ErrNotOnce says that the bucket does not honour the condition of a write.
var ErrNotOnce = errors.New("it let one object take the place of another, though it was told not to (If-None-Match: *, ifGenerationMatch=0): " +
	"entries would not be written once, so anybody who may write could replace what others read; use a storage that honours conditional writes, or a later version of it")

type checker struct {
	bucket Bucket
	name   string
}

var (
	checkText = []byte("bezoar was here: the first")
	otherText = []byte("bezoar was here: another one")
)

const checkMeta = "1.check.AZaz09-_"

func (c *checker) write(ctx context.Context) error {
	content := small(checkText)
	content.Meta = checkMeta
	return c.bucket.Put(ctx, c.name, content, IfAbsent)
}

func (c *checker) writeAgain(ctx context.Context, inParts bool) error {
	content := small(otherText)
	content.InParts = inParts
	err := c.bucket.Put(ctx, c.name, content, IfAbsent)
	if errors.Is(err, ErrRefused) {
		return err
	}
	// Losers may see a broken line: what counts is what is there.
	text, errRead := c.get(ctx, 0)
	switch {
	case errRead != nil:
		return errRead
	case !bytes.Equal(text, checkText):
		return ErrNotOnce
	case err == nil:
		return fmt.Errorf("it said that it had written, and had not: %w", ErrNotOnce)
	}
	return nil
}

func (c *checker) get(ctx context.Context, offset int64) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, body, err := c.bucket.Get(ctx, c.name, offset, "")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, 1<<10))
}

func (c *checker) read(ctx context.Context) error {
	text, err := c.get(ctx, 0)
	return c.same(err, "what was read", text, checkText)
}

func (c *checker) readOn(ctx context.Context) error {
	text, err := c.get(ctx, 7)
	return c.same(err, "what was read from byte 7 on", text, checkText[7:])
}

func (c *checker) same(err error, what string, got, want []byte) error {
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("%s is %q and not %q: something between here and the bucket changes what passes", what, got, want)
	}
	return err
}

func (c *checker) describe(ctx context.Context) error {
	info, err := c.bucket.Head(ctx, c.name)
	switch {
	case err != nil:
		return err
	case info.Size != int64(len(checkText)) || info.Version == "":
		return fmt.Errorf("it says that the object has %d bytes and the version %q", info.Size, info.Version)
	case !info.HasMeta || info.Meta != checkMeta:
		return errors.New("the object's metadata is lost: entries keep their records there")
	}
	return nil
}

func (c *checker) list(ctx context.Context) error {
	for info, err := range c.bucket.List(ctx, c.name) {
		if err != nil {
			return err
		}
		if info.Name == c.name {
			return nil
		}
	}
	return errors.New("the object that was just written is not listed")
}

func (c *checker) delete(ctx context.Context) error {
	if err := c.bucket.Delete(ctx, c.name, ""); err != nil {
		return err
	}
	if _, err := c.bucket.Head(ctx, c.name); !errors.Is(err, ErrNotExist) {
		return fmt.Errorf("the object is there still (%w)", cmpErr(err))
	}
	return nil
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// clean leaves nothing behind, also when a step failed or ctx ended.
func (c *checker) clean(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = c.bucket.Delete(ctx, c.name, "") // what could not be deleted was said already
}
