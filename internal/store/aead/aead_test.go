package aead

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	keys    = ring(1)
	context = []byte("key and record")
)

// ring returns the keys of a ring of secrets that end in these numbers.
func ring(secrets ...byte) keyring.Keys {
	all := make([][32]byte, len(secrets))
	for i, n := range secrets {
		all[i] = [32]byte{31: n}
	}
	return keyring.New(all...).Derive("aead")
}

func testCipher(tb testing.TB, secrets ...byte) *Cipher {
	tb.Helper()
	c, err := New(ring(secrets...))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

const name = "sealed/web/trusted/12777289511367993887"

func TestMeta(t *testing.T) {
	c := testCipher(t, 1)
	for _, text := range []string{"", "a", strings.Repeat("a record", 200)} {
		sealed, err := c.SealMeta(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(text)+35 || len(text) > 8 && bytes.Contains(sealed, []byte(text[:8])) {
			t.Errorf("%q: got %d bytes: %x", text, len(sealed), sealed)
		}
		if KeyID(sealed) != ring(1)[0].ID {
			t.Errorf("it names the key %q", KeyID(sealed))
		}
		if got, err := c.OpenMeta(name, sealed); err != nil || string(got) != text {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
		again, err := c.SealMeta(name, []byte(text))
		if err != nil || bytes.Equal(sealed, again) {
			t.Errorf("twice the same, %v", err)
		}
		for _, other := range []string{"", name[1:], name + "0", strings.ToUpper(name)} {
			if got, err := c.OpenMeta(other, sealed); !errors.Is(err, bucket.ErrBroken) || got != nil {
				t.Errorf("under the name %q: got %q, %v", other, got, err)
			}
		}
	}
}

// TestChangedMeta: every bit, every cut and every addition shows.
func TestChangedMeta(t *testing.T) {
	c := testCipher(t, 1)
	sealed, err := c.SealMeta(name, []byte("a record"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 * len(sealed) {
		changed := bytes.Clone(sealed)
		changed[i/8] ^= 1 << (i % 8)
		text, err := c.OpenMeta(name, changed)
		if want := wantOf(changed); !errors.Is(err, want) || text != nil {
			t.Errorf("bit %d: got %q, %v, want %v", i, text, err, want)
		}
	}
	for n := range sealed {
		if _, err := c.OpenMeta(name, sealed[:n]); !errors.Is(err, bucket.ErrBroken) {
			t.Errorf("cut to %d bytes: got %v", n, err)
		}
	}
	if _, err := c.OpenMeta(name, append(sealed, 0)); !errors.Is(err, bucket.ErrBroken) {
		t.Errorf("with a byte more: got %v", err)
	}
}

func TestRotation(t *testing.T) {
	before, overlap, after := testCipher(t, 1), testCipher(t, 2, 1), testCipher(t, 2)
	body := []byte("a body")
	for _, c := range []struct {
		by     *Cipher
		id     string
		opened []*Cipher
		not    []*Cipher
	}{
		{before, ring(1)[0].ID, []*Cipher{before, overlap}, []*Cipher{after}},
		{overlap, ring(2)[0].ID, []*Cipher{overlap, after}, []*Cipher{before}},
	} {
		meta, err := c.by.SealMeta(name, body)
		if err != nil {
			t.Fatal(err)
		}
		sealed := encrypt(t, c.by, body)
		if KeyID(meta) != c.id || KeyID(sealed) != c.id {
			t.Errorf("they name the keys %q and %q, want %q", KeyID(meta), KeyID(sealed), c.id)
		}
		for _, other := range c.opened {
			text, err := other.OpenMeta(name, meta)
			got, errBody := decrypt(other, sealed, context)
			if err != nil || errBody != nil || !bytes.Equal(text, body) || !bytes.Equal(got, body) {
				t.Errorf("got %q, %v and %q, %v", text, err, got, errBody)
			}
		}
		for _, other := range c.not {
			_, err := other.OpenMeta(name, meta)
			_, errBody := decrypt(other, sealed, context)
			for _, err := range []error{err, errBody} {
				if !errors.Is(err, ErrUnknownKey) || errors.Is(err, bucket.ErrBroken) || !strings.Contains(err.Error(), c.id) {
					t.Errorf("without the key: got %v", err)
				}
			}
		}
	}
}

// TestKeysDoNotMix: neither the same secret for another purpose nor a record in the place of a body is any good.
func TestKeysDoNotMix(t *testing.T) {
	c := testCipher(t, 1)
	seal, err := New(keyring.New([32]byte{31: 1}).Derive("seal"))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := c.SealMeta(name, bytes.Repeat([]byte{tinkHeadSize}, 100))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.OpenMeta(name, meta); !errors.Is(err, bucket.ErrBroken) {
		t.Errorf("with the key of another purpose: got %v", err)
	}
	body := encrypt(t, c, []byte("a body"))
	if _, err := decrypt(seal, body, context); !errors.Is(err, bucket.ErrBroken) {
		t.Errorf("with the key of another purpose: got %v", err)
	}
	if _, err := decrypt(c, meta, []byte(name)); !errors.Is(err, bucket.ErrBroken) {
		t.Errorf("a record as a body: got %v", err)
	}
	if _, err := c.OpenMeta(string(context), body); !errors.Is(err, bucket.ErrBroken) {
		t.Errorf("a body as a record: got %v", err)
	}
}

func TestUnusableKeys(t *testing.T) {
	for _, keys := range []keyring.Keys{nil, {{ID: "", Secret: keys[0].Secret}}, {{ID: "0123456789zz", Secret: keys[0].Secret}}} {
		if _, err := New(keys); err == nil {
			t.Errorf("%v were taken", keys)
		}
	}
}

// TestSecretsAreNotPrinted, whatever prints a cipher.
func TestSecretsAreNotPrinted(t *testing.T) {
	c := testCipher(t, 1)
	for _, format := range []string{"%v", "%+v", "%#v", "%x", "%d", "%s"} {
		text := fmt.Sprintf(format, c) + fmt.Sprintf(format, struct{ hidden any }{c})
		for _, secret := range []*keyring.Secret{keys[0].Secret, c.keys[0].meta, c.keys[0].body} {
			for _, form := range []string{string(secret[:8:8]), hex.EncodeToString(secret[:8]), strings.Trim(fmt.Sprintf("%d", secret[:8]), "[]")} {
				if strings.Contains(text, form) {
					t.Errorf("%s shows %q: %s", format, form, text)
				}
			}
		}
	}
}

// TestGoldens: what was encrypted once must decrypt for ever.
func TestGoldens(t *testing.T) {
	c := testCipher(t, 9, 1)
	meta := golden(t, "meta_v1.hex")
	if text, err := c.OpenMeta(name, meta); err != nil || string(text) != "the record of a golden" {
		t.Errorf("the record: got %q, %v", text, err)
	}
	small := golden(t, "small_v1.hex")
	if body, err := decrypt(c, small, context); err != nil || string(body) != "the body of a golden" {
		t.Errorf("the small body: got %q, %v", body, err)
	}
	long, err := os.ReadFile("testdata/long_v1.bin") // three segments
	if err != nil {
		t.Fatal(err)
	}
	body, err := decrypt(c, long, context)
	if err != nil || len(body) != 140_000 || sha256.Sum256(body) != sha256.Sum256(bytes.Repeat([]byte("golden "), 20_000)) {
		t.Errorf("the long body: got %d bytes, %v", len(body), err)
	}
}

func golden(tb testing.TB, file string) []byte {
	tb.Helper()
	text, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	data, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func FuzzOpenMeta(f *testing.F) {
	c := testCipher(f, 1)
	sealed := golden(f, "meta_v1.hex") // each process that fuzzes has the same
	for _, seed := range [][]byte{nil, {1}, {2}, sealed, sealed[:30], append(bytes.Clone(sealed), 0)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, err := c.OpenMeta(name, data)
		if (err == nil) != bytes.Equal(data, sealed) {
			t.Errorf("got %q, %v", text, err)
		}
		if err != nil && !errors.Is(err, bucket.ErrBroken) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrLater) {
			t.Errorf("got %v", err)
		}
	})
}
