package keyring

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// key returns a key as it stands in a file.
func key(n byte) string { return keyText(&Secret{0xde, 0xad, n}) }

func id(n byte) string { return idOf(&Secret{0xde, 0xad, n}) }

func TestParse(t *testing.T) {
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(key(byte(i)) + "\n")
		}
		return b.String()
	}
	for _, c := range []struct {
		name, text string
		want       []string // ids
		err        string
	}{
		{"one", key(1), []string{id(1)}, ""},
		{"one with a line break", key(1) + "\n", []string{id(1)}, ""},
		{"of Windows", key(1) + "\r\n" + key(2) + "\r\n", []string{id(1), id(2)}, ""},
		{"upper case", keyPrefix + strings.ToUpper(key(1)[4:]), []string{id(1)}, ""},
		{"comments", "# ä\n\n \t\n" + key(2) + " # old\n  " + key(1) + "#x\n#" + key(3), []string{id(2), id(1)}, ""},
		{"as many as may be", many(MaxKeys), nil, ""},
		{"empty", "", nil, "there is no key in it"},
		{"comments alone", "# " + key(1) + "\n", nil, "there is no key in it"},
		{"too many", many(MaxKeys + 1), nil, "it has 17 keys, at most 16"},
		{"twice", key(1) + "\n" + key(2) + "\n# x\n" + key(1), nil, "line 4 has the key of line 1 again"},
		{"twice in another case", key(1) + "\n" + keyPrefix + strings.ToUpper(key(1)[4:]), nil, "line 2 has the key of line 1 again"},
		{"prefix missing", key(1) + "\n" + key(2)[4:], nil, "line 2 is neither a key"},
		{"prefix in upper case", "BZK_" + key(2)[4:], nil, "line 1 is neither a key"},
		{"a token", "bzr_" + key(2)[4:], nil, "line 1 is neither a key"},
		{"cut", "\n\n" + key(1)[:keyLength-1], nil, "line 3 is no key: after bzk_ it has 63 characters and not 64"},
		{"too long", key(1) + "0", nil, "it has 65 characters"},
		{"two on a line", key(1) + " " + key(2), nil, "line 1 is no key"},
		{"no hex", key(1)[:keyLength-1] + "g", nil, "something else than hexadecimal digits"},
		{"hex in another script", key(1)[:keyLength-2] + "é", nil, "something else than hexadecimal digits"},
		{"NUL", key(1) + "\n\x00", nil, "line 2 has a control character"},
		{"escape in a comment", "# \x1b[31m\n" + key(1), nil, "line 1 has a control character"},
		{"byte order mark", "\ufeff" + key(1), nil, "byte order mark"},
		{"UTF-16", "b\x00z\x00\xff", nil, "no text in UTF-8"},
		{"Latin-1", "# \xe4\n" + key(1), nil, "no text in UTF-8"},
		{"too large", strings.Repeat("#\n", maxFile) + key(1), nil, "more than 65536 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			lines, err := parse([]byte(c.text))
			if (err != nil) != (c.err != "") || err != nil && (!errors.Is(err, ErrContent) || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			if err != nil {
				wantNoSecret(t, err)
				return
			}
			var got []string
			for _, k := range keysOf(lines) {
				got = append(got, k.ID)
			}
			if c.want != nil && !cmp.Equal(c.want, got) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// wantNoSecret fails if err repeats what [key] makes.
func wantNoSecret(t *testing.T, err error) {
	t.Helper()
	if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(strings.ToLower(text), "dead") {
		t.Errorf("the error repeats the key: %s", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "#", key(1), key(1) + "\n" + key(2) + " # x\r\n", key(1) + "\n" + key(1), "bzk_", "bzk_\x00", "\ufeff" + key(1), key(1)[:20]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parse([]byte(text))
		if err != nil {
			if !errors.Is(err, ErrContent) || len(err.Error()) > 200 {
				t.Errorf("got %v", err)
			}
			return
		}
		keys := keysOf(lines)
		if len(keys) == 0 || len(keys) > MaxKeys {
			t.Errorf("got %d keys", len(keys))
		}
		var again strings.Builder
		for _, k := range keys {
			if !strings.Contains(strings.ToLower(text), keyText(k.Secret)) {
				t.Errorf("key %s is not in the text", k.ID)
			}
			again.WriteString(keyText(k.Secret) + "\n")
		}
		lines, err = parse([]byte(again.String()))
		if err != nil || !cmp.Equal(keys, keysOf(lines)) {
			t.Errorf("its keys alone: got %v, %v", lines, err)
		}
	})
}
