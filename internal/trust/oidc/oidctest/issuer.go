// Package oidctest has an issuer of identity tokens for tests.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Paths of an issuer's documents below its URL.
const (
	DiscoveryPath = "/.well-known/openid-configuration"
	KeysPath      = "/jwks"
)

// Issuer is one that exists for a test: it has a key of its own, publishes it, and signs what it is told. It may be used by several goroutines at once.
//
// It signs with crypto/rsa, not with the library that the verifier uses, so that the two can disagree.
type Issuer struct {
	// URL is what its tokens say in "iss".
	URL string
	// Now is its clock, [time.Now] unless a test sets another before the first use.
	Now func() time.Time

	tb testing.TB

	mu          sync.Mutex
	key         *signingKey
	published   []*signingKey
	serial      int
	outage      Outage
	fetches     int
	discoveries int
	documents   map[string]http.Handler
	release     chan struct{} // closed when nothing hangs any longer
}

type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

// New starts an issuer on a loopback port. It ends with the test. Any process of this machine can talk to it.
func New(tb testing.TB) *Issuer {
	tb.Helper()
	i := newIssuer(tb)
	srv := httptest.NewServer(i)
	i.URL = srv.URL
	tb.Cleanup(func() {
		i.SetOutage(Up) // nothing hangs any longer
		srv.Close()
	})
	return i
}

// NewOffline makes an issuer of this URL without any socket, for tests in a bubble of [testing/synctest]: its RoundTrip is the network, and fails the test when any other host is asked for.
func NewOffline(tb testing.TB, url string) *Issuer {
	tb.Helper()
	i := newIssuer(tb)
	i.URL = url
	return i
}

func newIssuer(tb testing.TB) *Issuer {
	i := &Issuer{tb: tb, Now: time.Now, documents: map[string]http.Handler{}, release: make(chan struct{})}
	i.Rotate()
	return i
}

// Sign makes a token with RS256. It fills in iss, iat, nbf, exp (in 5 minutes) and a random jti unless they are given; a claim that is nil is left out. "aud" and the rest are the caller's.
func (i *Issuer) Sign(claims map[string]any) string {
	return i.SignHeader(nil, claims)
}

// SignHeader is Sign with additions to the header; what is nil is left out of it.
func (i *Issuer) SignHeader(header, claims map[string]any) string {
	i.mu.Lock()
	key := i.key
	i.mu.Unlock()
	// GitHub sends x5t as well, a thumbprint that nobody needs.
	h := map[string]any{"typ": "JWT", "alg": "RS256", "kid": key.id, "x5t": "b2lkY3Rlc3Q"}
	return i.sign(key, merge(h, header), i.Claims(claims))
}

// Claims returns what Sign would sign.
func (i *Issuer) Claims(claims map[string]any) map[string]any {
	now := i.Now()
	return merge(map[string]any{
		"iss": i.URL,
		"iat": now.Unix(),
		"nbf": now.Unix(),
		"exp": now.Add(5 * time.Minute).Unix(),
		"jti": rand.Text(),
	}, claims)
}

func (i *Issuer) sign(key *signingKey, header, claims map[string]any) string {
	signed := i.segment(header) + "." + i.segment(claims)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key.private, crypto.SHA256, digest[:])
	if err != nil {
		i.tb.Errorf("sign a token: %v", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func (i *Issuer) segment(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		i.tb.Errorf("write a token: %v", err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func merge(base, over map[string]any) map[string]any {
	maps.Copy(base, over)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	return base
}

// Key returns the key that signs now, and its id.
func (i *Issuer) Key() (*rsa.PrivateKey, string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.key.private, i.key.id
}

// Rotate makes a new key; the old one leaves the set.
func (i *Issuer) Rotate() { i.rotate(false) }

// RotateKeeping makes a new key and publishes it beside the old ones, as issuers do.
func (i *Issuer) RotateKeeping() { i.rotate(true) }

func (i *Issuer) rotate(keep bool) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		i.tb.Fatalf("make the issuer's key: %v", err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.serial++
	i.key = &signingKey{id: "key-" + strconv.Itoa(i.serial), private: private}
	if !keep {
		i.published = nil
	}
	i.published = append(i.published, i.key)
}

// KeySet returns the set that is published now, as a value for [encoding/json].
func (i *Issuer) KeySet() map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	keys := make([]any, 0, len(i.published))
	for _, k := range i.published {
		keys = append(keys, JWK(&k.private.PublicKey, k.id))
	}
	return map[string]any{"keys": keys}
}

// JWK returns a key as sets publish it (RFC 7517).
func JWK(key *rsa.PublicKey, id string) map[string]any {
	enc := base64.RawURLEncoding.EncodeToString
	return map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id,
		"n": enc(key.N.Bytes()), "e": enc(big.NewInt(int64(key.E)).Bytes()),
	}
}
