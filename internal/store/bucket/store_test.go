package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/bucket/membucket"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// drafts makes a [cache.Store] of a bucket's, with drafts in memory.
type drafts struct{ *bucket.Store }

func (d drafts) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	has, err := d.Has(ctx, key)
	if err == nil && has {
		err = cache.ErrExist
	}
	if err != nil {
		return nil, err
	}
	return &draft{store: d.Store, key: key}, nil
}

type draft struct {
	store *bucket.Store
	key   cache.Key
	body  []byte
	spent bool
}

func (d *draft) Write(p []byte) (int, error) {
	if d.spent {
		return 0, errors.New("spent")
	}
	d.body = append(d.body, p...)
	return len(p), nil
}

func (d *draft) Commit(ctx context.Context, record cache.Record) error {
	if d.spent || record.Size != int64(len(d.body)) {
		d.spent = true
		return errors.New("spent, or of another size")
	}
	d.spent = true
	return d.store.Put(ctx, cache.Entry{Key: d.key, Record: record}, bytes.NewReader(d.body))
}

func (d *draft) Abort() { d.spent = true }

func open(t *testing.T, b bucket.Bucket, options bucket.Options) drafts {
	t.Helper()
	options.TempDir = t.TempDir()
	s, err := bucket.Open(t.Context(), b, options)
	if err != nil {
		t.Fatal(err)
	}
	return drafts{s}
}

func TestStore(t *testing.T) {
	for name, options := range map[string]struct {
		listed bool
		cipher bucket.Cipher
	}{"listings without records": {}, "listings with records": {listed: true}, "encrypted": {cipher: &cipher{}}} {
		t.Run(name, func(t *testing.T) {
			var buckets = map[cache.Store]bucket.Bucket{}
			storetest.Run(t, func(t *testing.T) cache.Store {
				b := membucket.New()
				b.Listed = options.listed
				s := open(t, b, bucket.Options{Cipher: options.cipher})
				buckets[s] = b
				return s
			}, storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store {
				return open(t, buckets[first], bucket.Options{Cipher: options.cipher})
			}), storetest.Abilities())
		})
	}
}

// cipher is none, but fails where it should.
type cipher struct{}

func (*cipher) SealMeta(name string, text []byte) ([]byte, error) {
	return append([]byte(name+"\n"), text...), nil
}

func (*cipher) OpenMeta(name string, sealed []byte) ([]byte, error) {
	text, ok := bytes.CutPrefix(sealed, []byte(name+"\n"))
	if !ok {
		return nil, fmt.Errorf("%w: another name", bucket.ErrBroken)
	}
	return text, nil
}

func (*cipher) Encrypt(w io.Writer, body io.Reader, context []byte) error {
	_, err := io.Copy(w, io.MultiReader(strings.NewReader("12345678"), body))
	return err
}

func (*cipher) Decrypt(r io.Reader, context []byte) (io.Reader, error) {
	head := make([]byte, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if string(head) != "12345678" {
		return nil, bucket.ErrBroken
	}
	return r, nil
}

func (*cipher) Size(size int64) int64 { return size + 8 }

var (
	key  = storetest.Key("1")
	name = "entries/default/trusted/1"
)

func mustPut(t *testing.T, s cache.Store, key cache.Key, body []byte) {
	t.Helper()
	if err := storetest.Put(t.Context(), s, key, body); err != nil {
		t.Fatal(err)
	}
}

// TestALostAnswerIsSettled: a write whose answer was lost is found to be ours, another's, or not done.
func TestALostAnswerIsSettled(t *testing.T) {
	lost := errors.New("connection reset by peer")
	for what, c := range map[string]struct {
		fault func(op string, puts int) error
		there bool
		want  error
		gone  bool
	}{
		"done, the answer lost": {fault: func(op string, _ int) error { return only(op, "answered", lost) }},
		"done, told that it exists": {fault: func(op string, _ int) error {
			return only(op, "answered", bucket.ErrExist)
		}},
		"another's, the answer lost":     {fault: func(op string, _ int) error { return only(op, "put", lost) }, there: true, want: cache.ErrExist},
		"not done, the line lost":        {fault: func(op string, _ int) error { return only(op, "put", lost) }, want: lost, gone: true},
		"said to exist, and is not":      {fault: func(op string, puts int) error { return only(op, "put", either(puts == 1, bucket.ErrExist)) }},
		"said to exist always":           {fault: func(op string, _ int) error { return only(op, "put", bucket.ErrExist) }, want: bucket.ErrExist, gone: true},
		"refused":                        {fault: func(op string, _ int) error { return only(op, "put", bucket.ErrRefused) }, want: bucket.ErrRefused, gone: true},
		"not to be learned what it came": {fault: func(op string, _ int) error { return errors.Join(only(op, "answered", lost), only(op, "head", lost)) }, want: lost},
	} {
		t.Run(what, func(t *testing.T) {
			b := membucket.New()
			s := open(t, b, bucket.Options{})
			if c.there {
				mustPut(t, s, key, []byte("another's"))
			}
			puts := 0
			b.Fault = func(op, _ string) error {
				if op == "put" {
					puts++
				}
				return c.fault(op, puts)
			}
			body := []byte("mine")
			err := s.Put(t.Context(), cache.Entry{Key: key, Record: storetest.Record(body)}, bytes.NewReader(body))
			if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			b.Fault = nil
			_, got, err := storetest.Get(t.Context(), s, key)
			switch {
			case c.gone && !errors.Is(err, cache.ErrNotExist):
				t.Errorf("there is %q, %v", got, err)
			case !c.gone && c.there && string(got) != "another's", !c.gone && !c.there && string(got) != "mine":
				t.Errorf("there is %q, %v", got, err)
			}
		})
	}
}

func only(op, want string, err error) error {
	if op == want {
		return err
	}
	return nil
}

func either(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

// TestAClientThatLeaves: what it has uploaded is settled all the same.
func TestAClientThatLeaves(t *testing.T) {
	b := membucket.New()
	s := open(t, b, bucket.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	b.Fault = func(op, _ string) error {
		if op == "answered" {
			cancel()
			return context.Canceled
		}
		return nil
	}
	if err := s.Put(ctx, cache.Entry{Key: key, Record: storetest.Record([]byte("x"))}, strings.NewReader("x")); err != nil {
		t.Errorf("got %v, though it is there", err)
	}
}

// TestABodyThatBreaksOffGoesOn reads on from where the line broke, on the same version.
func TestABodyThatBreaksOffGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := storetest.Body(1, 300_000)
		b := membucket.New()
		s := open(t, b, bucket.Options{})
		mustPut(t, s, key, body)
		var offsets []int64
		broke := errors.New("connection reset by peer")
		b.Body = func(_ string, offset int64, r io.Reader) io.Reader {
			offsets = append(offsets, offset)
			end := map[int]error{1: broke, 2: io.EOF, 3: nil}[len(offsets)] // the third hangs
			if len(offsets) > 3 {
				return r
			}
			if end == nil {
				return io.MultiReader(io.LimitReader(r, 50_000), hang{})
			}
			return io.MultiReader(io.LimitReader(r, 50_000), iotest.ErrReader(end))
		}
		_, got, err := storetest.Get(t.Context(), s, key)
		if err != nil || !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes, %v", len(got), err)
		}
		if want := []int64{0, 50_000, 100_000, 150_000}; fmt.Sprint(offsets) != fmt.Sprint(want) {
			t.Errorf("read from %v, want %v", offsets, want)
		}
	})
}

// hang is a line on which no byte comes for longer than anybody waits.
type hang struct{}

func (hang) Read([]byte) (int, error) {
	<-time.After(bucket.DefaultStall + time.Second)
	return 0, errors.New("read tcp: use of closed network connection")
}

// silent is a bucket that takes requests for bodies and does not answer.
type silent struct{ bucket.Bucket }

func (silent) Get(ctx context.Context, _ string, _ int64, _ string) (bucket.Info, io.ReadCloser, error) {
	<-ctx.Done()
	return bucket.Info{}, nil, fmt.Errorf("get: %w", ctx.Err())
}

// TestNoAnswer: whoever asks without a deadline of his own, as a download does that many share, does not wait for ever, and is not told that he gave up.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := membucket.New()
		open(t, b, bucket.Options{})
		s := open(t, readable{silent{b}, b}, bucket.Options{})
		began := time.Now()
		_, err := s.Open(t.Context(), storetest.Key("1"))
		if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, cache.ErrNotExist) || !strings.Contains(err.Error(), "no answer") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != bucket.DefaultStall {
			t.Errorf("it took %s", took)
		}
	})
}

// readable lets the format of a bucket be read, and nothing else.
type readable struct {
	bucket.Bucket
	format bucket.Bucket
}

func (r readable) Get(ctx context.Context, name string, offset int64, version string) (bucket.Info, io.ReadCloser, error) {
	if name == "FORMAT" {
		return r.format.Get(ctx, name, offset, version)
	}
	return r.Bucket.Get(ctx, name, offset, version)
}

// TestABodyThatCannotGoOn ends in an error that is neither damage nor an end.
func TestABodyThatCannotGoOn(t *testing.T) {
	for what, after := range map[string]func(b *membucket.Bucket){
		"the bucket fails": func(b *membucket.Bucket) { b.Fault = func(string, string) error { return errors.New("503") } },
		"the lines break":  func(*membucket.Bucket) {},
		"replaced": func(b *membucket.Bucket) {
			b.Edit(name, func(body []byte, meta string) ([]byte, string) { return body, meta })
		},
		"deleted": func(b *membucket.Bucket) {
			b.Edit(name, func([]byte, string) ([]byte, string) { return nil, "" })
		},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := membucket.New()
				s := open(t, b, bucket.Options{})
				mustPut(t, s, key, storetest.Body(1, 300_000))
				b.Body = func(_ string, offset int64, r io.Reader) io.Reader {
					if offset > 0 {
						return iotest.ErrReader(io.EOF)
					}
					return io.LimitReader(r, 100_000)
				}
				obj, err := s.Open(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				defer obj.Close()
				if _, err := io.CopyN(io.Discard, obj.Body, 50_000); err != nil {
					t.Fatal(err)
				}
				after(b)
				n, err := io.Copy(io.Discard, obj.Body)
				if err == nil || errors.Is(err, cache.ErrDamaged) || errors.Is(err, io.ErrUnexpectedEOF) || n > 50_000 {
					t.Errorf("got %d bytes more, %v", n, err)
				}
			})
		})
	}
}

// drip gives a hundred bytes a second.
type drip struct{ io.Reader }

func (d drip) Read(p []byte) (int, error) {
	<-time.After(time.Second)
	return d.Reader.Read(p[:min(len(p), 100)])
}

// TestALineThatDrips is left for another one; if all of them do, the body ends in an error, and not after hours.
func TestALineThatDrips(t *testing.T) {
	body := storetest.Body(1, 300_000)
	for _, all := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := membucket.New()
			s := open(t, b, bucket.Options{MinRate: 1024})
			mustPut(t, s, key, body)
			b.Body = func(_ string, offset int64, r io.Reader) io.Reader {
				if offset == 0 || all {
					return drip{r}
				}
				return r
			}
			begun := time.Now()
			obj, err := s.Open(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			got, err := io.ReadAll(obj.Body)
			switch took := time.Since(begun); {
			case took > 3*bucket.DefaultStall: // a build waits for it
				t.Errorf("it took %s", took)
			case !all && (err != nil || !bytes.Equal(got, body)):
				t.Errorf("with one line that drips: %d bytes, %v", len(got), err)
			case all && (err == nil || errors.Is(err, cache.ErrDamaged) || len(got) == len(body)):
				t.Errorf("with lines that all drip: %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestDamage: what is no whole entry of its key is never read to its end, is set aside, and the key can be used anew.
func TestDamage(t *testing.T) {
	body := storetest.Body(1, 100_000)
	for what, edit := range map[string]func(body []byte, meta string) ([]byte, string){
		"a bit flipped at the beginning": func(b []byte, m string) ([]byte, string) { b[0] ^= 1; return b, m },
		"a bit flipped at the end":       func(b []byte, m string) ([]byte, string) { b[len(b)-1] ^= 1; return b, m },
		"cut":                            func(b []byte, m string) ([]byte, string) { return b[:len(b)-1], m },
		"emptied":                        func(b []byte, m string) ([]byte, string) { return []byte{}, m },
		"longer":                         func(b []byte, m string) ([]byte, string) { return append(b, 0), m },
		"without a record":               func(b []byte, m string) ([]byte, string) { return b, "" },
		"with a record that is none":     func(b []byte, m string) ([]byte, string) { return b, "1.x.AAAA" },
		"with a record of no form":       func(b []byte, m string) ([]byte, string) { return b, "x" },
		"of another form":                func(b []byte, m string) ([]byte, string) { return b, "2" + m[1:] },
		"with a cut record":              func(b []byte, m string) ([]byte, string) { return b, m[:len(m)-5] },
	} {
		for _, size := range []int{100_000, 1000} {
			t.Run(fmt.Sprint(what, " of ", size), func(t *testing.T) {
				b := membucket.New()
				var log bytes.Buffer
				s := open(t, b, bucket.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				mustPut(t, s, key, body[:size])
				b.Edit(name, edit)
				obj, err := s.Open(t.Context(), key)
				if err == nil {
					var got []byte
					got, err = io.ReadAll(obj.Body)
					if len(got) >= size || size == 1000 { // of a small one, nothing is even opened
						t.Errorf("read %d bytes", len(got))
					}
					obj.Close()
				}
				if !errors.Is(err, cache.ErrDamaged) {
					t.Fatalf("got %v, want ErrDamaged", err)
				}
				if strings.Count(log.String(), "level=ERROR") != 1 {
					t.Errorf("the log says:\n%s", &log)
				}
				if names := fmt.Sprint(b.Names()); !strings.Contains(names, "damaged/") || strings.Contains(names, name) {
					t.Errorf("there is %s", names)
				}
				mustPut(t, s, key, []byte("anew"))
			})
		}
	}
}

// TestDamageGivesWay: an upload replaces what is no whole entry.
func TestDamageGivesWay(t *testing.T) {
	b := membucket.New()
	s := open(t, b, bucket.Options{})
	b.Edit(name, func([]byte, string) ([]byte, string) { return []byte("foreign"), "" })
	mustPut(t, s, key, []byte("mine"))
	if _, got, err := storetest.Get(t.Context(), s, key); err != nil || string(got) != "mine" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestLaterForm: what a later release wrote is no damage.
func TestLaterForm(t *testing.T) {
	b := membucket.New()
	s := open(t, b, bucket.Options{})
	mustPut(t, s, key, []byte("mine"))
	b.Edit(name, func(body []byte, meta string) ([]byte, string) { return body, "3" + meta[1:] })
	if _, err := s.Open(t.Context(), key); err == nil || errors.Is(err, cache.ErrDamaged) || errors.Is(err, cache.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := storetest.Put(t.Context(), s, key, []byte("x")); !errors.Is(err, cache.ErrExist) {
		t.Errorf("put: got %v", err)
	}
}

// TestKeptDamageIsBounded keeps the newest few.
func TestKeptDamageIsBounded(t *testing.T) {
	b := membucket.New()
	s := open(t, b, bucket.Options{KeepDamaged: 3})
	for range 6 {
		b.Edit(name, func([]byte, string) ([]byte, string) { return []byte("foreign"), "" })
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Fatal(err)
		}
	}
	kept := 0
	for _, name := range b.Names() {
		if strings.HasPrefix(name, "damaged/") {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("kept %d", kept)
	}
}

func TestRedirect(t *testing.T) {
	b := membucket.New()
	s := open(t, b, bucket.Options{Redirect: time.Minute})
	mustPut(t, s, key, []byte("mine"))
	gets := b.Calls("get")
	obj, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	if obj.URL != "https://bucket.example.com/"+name+"?for=1m0s" || b.Calls("get") != gets {
		t.Errorf("got %q", obj.URL)
	}
	if _, err := obj.Body.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the body: %v", err)
	}
	b.Edit(name, func([]byte, string) ([]byte, string) { return []byte("cut"), "" })
	if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
		t.Errorf("damaged: %v", err)
	}
}

func TestForeignFormatIsRefused(t *testing.T) {
	b := membucket.New()
	b.Edit("FORMAT", func([]byte, string) ([]byte, string) { return []byte("bezoar-bucket 2\n"), "" })
	if _, err := bucket.Open(t.Context(), b, bucket.Options{}); err == nil || !strings.Contains(err.Error(), "another version") {
		t.Errorf("got %v", err)
	}
}

// TestCheck finds what a bucket cannot do, and leaves nothing behind.
func TestCheck(t *testing.T) {
	b := membucket.New()
	if err := bucket.Check(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"put", "get", "head", "list", "delete"} {
		var broken atomic.Bool
		broken.Store(true)
		b := membucket.New()
		b.Edit("x", func([]byte, string) ([]byte, string) { return []byte("x"), "" })
		b.Fault = func(o, _ string) error { return only(o, op, bucket.ErrRefused) }
		err := bucket.Check(t.Context(), b)
		if !errors.Is(err, bucket.ErrRefused) || !strings.Contains(err.Error(), "mem://bucket") {
			t.Errorf("%s: got %v", op, err)
		}
	}
	if names := b.Names(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
	for what, wrong := range map[string]bucket.Bucket{"always": &forgetful{Bucket: membucket.New()}, "in parts": &forgetful{Bucket: membucket.New(), partsOnly: true}} {
		if err := bucket.Check(t.Context(), wrong); !errors.Is(err, bucket.ErrNotOnce) {
			t.Errorf("a bucket that overwrites %s: got %v", what, err)
		}
	}
}

// forgetful does not honour conditions.
type forgetful struct {
	*membucket.Bucket
	partsOnly bool
}

func (f *forgetful) Put(ctx context.Context, name string, content bucket.Content, mode bucket.Mode) error {
	if !f.partsOnly || content.InParts {
		mode = bucket.Replace
	}
	return f.Bucket.Put(ctx, name, content, mode)
}

// TestLongNamesFit: the longest names that GitHub allows, of letters that do not compress.
func TestLongNamesFit(t *testing.T) {
	random := func(seed uint64, n int) string {
		const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		text := storetest.Body(seed, n)
		for i := range text {
			text[i] = letters[text[i]&63]
		}
		return string(text)
	}
	s := open(t, membucket.New(), bucket.Options{})
	branch, repo := random(1, 244), random(2, 39)+"/"+random(3, 100)
	ref := "refs/heads/" + branch
	record := storetest.Record([]byte("x"))
	p := &record.Producer
	p.Ref, p.Repository, p.Subject = ref, repo, "repo:"+repo+":ref:"+ref
	p.WorkflowRef = repo + "/.github/workflows/" + random(4, 100) + ".yml@" + ref
	p.Actor, p.Job, p.Session, p.Commit = random(5, 39), random(6, 100), random(7, 26), fmt.Sprintf("%x", storetest.Body(8, 20))
	record.Seal = "v1.0123456789ab." + random(9, 43)
	entry := cache.Entry{Key: cache.Key{Workspace: "web", Scope: cache.Scope("branch/" + ref), Hash: "12777289511367993887"}, Record: record}
	if err := s.Put(t.Context(), entry, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	entry.Record.Producer.Subject = random(10, 4000)
	entry.Key.Hash = "2"
	if err := s.Put(t.Context(), entry, strings.NewReader("x")); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("got %v", err)
	}
}

// TestLook shows what is there, and changes nothing.
func TestLook(t *testing.T) {
	for _, c := range []bucket.Cipher{nil, &cipher{}} {
		b := membucket.New()
		s := open(t, b, bucket.Options{Cipher: c})
		body := storetest.Body(1, 100_000)
		mustPut(t, s, key, body)
		other := cache.Key{Workspace: key.Workspace, Scope: "pr/1", Hash: key.Hash}
		mustPut(t, s, other, []byte("another"))
		look := func() *bucket.Finding {
			t.Helper()
			found, err := s.Look(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(found.Close)
			return found
		}
		found := look()
		if got, err := io.ReadAll(found.Body); err != nil || !bytes.Equal(got, body) || found.Key != key || found.Damage != nil {
			t.Errorf("got %d bytes of %q, %v, %v", len(got), found.Key, err, found.Damage)
		}
		b.Edit(found.Name, func(body []byte, meta string) ([]byte, string) { body[50_000] ^= 1; return body, meta })
		before := fmt.Sprint(b.Names())
		if found := look(); found.Damage == nil || found.Body != nil || found.Key != key {
			t.Errorf("damaged: got %+v", found)
		}
		if after := fmt.Sprint(b.Names()); after != before {
			t.Errorf("there was %s, and is %s", before, after)
		}
		if _, err := s.Look(t.Context(), storetest.Key("2")); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("of nothing: %v", err)
		}
		scopes, err := s.Scopes(t.Context(), key.Workspace, key.Hash, 10)
		if err != nil || fmt.Sprint(scopes) != "[pr/1 trusted]" {
			t.Errorf("scopes: %v, %v", scopes, err)
		}
	}
}

// TestGoneBeforeItsFirstBytes: an entry that is deleted or replaced between the answer and its body is a miss, or the newer one.
func TestGoneBeforeItsFirstBytes(t *testing.T) {
	for what, newer := range map[string][]byte{"deleted": nil, "replaced": []byte("newer")} {
		b := membucket.New()
		s := open(t, b, bucket.Options{})
		mustPut(t, s, key, []byte("older"))
		b.Body = func(_ string, _ int64, r io.Reader) io.Reader {
			b.Body = nil
			return &once{do: func() {
				if err := s.Delete(t.Context(), key); err != nil {
					t.Error(err)
				}
				if newer != nil {
					mustPut(t, s, key, newer)
				}
			}}
		}
		_, got, err := storetest.Get(t.Context(), s, key)
		if newer == nil && !errors.Is(err, cache.ErrNotExist) || newer != nil && !bytes.Equal(got, newer) {
			t.Errorf("%s: got %q, %v", what, got, err)
		}
	}
}

// once does something and breaks off.
type once struct{ do func() }

func (o *once) Read([]byte) (int, error) {
	o.do()
	return 0, errors.New("connection reset by peer")
}
