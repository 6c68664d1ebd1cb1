package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

var (
	keys   = keyring.New([32]byte{1}, [32]byte{2}).Derive("seal")
	sample = cache.Key{Workspace: "web", Scope: "branch/refs/heads/ä\xff", Hash: "12777289511367993887"}
)

// full is a record with another value in each field.
func full(t *testing.T) cache.Record {
	t.Helper()
	var r cache.Record
	n := 0
	fields(reflect.ValueOf(&r).Elem(), "", func(name string, v reflect.Value) {
		n++
		switch v.Interface().(type) {
		case string:
			v.SetString(fmt.Sprintf("%s %d", name, n))
		case int, int64:
			v.SetInt(int64(n))
		case bool:
			v.SetBool(true)
		case time.Time:
			v.Set(reflect.ValueOf(time.Date(2026, 2, 3, 4, 5, 6, 789_012_345, time.UTC)))
		default:
			if v.Kind() != reflect.Array {
				t.Fatalf("%s has the type %s, of which this test knows nothing", name, v.Type())
			}
			v.Index(0).SetUint(uint64(n))
		}
	})
	r.Seal = ""
	return r
}

// fields visits each field of a record, those of structs within it one by one.
func fields(v reflect.Value, prefix string, visit func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Field(i)
		name := prefix + v.Type().Field(i).Name
		if field.Kind() == reflect.Struct && field.Type() != reflect.TypeFor[time.Time]() {
			fields(field, name+".", visit)
			continue
		}
		visit(name, field)
	}
}

// TestForm pins what is sealed: were it to change, no entry that exists would be good any more. A new form is a new version.
func TestForm(t *testing.T) {
	record := full(t)
	golden, err := os.ReadFile("testdata/v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(encode(sample, record)), strings.ReplaceAll(string(golden), "\n", ""); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	const wantSeal = "v1.22cca6cbc352.VfscNdHrbi0QRwRleg6NA976BDJHSQTF_5SrffzIX6I"
	if got := seal(keys[0], sample, record); got != wantSeal {
		t.Errorf("got %s, want %s", got, wantSeal)
	}
}

// TestEachFieldIsSealed fails for a field of Record or Producer that encode leaves out.
func TestEachFieldIsSealed(t *testing.T) {
	record := full(t)
	record.Seal = seal(keys[0], sample, record)
	if err := Verify(keys, sample, record); err != nil {
		t.Fatal(err)
	}
	count := 0
	want := func(name string, changed cache.Record) {
		t.Helper()
		if err := Verify(keys, sample, changed); !errors.Is(err, ErrBroken) {
			t.Errorf("with another %s: got %v, want ErrBroken", name, err)
		}
	}
	changed := record
	fields(reflect.ValueOf(&changed).Elem(), "", func(name string, v reflect.Value) {
		if name == "Seal" {
			return
		}
		count++
		was := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.String:
			for _, s := range []string{"", was.String() + "x", was.String()[1:]} {
				v.SetString(s)
				want(name, changed)
			}
		case reflect.Int, reflect.Int64:
			for _, n := range []int64{0, -was.Int(), was.Int() + 1, was.Int() + 1<<40} {
				v.SetInt(n)
				want(name, changed)
			}
		case reflect.Bool:
			v.SetBool(!was.Bool())
			want(name, changed)
		case reflect.Array:
			for i := range v.Len() {
				v.Set(was)
				v.Index(i).SetUint(was.Index(i).Uint() ^ 1)
				want(name, changed)
			}
		default:
			for _, d := range []time.Duration{1, -1, time.Second, 1 << 62} {
				v.Set(reflect.ValueOf(was.Interface().(time.Time).Add(d)))
				want(name, changed)
			}
		}
		v.Set(was)
		if err := Verify(keys, sample, changed); err != nil {
			t.Fatalf("put back: %v", err)
		}
	})
	if count < 20 {
		t.Errorf("there are %d fields only", count)
	}
	for _, key := range []cache.Key{
		{Workspace: "web", Scope: sample.Scope, Hash: "1"},
		{Workspace: "we", Scope: sample.Scope, Hash: sample.Hash},
		{Workspace: "web", Scope: "branch/refs/heads/ä\xfe", Hash: sample.Hash},
		{Workspace: "web", Scope: "branch/refs/heads/ä\ufffd", Hash: sample.Hash},
		{Workspace: "web", Scope: cache.Trusted, Hash: sample.Hash},
		// The same bytes, cut elsewhere.
		{Workspace: "webb", Scope: sample.Scope[1:], Hash: sample.Hash},
	} {
		if err := Verify(keys, key, record); !errors.Is(err, ErrBroken) {
			t.Errorf("under %q: got %v, want ErrBroken", key, err)
		}
	}
}

// TestNeighboursDoNotMix moves bytes from each text to the next.
func TestNeighboursDoNotMix(t *testing.T) {
	record := full(t)
	var texts []reflect.Value
	fields(reflect.ValueOf(&record.Producer).Elem(), "", func(_ string, v reflect.Value) { texts = append(texts, v) })
	before := encode(sample, record)
	for i := range len(texts) - 1 {
		a, b := texts[i].String(), texts[i+1].String()
		texts[i].SetString(a + b[:1])
		texts[i+1].SetString(b[1:])
		if bytes.Equal(before, encode(sample, record)) {
			t.Errorf("texts %d and %d run into each other", i, i+1)
		}
		texts[i].SetString(a)
		texts[i+1].SetString(b)
	}
}

// TestSealOutlivesJSON: what a store gives back is what was sealed, whatever was in it.
func TestSealOutlivesJSON(t *testing.T) {
	for _, text := range []string{"", "plain", "<&>\u2028\"\\\n\x00\x7f", "\xff", "a\xff\xfeb\xe2\x82", "\ufffd", "\xed\xa0\x80", "ä日🙂"} {
		record := full(t)
		record.Producer.Ref, record.Producer.Actor = text, text
		record.Created = time.Date(2026, 2, 3, 4, 5, 6, 7, time.FixedZone("", 3600))
		record.Seal = seal(keys[0], sample, record)
		stored, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		var got cache.Record
		if err := json.Unmarshal(stored, &got); err != nil {
			t.Fatal(err)
		}
		if err := Verify(keys, sample, got); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestVerify(t *testing.T) {
	record := full(t)
	good := seal(keys[0], sample, record)
	id, mac := keys[0].ID, good[len("v1.")+13:]
	foreign := keyring.New([32]byte{3}).Derive("seal")
	session := keyring.New([32]byte{1}).Derive("session")
	for _, c := range []struct {
		seal string
		want error
	}{
		{good, nil},
		{seal(keys[1], sample, record), nil},
		{"", ErrMissing},
		{good + "\n", ErrBroken},
		{good + "=", ErrBroken},
		{good[:len(good)-1], ErrBroken},
		{strings.ToUpper(good), ErrBroken},
		{"v1." + keys[1].ID + "." + mac, ErrBroken},
		{"v1." + id + ".", ErrBroken},
		{"v1." + id, ErrBroken},
		{"v1." + strings.ToUpper(id) + "." + mac, ErrBroken},
		{"v1.." + mac, ErrBroken},
		{"v1.", ErrBroken},
		{"v1", ErrBroken},
		{seal(session[0], sample, record), ErrBroken},
		{seal(foreign[0], sample, record), ErrUnknownKey},
		{"v1.000000000000." + mac, ErrUnknownKey},
		{"v2." + id + "." + mac, ErrLater},
		{"v10.x", ErrLater},
		{"v999.", ErrLater},
		{"v2", ErrBroken}, {"v0.x", ErrBroken}, {"v01.x", ErrBroken}, {"v.x", ErrBroken}, {"v1000.x", ErrBroken}, {"v-2.x", ErrBroken},
		{"V2.x", ErrBroken}, {"2.x", ErrBroken}, {"vv2.x", ErrBroken}, {"v2x.", ErrBroken}, {"\x00", ErrBroken}, {"v", ErrBroken},
	} {
		record.Seal = c.seal
		err := Verify(keys, sample, record)
		if !errors.Is(err, c.want) {
			t.Errorf("%q: got %v, want %v", c.seal, err, c.want)
		}
		if err != nil && (mac != "" && strings.Contains(err.Error(), mac)) {
			t.Errorf("%q: the error repeats the seal: %v", c.seal, err)
		}
	}
	record.Seal = good
	if err := Verify(nil, sample, record); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("without keys: got %v", err)
	}
	if KeyID(good) != id || KeyID("v1.x.y") != "" || KeyID("") != "" {
		t.Error("the id of a seal's key is wrong")
	}
}

// FuzzVerify: whatever a seal says, only the one is good, and nothing falls over.
func FuzzVerify(f *testing.F) {
	record := cache.Record{Size: 1}
	good := seal(keys[0], sample, record)
	for _, s := range []string{good, good[:20], "", "v1.", "v2.", "v1." + keys[0].ID + "."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		record.Seal = s
		if err := Verify(keys, sample, record); (err == nil) != (s == good || s == seal(keys[1], sample, record)) {
			t.Errorf("%q: %v", s, err)
		}
	})
}
