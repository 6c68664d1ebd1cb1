package config

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"pgregory.net/rapid"
)

// TestStoreURLs reads each line of good and bad in testdata/store.txtar, and holds what comes out against the line of want: the URL as it is
// printed, or the problem.
func TestStoreURLs(t *testing.T) {
	const path = "testdata/store.txtar"
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(archive.Files); i += 2 {
		in, want := archive.Files[i], &archive.Files[i+1]
		var got strings.Builder
		for _, line := range lines(in.Data) {
			v, err := parseStoreURL(line)
			switch {
			case err != nil && in.Name == "good":
				t.Errorf("%s is refused: %v", line, err)
			case err != nil:
				got.WriteString(err.Error() + "\n")
			case in.Name == "bad":
				t.Errorf("%s is accepted", line)
			default:
				got.WriteString(v.(StoreURL).String() + "\n")
			}
		}
		if *update {
			want.Data = []byte(got.String())
			if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(want.Data), got.String()); diff != "" {
			t.Errorf("%s: -want +got (go test -update writes it anew):\n%s", in.Name, diff)
		}
	}
}

func TestStoreURLFields(t *testing.T) {
	for text, want := range map[string]StoreURL{
		"file:///srv/a": {Scheme: SchemeFile, Path: "/srv/a"},
		"s3://nx-cache/a/b/?region=x&path_style=true&sse=kms&bucket_key=true&checksums=off": {
			Scheme: SchemeS3, Bucket: "nx-cache", Prefix: "a/b",
			Options: StoreOptions{Region: "x", PathStyle: true, SSE: SSEKMS, BucketKey: true, Checksums: ChecksumsOff},
		},
		"gs://nx-cache/?csek_file=/k&ca_file=/c": {Scheme: SchemeGS, Bucket: "nx-cache", Options: StoreOptions{CSEKFile: "/k", CAFile: "/c"}},
		"azblob://nx-cache/p?account=acme&encryption_scope=nx-scope&access_tier=Cool": {
			Scheme: SchemeAzblob, Bucket: "nx-cache", Prefix: "p", Options: StoreOptions{Account: "acme", EncryptionScope: "nx-scope", AccessTier: "Cool"},
		},
	} {
		got, err := parseStoreURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", text, diff)
		}
		if got.(StoreURL).IsBucket() != (want.Scheme != SchemeFile) {
			t.Errorf("%s: IsBucket is wrong", text)
		}
	}
}

// TestStoreURLRoundTrip: whatever is accepted means the same when it is printed and read again.
func TestStoreURLRoundTrip(t *testing.T) {
	values := map[string][]string{
		"region": {"eu-central-1", "auto"}, "account": {"acme1"}, "path_style": {"true", "false"}, "profile": {"a.b+c@d/e"},
		"endpoint": {"http://127.0.0.1:9000", "https://[::1]:4443/", "https://a.example.com/b/", "https://h%2Fx.example.com"}, "sse": {SSES3, SSEKMS, SSEKMSDSSE},
		"kms_key": {"alias/nx", "projects/p/locations/l/keyRings/r/cryptoKeys/k"}, "bucket_key": {"true"}, "encryption_scope": {"scope-1"},
		"sse_c_key_file": {"/run/k%26%3D+%20x"}, "csek_file": {"/k%23"}, "cpk_file": {"/k%3f"}, "storage_class": {"STANDARD", "GLACIER_IR"},
		"access_tier": {"Hot"}, "ca_file": {"/c/%C3%A4.pem"}, "checksums": {ChecksumsDefault, ChecksumsOff},
	}
	segment := rapid.StringMatching(`[a-z@A-Z0-9 _.,;:=+&?#%ä'"*~()\[\]-]{1,8}`)
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{SchemeS3, SchemeGS, SchemeAzblob}).Draw(t, "scheme") + "://nx-cache"
		for range rapid.IntRange(0, 3).Draw(t, "depth") {
			text += "/" + pathEscape(segment.Draw(t, "segment"))
		}
		sep := "?"
		for _, p := range storeParams() {
			if rapid.IntRange(0, 5).Draw(t, p.name) == 0 {
				text += sep + p.name + "=" + rapid.SampledFrom(values[p.name]).Draw(t, "value")
				sep = "&"
			}
		}
		v, err := parseStoreURL(text)
		if err != nil {
			return
		}
		accepted++
		again, err := parseStoreURL(v.(StoreURL).String())
		if err != nil || again != v {
			t.Fatalf("%s is %#v, and read again %#v, %v", text, v, again, err)
		}
	})
	if accepted == 0 {
		t.Error("nothing was accepted")
	}
}

// pathEscape escapes all but letters and digits.
func pathEscape(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if alphanumeric(rune(c)) {
			b.WriteByte(c)
		} else {
			const digits = "0123456789abcdef"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

func TestStoreParamsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range storeParams() {
		if p.name == "" || p.of[0] == "" || seen[p.name] {
			t.Errorf("the parameter %q lacks a name of its own, or its schemes", p.name)
		}
		if credentialLike(p.name) {
			t.Errorf("%s would be taken for a credential if another scheme's URL had it", p.name)
		}
		seen[p.name] = true
	}
}

func TestAmounts(t *testing.T) {
	for text, want := range map[string]string{"0": "0s", "0s": "0s", "1500ms": "1.5s", "2m": "2m", "forever": "forever"} {
		v, err := parseWait(text)
		if err != nil || v.(Wait).String() != want {
			t.Errorf("the wait %s is %v, %v", text, v, err)
		}
		if _, ends := v.(Wait).Limit(); ends == (text == "forever") {
			t.Errorf("the wait %s ends: %v", text, ends)
		}
	}
	for _, text := range []string{"", "-1", "2G", "ALL", "-all"} {
		if v, err := parseUpTo(text); err == nil {
			t.Errorf("up to %q is %v", text, v)
		}
		if v, err := parseWait(text); err == nil && text != "-1" {
			t.Errorf("the wait %q is %v", text, v)
		}
	}
	for text, want := range map[string]string{"0": "0", "8MiB": "8MiB", "all": "all", "9000": "9000"} {
		if v, err := parseUpTo(text); err != nil || v.(UpTo).String() != want {
			t.Errorf("up to %s is %v, %v", text, v, err)
		}
	}
}
