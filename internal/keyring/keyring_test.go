package keyring_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/keyring"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDerivedForm pins what keys are made of: were it to change, a server would not know its own seals any more.
func TestDerivedForm(t *testing.T) {
	ring := keyring.New([32]byte{1}, [32]byte{2}, [32]byte{1})
	if diff := cmp.Diff([]string{"22cca6cbc352", "f132d5d2e717"}, ring.IDs()); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	got := make(map[string]string)
	for _, purpose := range []string{"seal", "session"} {
		key := ring.Derive(purpose).Active()
		got[purpose] = key.ID + " " + hex.EncodeToString(key.Secret[:])
	}
	if diff := cmp.Diff(map[string]string{
		"seal":    "22cca6cbc352 c7debef1ee1dd74f9ef9ed828de9623c40ee4fde0a60beb90a815e0179c8f6ec",
		"session": "22cca6cbc352 3b4f54fce3a13694110df160e9d9253fe61be8b0d10097b8256dd737db48ca5b",
	}, got); diff != "" {
		t.Errorf("derived keys (-want +got):\n%s", diff)
	}
}

func TestKeysOfPurposesDiffer(t *testing.T) {
	ring := keyring.New([32]byte{1}, [32]byte{2})
	seen := make(map[keyring.Secret]string)
	for _, purpose := range []string{"", "seal", "session", "seal "} {
		for i, key := range ring.Derive(purpose) {
			if key.ID != ring.IDs()[i] {
				t.Errorf("key %d for %q is called %s", i, purpose, key.ID)
			}
			what := fmt.Sprintf("key %d for %q", i, purpose)
			if other, known := seen[*key.Secret]; known {
				t.Errorf("%s is %s", what, other)
			}
			seen[*key.Secret] = what
			if *key.Secret == [32]byte{byte(i + 1)} {
				t.Errorf("%s is the secret itself", what)
			}
		}
	}
}

func TestFind(t *testing.T) {
	keys := keyring.New([32]byte{1}, [32]byte{2}).Derive("seal")
	if got, ok := keys.Find(keys[1].ID); !ok || got != keys[1] {
		t.Errorf("got %v, %v", got, ok)
	}
	if _, ok := keys.Find(""); ok {
		t.Error("the empty id names a key")
	}
	if keys.Active() != keys[0] {
		t.Error("the active key is not the first")
	}
}

// TestSecretsInOutputs looks for the secret in all forms of what holds it.
func TestSecretsInOutputs(t *testing.T) {
	plain := [32]byte(bytes.Repeat([]byte("hunter2!"), 4))
	ring := keyring.New(plain, [32]byte{2})
	keys := ring.Derive("seal")
	secrets := []keyring.Secret{plain, *keys[0].Secret}
	type private struct {
		ring *keyring.Ring
		r    keyring.Ring
		keys keyring.Keys
		key  keyring.Key
		s    *keyring.Secret
	}
	var out bytes.Buffer
	all := []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%U", "%t"}
	// Fields that fmt may not call methods of: with a verb that fits no pointer, which vet refuses, it follows pointers all the same.
	fit := []string{"%v", "%+v", "%#v", "%x", "%X", "%d", "%o", "%b"}
	for _, c := range []struct {
		thing any
		verbs []string
	}{
		{keys, all}, {keys[0], all}, {&keys[0], all}, {keys[0].Secret, all}, {*keys[0].Secret, all}, {&secrets[0], all},
		{struct{ K keyring.Keys }{keys}, all}, {map[string]any{"k": keys}, all},
		{ring, fit}, {*ring, fit}, {[]*keyring.Ring{ring}, fit},
		{private{ring, *ring, keys, keys[0], keys[0].Secret}, fit}, {&private{ring, *ring, keys, keys[0], keys[0].Secret}, fit},
	} {
		thing := c.thing
		for _, verb := range c.verbs {
			fmt.Fprintf(&out, verb+"\n", thing)
		}
		fmt.Fprintln(&out, thing)
		if err := json.NewEncoder(&out).Encode(thing); err != nil {
			t.Fatal(err)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info("x", "thing", thing)
		}
	}
	text := out.String()
	for _, secret := range secrets {
		part := secret[:8]
		forms := []string{string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part))}
		for _, verb := range []string{"%d", "%v", "%o", "%b", "%#v", "%U", "%x", "%X", "%q", "%c"} {
			forms = append(forms, strings.Trim(fmt.Sprintf(verb, part), "[]{}"))
		}
		encoded, err := json.Marshal([8]byte(part))
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, strings.Trim(string(encoded), "[]"))
		for _, form := range forms {
			if strings.Contains(text, form) {
				t.Errorf("an output has %q", form)
			}
		}
	}
	if !strings.Contains(text, "[redacted]") || !strings.Contains(text, keys[0].ID) {
		t.Error("the outputs tell neither that there is a secret nor which")
	}
}

// TestSecretsAreOutOfReach walks the types: fmt prints arrays and slices of bytes in private fields without asking, so that there
// may be none but behind a pointer.
func TestSecretsAreOutOfReach(t *testing.T) {
	var walk func(typ reflect.Type, path string)
	walk = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Struct:
			for f := range typ.Fields() {
				walk(f.Type, path+"."+f.Name)
			}
		case reflect.Slice, reflect.Array:
			if typ.Elem().Kind() == reflect.Uint8 {
				t.Errorf("%s holds bytes", path)
			}
			walk(typ.Elem(), path+"[]")
		}
	}
	walk(reflect.TypeFor[keyring.Ring](), "Ring")
	walk(reflect.TypeFor[keyring.Keys](), "Keys")
}
