package fs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// reseal puts the right checksum into a file whose body has bodySize bytes.
func reseal(file []byte, bodySize int) {
	end := len(file) - 4
	binary.BigEndian.PutUint32(file[end:], checksum(file[bodySize:end]))
}

// withMeta returns a file of the given body and JSON, consistent but for what they say.
func withMeta(body []byte, meta string) []byte {
	file := append(bytes.Clone(body), meta...)
	file = append(file, footerMagic...)
	file = binary.BigEndian.AppendUint16(file, formatVersion)
	file = binary.BigEndian.AppendUint64(file, uint64(len(body)))
	file = binary.BigEndian.AppendUint32(file, uint32(len(meta)))
	file = append(file, 0, 0, 0, 0)
	reseal(file, len(body))
	return file
}

func decode(file []byte) (cache.Entry, error) {
	return decodeEntry(bytes.NewReader(file), int64(len(file)), make([]byte, tailGuess))
}

func TestDecode(t *testing.T) {
	for _, key := range []cache.Key{
		storetest.Key("1"),
		{Workspace: "web", Scope: "branch/refs/heads/ü \xff%2F", Hash: "Ab-_"},
		{Workspace: "web", Scope: cache.Scope("run/" + strings.Repeat("/", cache.MaxScopeName)), Hash: cache.Hash(strings.Repeat("A", cache.MaxHash))},
	} {
		body := storetest.Body(1, 300)
		file := whole(t, key, body)
		for _, guess := range []int{footerSize, footerSize + 1, 100, 512, tailGuess, 1 << 16} {
			got, err := decodeEntry(bytes.NewReader(file), int64(len(file)), make([]byte, guess))
			if err != nil {
				t.Fatalf("%q, with a buffer of %d bytes: %v", key, guess, err)
			}
			if diff := cmp.Diff(cache.Entry{Key: key, Record: storetest.Record(body)}, got); diff != "" {
				t.Errorf("%q (-want +got):\n%s", key, diff)
			}
		}
	}
}

// TestDecodeGolden keeps the format readable for entries that were written by earlier releases.
func TestDecodeGolden(t *testing.T) {
	const file = "hello\n" +
		`{"workspace":"default","scope":"pr%2f17","hash":"12777289511367993887","record":{"size":6,` +
		`"sha256":"5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",` +
		`"content":"0000000000000000000000000000000000000000000000000000000000000000",` +
		`"inflated":9,"members":2,"created":"2026-02-03T04:05:06.7Z","producer":{"kind":"anonymous"},` +
		`"of a later version":[1,{"x":null}]},"seal":"of a later version"}` +
		"BEZOAR\x00\x01\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x01\x90" + "\x23\x97\xeb\x6d"
	s := open(t, t.TempDir())
	key := cache.Key{Workspace: "default", Scope: "pr/17", Hash: "12777289511367993887"}
	lay(t, s, key, []byte(file))
	entry, body, err := storetest.Get(t.Context(), s, key)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != "hello\n" || entry.Record.Inflated != 9 || entry.Record.Producer.Kind != "anonymous" {
		t.Errorf("got %q, %+v", body, entry.Record)
	}
}

func TestDecodeRefuses(t *testing.T) {
	body := []byte("hello\n")
	for name, file := range map[string][]byte{
		"no JSON":              withMeta(body, ""),
		"half a JSON":          withMeta(body, `{"workspace":`),
		"two JSONs":            withMeta(body, `{}{}`),
		"nothing in the JSON":  withMeta(body, `{}`),
		"another size":         withMeta(body, `{"workspace":"w","scope":"trusted","hash":"1","record":{"size":7}}`),
		"an impossible key":    withMeta(body, `{"workspace":"../w","scope":"trusted","hash":"1","record":{"size":6}}`),
		"an impossible scope":  withMeta(body, `{"workspace":"w","scope":"%zz","hash":"1","record":{"size":6}}`),
		"an impossible digest": withMeta(body, `{"workspace":"w","scope":"trusted","hash":"1","record":{"size":6,"sha256":"12"}}`),
		"JSON beyond the bound": withMeta(body, `{"workspace":"w","scope":"trusted","hash":"1","record":{"size":6},"x":"`+
			strings.Repeat("x", layout.MaxEntry)+`"}`),
	} {
		entry, err := decode(file)
		if _, ok := errors.AsType[damageError](err); !ok {
			t.Errorf("%s: got %+v, %v, want damage", name, entry, err)
		}
	}
}

// TestEncodeRefuses keeps a record that could not be read again from being written.
func TestEncodeRefuses(t *testing.T) {
	record := storetest.Record(nil)
	record.Producer.TokenName = strings.Repeat("x", layout.MaxEntry)
	if _, err := encodeTail(cache.Entry{Key: storetest.Key("1"), Record: record}); err == nil {
		t.Error("no error")
	}
	s := open(t, t.TempDir())
	draft, err := s.Create(t.Context(), storetest.Key("1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(t.Context(), record); err == nil || isFree(err) {
		t.Errorf("commit: %v", err)
	}
	if got := names(t, s.session.dir); len(got) != 1 {
		t.Errorf("%v are left of a commit that failed", got)
	}
}

// FuzzEntry decodes files of any content. What is accepted must be consistent: its lengths add up, its key is valid,
// and it decodes the same whatever is read at once and after it was encoded again.
func FuzzEntry(f *testing.F) {
	body := storetest.Body(1, 100)
	file := whole(f, storetest.Key("12777289511367993887"), body)
	f.Add([]byte{})
	f.Add(file)
	f.Add(file[:len(file)-1])
	f.Add(file[len(body):])
	f.Add(whole(f, cache.Key{Workspace: "web", Scope: "dev/\xff%", Hash: "aB"}, nil))
	f.Add(withMeta(body, `{}`))
	f.Add(withMeta(nil, `{"workspace":"w","scope":"trusted","hash":"1","record":{"size":0,"x":1},"y":2}`))
	huge := bytes.Clone(file)
	for i := range 12 {
		huge[len(huge)-footerSize+8+i] = 0xff
	}
	reseal(huge, len(body))
	f.Add(huge)
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > footerSize+4 {
			// The fuzzer cannot guess checksums. Half of its files get the right one.
			if n := binary.BigEndian.Uint64(file[len(file)-16:]); file[0]&1 == 0 && n <= uint64(len(file)-footerSize) {
				file = bytes.Clone(file)
				reseal(file, int(n))
			}
		}
		entry, err := decode(file)
		again, errAgain := decodeEntry(bytes.NewReader(file), int64(len(file)), make([]byte, footerSize))
		if (err == nil) != (errAgain == nil) || !cmp.Equal(entry, again) {
			t.Fatalf("with a small buffer: %+v, %v; with a large one: %+v, %v", again, errAgain, entry, err)
		}
		if err != nil {
			if _, ok := errors.AsType[damageError](err); !ok && !errors.Is(err, errLater) {
				t.Fatalf("an error of reading: %v", err)
			}
			return
		}
		if entry.Record.Size < 0 || entry.Record.Size > int64(len(file)-footerSize) {
			t.Fatalf("a body of %d bytes in a file of %d", entry.Record.Size, len(file))
		}
		tail, err := encodeTail(entry)
		if err != nil {
			return // JSON that is too long when it is encoded again
		}
		second, err := decode(append(make([]byte, entry.Record.Size), tail...))
		if err != nil || !cmp.Equal(entry, second) {
			t.Fatalf("encoded again: %+v, %v; before: %+v", second, err, entry)
		}
	})
}
