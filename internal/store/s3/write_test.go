package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// TestConditionalWrite holds what becomes of a write to what the service answers, one request after the other.
func TestConditionalWrite(t *testing.T) {
	conflict := fail(409, "ConditionalRequestConflict", "another one")
	exists := fail(412, "PreconditionFailed", "there is one")
	internal := fail(500, "InternalError", "oops")
	throttled := fail(503, "SlowDown", "slow down")
	const ok, exist, unclear = "ok", "exists", "unclear"
	for name, test := range map[string]struct {
		script map[string]step
		parts  bool
		want   string
		ops    string
	}{
		"at once":                        {nil, false, ok, "PUT"},
		"exists":                         {map[string]step{"PUT": exists}, false, exist, "PUT"},
		"conflict, then free":            {map[string]step{"PUT": each(conflict, nil)}, false, ok, "PUT, HEAD, PUT"},
		"conflict, then exists":          {map[string]step{"PUT": each(conflict, exists)}, false, exist, "PUT, HEAD, PUT"},
		"conflict, seen at once":         {map[string]step{"PUT": conflict, "HEAD": there}, false, exist, "PUT, HEAD"},
		"conflict without end":           {map[string]step{"PUT": conflict}, false, unclear, "PUT, HEAD, PUT, HEAD, PUT, HEAD"},
		"lost, and nothing there":        {map[string]step{"PUT": each(broken, nil)}, false, ok, "PUT, HEAD, PUT"},
		"lost, and something there":      {map[string]step{"PUT": broken, "HEAD": there}, false, unclear, "PUT, HEAD"},
		"lost, then exists: maybe ours":  {map[string]step{"PUT": each(broken, exists)}, false, unclear, "PUT, HEAD, PUT"},
		"lost without end":               {map[string]step{"PUT": broken}, false, unclear, "PUT, HEAD, PUT, HEAD, PUT, HEAD"},
		"internal error, nothing there":  {map[string]step{"PUT": each(internal, nil)}, false, ok, "PUT, HEAD, PUT"},
		"internal error, then there":     {map[string]step{"PUT": internal, "HEAD": there}, false, unclear, "PUT, HEAD"},
		"look is refused":                {map[string]step{"PUT": internal, "HEAD": fail(403, "", "")}, false, unclear, "PUT, HEAD"},
		"throttled":                      {map[string]step{"PUT": each(throttled, nil)}, false, ok, "PUT, PUT"},
		"throttled, then exists":         {map[string]step{"PUT": each(throttled, exists)}, false, exist, "PUT, PUT"},
		"parts":                          {nil, true, ok, "POST begin, PUT part, POST complete"},
		"parts, exists":                  {map[string]step{"POST complete": exists}, true, exist, "POST begin, PUT part, POST complete, DELETE upload"},
		"parts, conflict, then free":     {map[string]step{"POST complete": each(conflict, nil)}, true, ok, "POST begin, PUT part, POST complete, DELETE upload, HEAD, POST begin, PUT part, POST complete"},
		"parts, lost, something there":   {map[string]step{"POST complete": broken, "HEAD": there}, true, unclear, "POST begin, PUT part, POST complete, DELETE upload, HEAD"},
		"parts, begin is refused":        {map[string]step{"POST begin": fail(400, "Odd", "no")}, true, unclear, "POST begin"},
		"parts, one is refused":          {map[string]step{"PUT part": fail(400, "Odd", "no")}, true, unclear, "POST begin, PUT part, DELETE upload"},
		"parts, conflict at a part":      {map[string]step{"PUT part": conflict}, true, unclear, "POST begin, PUT part, DELETE upload"},
		"parts, no id":                   {map[string]step{"POST begin": func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "<R/>") }}, true, unclear, "POST begin"},
		"parts, which cannot be removed": {map[string]step{"PUT part": fail(400, "Odd", "no"), "DELETE upload": fail(403, "AccessDenied", "no")}, true, unclear, "POST begin, PUT part, DELETE upload"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, test.script)
			b := openAt(t, s, Options{})
			in := content(5)
			in.InParts = test.parts
			err := b.Put(t.Context(), "name", in, bucket.IfAbsent)
			got := unclear
			switch {
			case err == nil:
				got = ok
			case errors.Is(err, bucket.ErrExist):
				got = exist
			}
			if got != test.want || s.ops() != test.ops {
				t.Errorf("got %s, want %s, %v\n got %s\nwant %s", got, test.want, err, s.ops(), test.ops)
			}
			for _, kind := range []string{"PUT", "POST complete"} {
				for _, r := range s.all(kind) {
					if r.Header.Get("If-None-Match") != "*" {
						t.Errorf("%s without the condition", kind)
					}
				}
			}
		})
	}
}

// TestReplaceHasNoCondition sends none, in one request or in parts.
func TestReplaceHasNoCondition(t *testing.T) {
	s := serve(t, false, nil)
	b := openAt(t, s, Options{})
	for _, parts := range []bool{false, true} {
		in := content(5)
		in.InParts = parts
		if err := b.Put(t.Context(), "name", in, bucket.Replace); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"PUT", "POST complete"} {
		for _, r := range s.all(kind) {
			if r.Header.Get("If-None-Match") != "" {
				t.Errorf("%s has a condition", kind)
			}
		}
	}
}

// TestParts cuts a body where it should be cut.
func TestParts(t *testing.T) {
	s := serve(t, false, nil)
	b := openAt(t, s, Options{MultipartFrom: 1, PartSize: minPart})
	if err := b.Put(t.Context(), "name", content(2*minPart+3), bucket.IfAbsent); err != nil {
		t.Fatal(err)
	}
	sizes := make(map[string]int64)
	for _, r := range s.all("PUT part") {
		sizes[r.URL.Query().Get("partNumber")] = r.ContentLength
		if r.Header.Get("X-Amz-Content-Sha256") != "UNSIGNED-PAYLOAD" {
			t.Error("a part is read twice, for its digest")
		}
	}
	if len(sizes) != 3 || sizes["1"] != minPart || sizes["2"] != minPart || sizes["3"] != 3 {
		t.Errorf("the parts are %v", sizes)
	}
	for _, test := range []struct{ wanted, body, want int64 }{
		{minPart, 0, minPart}, {minPart, 10_000 * minPart, minPart}, {minPart, 10_000*minPart + 1, minPart + 1}, {16 << 20, 5 << 40, 549755814},
	} {
		if got := partSize(test.wanted, test.body); got != test.want {
			t.Errorf("a body of %d bytes in parts of %d: got %d, want %d", test.body, test.wanted, got, test.want)
		}
	}
}

// TestChunks sends no more in one piece than a service takes that limits the chunks of a trailing checksum.
func TestChunks(t *testing.T) {
	for name, test := range map[string]struct {
		options Options
		want    string
	}{
		"checksums":    {Options{}, "POST begin, PUT part, PUT part, POST complete"},
		"no checksums": {Options{Checksums: ChecksumsOff}, "PUT"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, true, nil)
			if err := openAt(t, s, test.options).Put(t.Context(), "name", content(maxChunk+1), bucket.IfAbsent); err != nil {
				t.Fatal(err)
			}
			if s.ops() != test.want {
				t.Errorf("got %s, want %s", s.ops(), test.want)
			}
		})
	}
}

// TestCanceledUpload ends an upload in the middle: it is dropped although its context has ended.
func TestCanceledUpload(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, false, map[string]step{"PUT part": func(w http.ResponseWriter, r *http.Request, _ int) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client has gone
		cancel()
		<-r.Context().Done()
	}})
	b := openAt(t, s, Options{})
	in := content(5)
	in.InParts = true
	if err := b.Put(ctx, "name", in, bucket.IfAbsent); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if got := s.ops(); got != "POST begin, PUT part, DELETE upload" {
		t.Errorf("got %s", got)
	}
}

// lostDisk cannot be read.
type lostDisk struct{}

var errDisk = errors.New("the disk is gone")

func (lostDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// TestLostBody is not tried again, and is not taken for trouble of the service.
func TestLostBody(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := serve(t, secure, nil)
		b := openAt(t, s, Options{})
		for _, mode := range []bucket.Mode{bucket.IfAbsent, bucket.Replace} {
			err := b.Put(t.Context(), "name", bucket.Content{Body: lostDisk{}, Size: 5}, mode)
			if !errors.Is(err, errDisk) || errors.Is(err, bucket.ErrRefused) {
				t.Errorf("got %v", err)
			}
			err = b.Put(t.Context(), "name", bucket.Content{Body: bytes.NewReader([]byte("four")), Size: 5}, mode)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a body that is too short: got %v", err)
			}
		}
		if n := len(s.all("PUT")); n > 4 {
			t.Errorf("4 bodies were sent %d times", n)
		}
	}
}

// TestHeaders looks at what goes along with each request.
func TestHeaders(t *testing.T) {
	writes := []string{"PUT", "POST begin"}
	all := []string{"PUT", "POST begin", "PUT part", "POST complete", "GET", "HEAD"}
	const sse = "X-Amz-Server-Side-Encryption"
	for name, test := range map[string]struct {
		options Options
		kinds   []string
		want    map[string]string
	}{
		"plain": {Options{}, all, map[string]string{sse: "", "X-Amz-Storage-Class": "", sse + "-Customer-Key": ""}},
		"S3":    {Options{SSE: SSES3, StorageClass: "STANDARD_IA"}, writes, map[string]string{sse: "AES256", "X-Amz-Storage-Class": "STANDARD_IA"}},
		"KMS": {Options{SSE: SSEKMS, KMSKey: "key", BucketKey: true}, writes,
			map[string]string{sse: "aws:kms", sse + "-Aws-Kms-Key-Id": "key", sse + "-Bucket-Key-Enabled": "true"}},
		"KMS twice": {Options{SSE: SSEKMSDSSE}, writes, map[string]string{sse: "aws:kms:dsse", sse + "-Aws-Kms-Key-Id": ""}},
		"customer": {Options{CustomerKey: []byte(strings.Repeat("k", 32))}, all, map[string]string{
			sse: "", sse + "-Customer-Algorithm": "AES256", sse + "-Customer-Key": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=", sse + "-Customer-Key-Md5": "mT2HRsMGJ5IX5C+0rreZ8Q=="}},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, true, map[string]step{"GET": there})
			b := openAt(t, s, test.options)
			for _, method := range []string{"put", "parts", "get", "head"} {
				_ = do(t.Context(), b, method) // what comes back matters elsewhere
			}
			for _, kind := range test.kinds {
				requests := s.all(kind)
				if len(requests) == 0 {
					t.Errorf("no %s", kind)
				}
				for _, r := range requests {
					for header, want := range test.want {
						if got := r.Header.Get(header); got != want {
							t.Errorf("%s: %s is %q, want %q", kind, header, got, want)
						}
					}
				}
			}
			for _, kind := range writes {
				for _, r := range s.all(kind) {
					if got := r.Header.Get("X-Amz-Meta-Bezoar"); got != "note" {
						t.Errorf("%s: the metadata is %q", kind, got)
					}
				}
			}
		})
	}
}

// TestChecksums sends them where they cost little and are taken.
func TestChecksums(t *testing.T) {
	for name, test := range map[string]struct {
		secure  bool
		options Options
		trailer string
		payload string
	}{
		"TLS":      {true, Options{}, "x-amz-checksum-crc32", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"},
		"TLS, off": {true, Options{Checksums: ChecksumsOff}, "", "UNSIGNED-PAYLOAD"},
		"plain":    {false, Options{}, "", "UNSIGNED-PAYLOAD"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, test.secure, nil)
			b := openAt(t, s, test.options)
			for _, method := range []string{"put", "parts", "replace"} {
				if err := do(t.Context(), b, method); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range append(s.all("PUT"), s.all("PUT part")...) {
				if got := r.Header.Get("X-Amz-Trailer"); got != test.trailer {
					t.Errorf("%s: the trailer is %q", op(r), got)
				}
				if got := r.Header.Get("X-Amz-Content-Sha256"); got != test.payload {
					t.Errorf("%s: the payload is %q", op(r), got)
				}
			}
		})
	}
}

// TestDeleteVersion compares, and asks for the condition as well.
func TestDeleteVersion(t *testing.T) {
	for name, test := range map[string]struct {
		script  map[string]step
		version string
		fails   bool
		ops     string
	}{
		"the same":                       {map[string]step{"HEAD": there}, `"now"`, false, "HEAD, DELETE"},
		"another one":                    {map[string]step{"HEAD": there}, `"old"`, false, "HEAD"},
		"none":                           {nil, `"now"`, false, "HEAD"},
		"replaced meanwhile":             {map[string]step{"HEAD": there, "DELETE": fail(412, "PreconditionFailed", "")}, `"now"`, false, "HEAD, DELETE"},
		"gone meanwhile":                 {map[string]step{"HEAD": there, "DELETE": fail(404, "NoSuchKey", "")}, `"now"`, false, "HEAD, DELETE"},
		"a service without conditions":   {map[string]step{"HEAD": there, "DELETE": each(fail(501, "NotImplemented", ""), nil)}, `"now"`, false, "HEAD, DELETE, DELETE"},
		"not allowed":                    {map[string]step{"HEAD": there, "DELETE": fail(403, "AccessDenied", "")}, `"now"`, true, "HEAD, DELETE"},
		"not to be seen":                 {map[string]step{"HEAD": fail(403, "", "")}, `"now"`, true, "HEAD"},
		"any version, and no conditions": {map[string]step{"DELETE": fail(412, "PreconditionFailed", "")}, "", true, "DELETE"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, false, test.script)
			err := openAt(t, s, Options{}).Delete(t.Context(), "name", test.version)
			if (err != nil) != test.fails || s.ops() != test.ops {
				t.Errorf("got %v after %s, want %s", err, s.ops(), test.ops)
			}
			for i, r := range s.all("DELETE") {
				want := test.version
				if i > 0 {
					want = ""
				}
				if got := r.Header.Get("If-Match"); got != want {
					t.Errorf("deletion %d: If-Match is %q, want %q", i, got, want)
				}
			}
		})
	}
}
