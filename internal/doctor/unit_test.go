package doctor

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// TestPayload checks that what is sent is what was measured, and that a server which checks artifacts lets it through.
func TestPayload(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, smallSize, 65535, 65536, testSize + 13} {
		p, err := newPayload(seed{1}, size)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			body := p.open()
			data, err := io.ReadAll(body)
			if err := body.Close(); err != nil {
				t.Fatal(err)
			}
			if err != nil || int64(len(data)) != p.size || sha256.Sum256(data) != p.sum {
				t.Fatalf("size %d: %d bytes, announced are %d, error %v", size, len(data), p.size, err)
			}
			summary, err := artifact.Check(bytes.NewReader(data), artifact.DefaultLimits())
			if err != nil || summary.Members != 3 || summary.Opaque {
				t.Fatalf("size %d: the archive is refused: %+v, %v", size, summary, err)
			}
		}
	}
	one, _ := newPayload(seed{1}, smallSize)
	two, _ := newPayload(seed{2}, smallSize)
	if one.sum == two.sum || one.size != two.size {
		t.Error("two seeds make one artifact, or artifacts of two sizes")
	}
}

// TestPayloadUnread closes a body that nobody reads to the end; goleak sees whether its writer ends.
func TestPayloadUnread(t *testing.T) {
	t.Parallel()
	p, err := newPayload(seed{}, testSize)
	if err != nil {
		t.Fatal(err)
	}
	body := p.open()
	if _, err := io.ReadFull(body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestHashesAreValid(t *testing.T) {
	t.Parallel()
	h, err := newHash(strings.NewReader(strings.Repeat("x", 100)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cache.ParseHash(h); err != nil {
		t.Error(err)
	}
	if _, err := newHash(strings.NewReader("")); err == nil {
		t.Error("a hash was made of no random bytes")
	}
}

func TestParseTarget(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in     string
		status Status
		host   string
		port   string
		base   string
	}{
		{"http://localhost:8099", OK, "localhost", "8099", "http://localhost:8099"},
		{"https://cache.example.com/", OK, "cache.example.com", "443", "https://cache.example.com/"},
		{"http://[::1]/team", OK, "::1", "80", "http://[::1]/team"},
		{"HTTPS://Cache", OK, "Cache", "443", "HTTPS://Cache"},
		{"http://a\n", Warn, "a", "80", "http://a"},
		{" \thttp://a", Warn, "a", "80", "http://a"},
		{"http://u:p@a", Warn, "a", "80", "http://u:p@a"},
		{"http://a/v1/cache/", Warn, "a", "80", "http://a/v1/cache/"},
		{"", Fail, "", "", ""},
		{"\n", Fail, "", "", ""},
		{"http://a ", Fail, "", "", ""},
		{`"http://a"`, Fail, "", "", ""},
		{"'http://a'", Fail, "", "", ""},
		{"localhost:8099", Fail, "", "", ""},
		{"cache.example.com", Fail, "", "", ""},
		{"//cache.example.com", Fail, "", "", ""},
		{"ftp://a", Fail, "", "", ""},
		{"http://", Fail, "", "", ""},
		{"http://:80", Fail, "", "", ""},
		{"http://a?x=1", Fail, "", "", ""},
		{"http://a/?", Fail, "", "", ""},
		{"http://a/#", Fail, "", "", ""},
		{"http://a\x1b[31m", Fail, "", "", ""},
		{"http://a:x", Fail, "", "", ""},
		{"http://%zz", Fail, "", "", ""},
	}
	for _, test := range tests {
		got, trouble := parseTarget(test.in)
		status := OK
		if trouble != nil {
			status = trouble.status
			if trouble.title == "" || trouble.means == "" || trouble.do == "" {
				t.Errorf("%q: the trouble is not explained: %+v", test.in, trouble)
			}
		}
		if status != test.status || got.host != test.host || got.port != test.port || got.base != test.base {
			t.Errorf("%q: %s %+v, want %+v", test.in, status, got, test)
		}
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://u:hunter2@a/x":     "https://u:xxxxx@a/x",
		"https://a/?key=hunter2":    "https://a/?redacted",
		"http://u:hunter2@[broken":  "redacted@[broken",
		"https://cache.example.com": "https://cache.example.com",
	} {
		if got := redactURL(in); got != want {
			t.Errorf("redactURL(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTokenFormat(t *testing.T) {
	t.Parallel()
	tests := []struct {
		token  Setting
		status Status
	}{
		{Setting{}, OK},
		{Setting{Set: true}, Warn},
		{Setting{Set: true, Value: "bzr_0123456789abcdef"}, OK},
		{Setting{Set: true, Value: "eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}, OK},
		{Setting{Set: true, Value: "hunter2\n"}, Fail},
		{Setting{Set: true, Value: "hunter2\r\nX-Evil: 1"}, Fail},
		{Setting{Set: true, Value: "hunter2\x00"}, Fail},
		{Setting{Set: true, Value: `"hunter2"`}, Warn},
		{Setting{Set: true, Value: " hunter2"}, Warn},
		{Setting{Set: true, Value: "  "}, Warn},
		{Setting{Set: true, Value: "hunter 2"}, Warn},
		{Setting{Set: true, Value: "hünter2"}, Warn},
		{Setting{Set: true, Value: "Bearer hunter2"}, Warn},
		{Setting{Set: true, Value: "${NX_TOKEN}"}, Warn},
		{Setting{Set: true, Value: "$(hunter2)"}, Warn},
		{Setting{Set: true, Value: "***"}, Warn},
		{Setting{Set: true, Value: "<your token>"}, Warn},
		{Setting{Set: true, Value: "changeme"}, Warn},
	}
	for _, test := range tests {
		e := &exam{token: test.token, report: &Report{}}
		e.checkTokenFormat(t.Context())
		f := finding(t, e.report, IDTokenFormat)
		if f.Status != test.status {
			t.Errorf("token %q: %s (%s), want %s", test.token.Value, f.Status, f.Title, test.status)
		}
		if v := strings.TrimSpace(test.token.Value); v != "" && strings.Contains(f.Title+f.Means+f.Do, v) {
			t.Errorf("token %q is shown: %+v", test.token.Value, f)
		}
	}
}

func TestFindProxy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		env    []string
		url    string
		want   string
		failed bool
	}{
		{nil, "http://a", "", false},
		{[]string{"HTTP_PROXY=http://p:3128"}, "http://a", "http://p:3128", false},
		{[]string{"HTTP_PROXY=http://p:3128"}, "http://127.0.0.1", "http://p:3128", false},
		{[]string{"HTTP_PROXY=http://p:3128"}, "https://a", "", false},
		{[]string{"HTTP_PROXY=http://p:3128", "REQUEST_METHOD=GET"}, "http://a", "", false},
		{[]string{"HTTPS_PROXY=p:3128"}, "https://a", "http://p:3128", false},
		{[]string{"ALL_PROXY=socks5://p"}, "https://a", "socks5://p", false},
		{[]string{"https_proxy=http://low", "HTTPS_PROXY=http://up"}, "https://a", "http://low", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=b,a"}, "https://a", "", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=.example.com"}, "https://cache.Example.com", "", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=example.com"}, "https://badexample.com", "http://p", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=*"}, "https://a", "", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=10.0.0.0/8"}, "https://10.1.2.3", "", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=::1"}, "https://[::1]", "", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=10.0.0.0/8"}, "https://11.1.2.3", "http://p", false},
		{[]string{"HTTPS_PROXY=http://p", "NO_PROXY=a", "no_proxy="}, "https://a", "http://p", false},
		{[]string{"HTTP_PROXY=http://%zz"}, "http://a", "", true},
	}
	for _, test := range tests {
		target, _ := parseTarget(test.url)
		p, err := findProxy(parseEnviron(test.env), target)
		got := ""
		if p != nil && p.url != nil {
			got = p.url.String()
		}
		if got != test.want || (err != nil) != test.failed {
			t.Errorf("%v, %s: proxy %q, error %v; want %q", test.env, test.url, got, err, test.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":               "plain",
		"a\x1b[31mred":        `a\x1b[31mred`,
		"a\nb\rc\td":          `a\nb\rc\td`,
		"\u202ereversed":      `\u202ereversed`,
		"\xff":                `\xff`,
		"grün":                "grün",
		"01234567890123456€x": `01234567890123456...`,
	} {
		if got := printable(in, 18); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestParseDotenv has the values that dotenv 16.4.7 gives for the same text.
func TestParseDotenv(t *testing.T) {
	t.Parallel()
	text := "\ufeffA=plain\r\n" +
		"# B=comment\n" +
		"export C = spaced # comment\n" +
		"D=\"two\nlines\" # comment\n" +
		"E=\"escaped\\nbreak\"\n" +
		"F='raw\\n # kept'\n" +
		"G=`tick \"s'`\n" +
		"H=\"open\n" +
		"I=\n" +
		"J J=bad name\n" +
		"no definition\n" +
		"A2=first\nA2=second\n" +
		"K=a=b\nL: colon\nM:nocolon\nN=a#b\nO=\"q\" tail\nP=\"a\\\"b\"\n"
	want := map[string]string{"A": "plain", "C": "spaced", "D": "two\nlines", "E": "escaped\nbreak", "F": `raw\n # kept`,
		"G": "tick \"s'", "H": `"open`, "I": "", "A2": "second", "K": "a=b",
		"L": "colon", "N": "a", "O": `"q" tail`, "P": `a\"b`}
	if diff := cmp.Diff(want, parseDotenv(text)); diff != "" {
		t.Error(diff)
	}
}

func TestJSONC(t *testing.T) {
	t.Parallel()
	text := `// head
{ "a": "// no comment, /* nor this */ \" ,}", /* block
over lines */ "b": [1, 2, /* three */ ], // tail
  "c": {"d": true,},
}`
	var got map[string]any
	if err := unmarshalJSONC([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"a": `// no comment, /* nor this */ " ,}`, "b": []any{1.0, 2.0}, "c": map[string]any{"d": true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzFiles feeds the parsers of workspace files with anything: they may refuse, and must come to an end.
func FuzzFiles(f *testing.F) {
	f.Add("{\"a\": 1, // x\n}")
	f.Add("/* open")
	f.Add("A=\"open\nB='x'\n")
	f.Add("nx@^20:\n  version \"20.8.0\"\n")
	f.Add("\"")
	f.Fuzz(func(t *testing.T, text string) {
		if got := stripJSONC([]byte(text)); len(got) != len(text) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
		parseDotenv(text)
		scanLock(strings.NewReader(text), rivalNames())
		if s := printable(text, 50); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("not printable: %q", s)
		}
	})
}
