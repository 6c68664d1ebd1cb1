package azure

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// errTrouble stands for an error that is none of the sentinels.
var errTrouble = errors.New("trouble")

func is(err, want error) bool {
	if want == nil || errors.Is(want, errTrouble) {
		known := errors.Is(err, bucket.ErrExist) || errors.Is(err, bucket.ErrNotExist) || errors.Is(err, bucket.ErrChanged) || errors.Is(err, bucket.ErrRefused)
		return (err == nil) == (want == nil) && !known
	}
	return errors.Is(err, want)
}

// TestErrors says what becomes of the service's answers.
func TestErrors(t *testing.T) {
	const all = "head,get,put,put large,delete,list"
	for _, c := range []struct {
		status int
		code   string
		ops    string
		want   error
		says   string
	}{
		{404, "BlobNotFound", "head,get", bucket.ErrNotExist, ""},
		{404, "", "head,get", bucket.ErrNotExist, ""},
		{404, "BlobNotFound", "delete", nil, ""},
		{404, "ContainerNotFound", all, bucket.ErrRefused, "make the container"},
		{404, "ResourceNotFound", "put,put large", bucket.ErrRefused, "make the container"},
		{409, "ContainerBeingDeleted", all, bucket.ErrRefused, "make the container"},
		{409, "BlobAlreadyExists", "put", bucket.ErrExist, ""},
		{412, "ConditionNotMet", "put", bucket.ErrExist, ""},
		{412, "ConditionNotMet", "head,get", bucket.ErrChanged, ""},
		{412, "ConditionNotMet", "delete", nil, ""},
		{412, "LeaseIdMissing", "put,delete", errTrouble, "LeaseIdMissing"},
		{400, "InvalidBlockList", "put large", errTrouble, "somebody else"},
		{400, "InvalidHeaderValue", all, bucket.ErrRefused, "access tier"},
		{403, "AuthorizationPermissionMismatch", all, bucket.ErrRefused, "Storage Blob Data Contributor"},
		{403, "AuthorizationFailure", all, bucket.ErrRefused, "firewall"},
		{403, "AuthenticationFailed", all, bucket.ErrRefused, connectionVariable},
		{401, "NoAuthenticationInformation", all, bucket.ErrRefused, connectionVariable},
		{409, "BlobImmutableDueToPolicy", "delete", bucket.ErrRefused, "immutability"},
		{500, "FeatureNotSupported", "put,get", bucket.ErrRefused, "lacks a feature"},
		{302, "", all, bucket.ErrRefused, "endpoint"},
		{409, "SnapshotsPresent", "delete", errTrouble, "SnapshotsPresent"},
		{418, "", all, errTrouble, "418"},
		{200, "", "head,get", errTrouble, "lacks"},
		{201, "", "put,put large", errTrouble, "lacks"},
	} {
		b := open(t, play(t, failing(c.status, c.code)), Options{})
		for _, op := range operations {
			if !strings.Contains(","+c.ops+",", ","+op.name+",") {
				continue
			}
			err := op.do(t.Context(), b)
			if !is(err, c.want) {
				t.Errorf("%d %s to %s: got %v, want %v", c.status, c.code, op.name, err, c.want)
				continue
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%d %s to %s: %q does not say %q", c.status, c.code, op.name, err, c.says)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("%d %s to %s: more than a line: %q", c.status, c.code, op.name, err)
			}
		}
	}
}

// TestOwnWriteIsNoOther: a blob that a first attempt may have made is not taken for another's.
func TestOwnWriteIsNoOther(t *testing.T) {
	first := true
	s := play(t, func(w http.ResponseWriter, r request) {
		if first {
			first = false
			failing(http.StatusServiceUnavailable, "ServerBusy")(w, r)
			return
		}
		failing(http.StatusConflict, "BlobAlreadyExists")(w, r)
	})
	if err := open(t, s, Options{}).Put(t.Context(), "a/b", content("body", ""), bucket.IfAbsent); !is(err, errTrouble) || len(s.seen()) != 2 {
		t.Errorf("got %v after %d requests, want an error that leaves it open after 2", err, len(s.seen()))
	}
}

// TestBrokenPutIsNotRepeated: the caller looks at what became of it. What is safe to repeat is repeated, a few times.
func TestBrokenPutIsNotRepeated(t *testing.T) {
	s := play(t, func(http.ResponseWriter, request) { panic(http.ErrAbortHandler) })
	b := open(t, s, Options{})
	if err := b.Put(t.Context(), "a/b", content("body", ""), bucket.IfAbsent); !is(err, errTrouble) {
		t.Errorf("got %v, want trouble", err)
	}
	if n := len(s.seen()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	if _, err := b.Head(t.Context(), "a/b"); !is(err, errTrouble) {
		t.Errorf("got %v, want trouble", err)
	}
	if n := len(s.seen()); n < 3 || n > 10 {
		t.Errorf("%d requests, want a few", n)
	}
}

// TestEndsWithItsContext: calls and bodies do.
func TestEndsWithItsContext(t *testing.T) {
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			asked := make(chan struct{}, 100)
			s := play(t, func(w http.ResponseWriter, r request) {
				if op.name == "get" {
					w.Header().Set("Etag", `"1"`)
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, "half")
					w.(http.Flusher).Flush()
				}
				asked <- struct{}{}
				<-r.Context().Done()
			})
			b := open(t, s, Options{})
			done := make(chan error, 1)
			go func() { done <- op.do(ctx, b) }()
			<-asked
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want %v", err, context.Canceled)
			}
		})
	}
}

// TestSecretsStaySecret: a service that says back all it was told, and one that is gone.
func TestSecretsStaySecret(t *testing.T) {
	const key = "KEY-abcdefghijklmnopqrstuvwxyz-1"
	for what, c := range map[string]struct{ variable, value, secret string }{
		"key":               {keyVariable, testKey, testKey},
		"sas":               {sasVariable, "?sv=2025-01-05&sp=rcwdl&sig=U0VDUkVULXNpZ25hdHVyZQ%3D%3D", testSignature},
		"connection string": {connectionVariable, "AccountName=acme;AccountKey=" + testKey, testKey},
	} {
		s := play(t, func(w http.ResponseWriter, r request) {
			w.Header().Set("X-Ms-Error-Code", "No "+r.URL.RawQuery+" "+c.secret+" "+r.Header.Get("X-Ms-Encryption-Key"))
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Message>"+r.Header.Get("Authorization")+c.secret+"</Message></Error>")
		})
		environment(t, c.variable, c.value)
		b := openAs(t, s, Options{CustomerKey: []byte(key)})
		check := func(op string, err error) {
			t.Helper()
			if err == nil {
				t.Errorf("%s with a %s: no error", op, what)
				return
			}
			for _, secret := range []string{testKey, testSignature, "U0VDUkVULXNpZ25hdHVyZQ", "KEY-abc", "S0VZLWFi", "SharedKey acme:"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s with a %s tells %q: %v", op, what, secret, err)
				}
			}
		}
		for _, op := range operations {
			check(op.name, op.do(t.Context(), b))
		}
		s.Close()
		for _, op := range operations[:3] { // the others break off in the same way
			check(op.name+" without a service", op.do(t.Context(), b))
		}
	}
}
