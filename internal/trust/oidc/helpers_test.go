package oidc

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ours     = "https://nx-cache.example.com"
	theIssue = "https://ci.example.com"
	// secret stands in tokens, and must not stand in any error or log.
	secret = "s3cr3t-of-the-token"
)

// start is the time at which clocks of tests without a bubble stand.
var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// logBook keeps what was logged.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// newVerifier makes one that takes tokens of iss, over iss itself as its network.
func newVerifier(tb testing.TB, iss *oidctest.Issuer, log *logBook) *Verifier {
	tb.Helper()
	v := New(Options{Transport: iss, Now: iss.Now, Logger: log.logger()})
	v.Configure(ours, []Issuer{{URL: iss.URL}})
	tb.Cleanup(func() {
		if strings.Contains(log.String(), secret) {
			tb.Errorf("the log holds something of a token:\n%s", log)
		}
	})
	return v
}

// run starts Run and ends it with the test.
func run(t *testing.T, v *Verifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func taken(t *testing.T, v *Verifier, raw string) *Token {
	t.Helper()
	token, err := v.Verify(t.Context(), raw)
	if err != nil {
		t.Fatalf("a good token was refused: %v", err)
	}
	return token
}

// reasons are all that a token is refused for.
var reasons = []error{ErrMalformed, ErrIssuer, ErrExpired, ErrAudience, ErrUnavailable}

// refused checks that a token is refused for this one reason, with a text that says more and quotes nothing.
func refused(tb testing.TB, v *Verifier, raw string, want error) {
	tb.Helper()
	token, err := v.Verify(tb.Context(), raw)
	if err == nil || token != nil {
		tb.Fatalf("taken: %v, error %v; want %v", token, err, want)
	}
	for _, sentinel := range reasons {
		if errors.Is(err, sentinel) != (sentinel == want) { //nolint:errorlint // the very sentinel
			tb.Errorf("got %q, want %v", err, want)
		}
	}
	if len(err.Error()) < len(want.Error())+10 {
		tb.Errorf("%q does not tell what to do", err)
	}
	if strings.Contains(err.Error(), secret) {
		tb.Errorf("%q quotes the token", err)
	}
	for part := range strings.SplitSeq(raw, ".") {
		if len(part) > 8 && strings.Contains(err.Error(), part) {
			tb.Errorf("%q quotes the token", err)
		}
	}
}

// claims of a good token, and what differs.
func claims(over ...map[string]any) map[string]any {
	c := map[string]any{"aud": ours, "sub": secret, "repository_id": "456789"}
	for _, o := range over {
		maps.Copy(c, o)
	}
	return c
}

type object = map[string]any

// A signer signs what a token signs.
type signer func(tb testing.TB, signed []byte) []byte

// compact writes a token with any header and payload: a value, or a text as it is.
func compact(tb testing.TB, header, payload any, sign signer) string {
	tb.Helper()
	signed := segment(tb, header) + "." + segment(tb, payload)
	return signed + "." + encode(sign(tb, []byte(signed)))
}

func segment(tb testing.TB, v any) string {
	tb.Helper()
	if s, ok := v.(string); ok {
		return encode([]byte(s))
	}
	data, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return encode(data)
}

func encode(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func sum(h crypto.Hash, data []byte) []byte {
	w := h.New()
	w.Write(data)
	return w.Sum(nil)
}

func rs(key *rsa.PrivateKey, h crypto.Hash) signer {
	return func(tb testing.TB, signed []byte) []byte {
		return must(rsa.SignPKCS1v15(nil, key, h, sum(h, signed)))(tb)
	}
}

func ps(key *rsa.PrivateKey, h crypto.Hash) signer {
	return func(tb testing.TB, signed []byte) []byte {
		return must(rsa.SignPSS(rand.Reader, key, h, sum(h, signed), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))(tb)
	}
}

func es(key *ecdsa.PrivateKey, h crypto.Hash) signer {
	return func(tb testing.TB, signed []byte) []byte {
		r, s, err := ecdsa.Sign(rand.Reader, key, sum(h, signed))
		if err != nil {
			tb.Fatal(err)
		}
		size := (key.Params().BitSize + 7) / 8
		return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
	}
}

func ed(key ed25519.PrivateKey) signer {
	return func(_ testing.TB, signed []byte) []byte { return ed25519.Sign(key, signed) }
}

func hs(key []byte) signer {
	return func(_ testing.TB, signed []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(signed)
		return mac.Sum(nil)
	}
}

func fixed(signature string) signer {
	return func(testing.TB, []byte) []byte { return []byte(signature) }
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

// keys of all kinds, and the set that publishes them.
type keyRing struct {
	rsa, small *rsa.PrivateKey
	p256, p384 *ecdsa.PrivateKey
	p521       *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}

func newKeyRing(tb testing.TB) keyRing {
	tb.Helper()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return keyRing{
		rsa:   must(rsa.GenerateKey(rand.Reader, 2048))(tb),
		small: must(rsa.GenerateKey(rand.Reader, 1024))(tb),
		p256:  must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb),
		p384:  must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(tb),
		p521:  must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(tb),
		ed:    edKey,
	}
}

// with returns k with fields replaced; nil leaves one out.
func with(k, over object) object {
	k = maps.Clone(k)
	maps.Copy(k, over)
	maps.DeleteFunc(k, func(_ string, v any) bool { return v == nil })
	return k
}

func rsaJWK(key *rsa.PrivateKey, id string) object {
	return with(oidctest.JWK(&key.PublicKey, id), object{"alg": nil})
}

func ecJWK(tb testing.TB, key *ecdsa.PrivateKey, id string) object {
	point := must(key.PublicKey.Bytes())(tb)[1:]
	return object{"kty": "EC", "crv": key.Params().Name, "kid": id, "x": encode(point[:len(point)/2]), "y": encode(point[len(point)/2:])}
}

func edJWK(key ed25519.PrivateKey, id string) object {
	return object{"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(key.Public().(ed25519.PublicKey))}
}

// set is a key set with one key of each kind.
func (k keyRing) set(tb testing.TB) object {
	return object{"keys": []any{
		rsaJWK(k.rsa, "rsa"), rsaJWK(k.small, "small"),
		with(rsaJWK(k.rsa, "rs256"), object{"alg": "RS256"}),
		with(rsaJWK(k.rsa, "enc"), object{"use": "enc"}),
		ecJWK(tb, k.p256, "p256"), ecJWK(tb, k.p384, "p384"), ecJWK(tb, k.p521, "p521"),
		edJWK(k.ed, "ed"),
		object{"kty": "oct", "kid": "oct", "k": encode([]byte(secret))},
		ecJWK(tb, k.p256, "twice"), rsaJWK(k.rsa, "twice"),
	}}
}

// allKinds is an issuer with a key of each kind, at the time start, together with its keys.
func allKinds(tb testing.TB) (*oidctest.Issuer, keyRing) {
	tb.Helper()
	iss := oidctest.NewOffline(tb, theIssue)
	iss.Now = func() time.Time { return start }
	ring := newKeyRing(tb)
	iss.ServeJSON(oidctest.KeysPath, ring.set(tb))
	return iss, ring
}

// answer is a handler with a status and a body.
func answer(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}
