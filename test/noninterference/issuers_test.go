package noninterference

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

// exampleClaims are those of docs/examples/claims, without what each token has of its own.
func exampleClaims(name string) map[string]any {
	data, err := os.ReadFile(filepath.Join("..", "..", "docs", "examples", "claims", filepath.FromSlash(name)))
	if err != nil {
		panic(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		panic(err)
	}
	for _, c := range []string{"iat", "nbf", "exp", "jti"} {
		delete(claims, c)
	}
	return claims
}

// issuers sign tokens of the CIs. They are their own network.
type issuers struct {
	offline map[string]*oidctest.Issuer

	mu     sync.Mutex
	signed map[string]string // signing is slow, and the histories ask for the same tokens
}

func newIssuers(tb testing.TB) *issuers {
	i := &issuers{offline: map[string]*oidctest.Issuer{}, signed: map[string]string{}}
	for _, u := range []string{github, gitlab} {
		i.offline[u] = oidctest.NewOffline(tb, u)
	}
	return i
}

// RoundTrip implements [http.RoundTripper].
func (i *issuers) RoundTrip(r *http.Request) (*http.Response, error) {
	iss := i.offline[(&url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host}).String()]
	if iss == nil {
		return nil, fmt.Errorf("nobody asked for %s", r.URL)
	}
	return iss.RoundTrip(r)
}

// life is how long a token of p's CI is good.
func (p *principal) life() time.Duration {
	if p.claims["iss"] == gitlab {
		return time.Hour
	}
	return 5 * time.Minute // GitHub's
}

// token makes the token of a job that starts now.
func (i *issuers) token(p *principal, serial int, now time.Time, signed bool) string {
	claims := maps.Clone(p.claims)
	claims["iat"], claims["nbf"], claims["exp"] = now.Unix(), now.Unix(), now.Add(p.life()).Unix()
	claims["jti"] = fmt.Sprintf("%s-%d", p.claims["iss"], serial) + p.name
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	if !signed {
		return unsigned(text)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.signed[string(text)] == "" {
		i.signed[string(text)] = i.offline[claims["iss"].(string)].Sign(claims)
	}
	return i.signed[string(text)]
}

const tokenHeader = `{"alg":"RS256","kid":"key-1","typ":"JWT"}`

// unsigned has the form of a token, and a digest in the place of the signature.
func unsigned(claims []byte) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(tokenHeader)) + "." + enc(claims)
	return text + "." + enc(digest(text))
}

func digest(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return []byte(hex.EncodeToString(sum[:]))
}

// credulous takes what unsigned makes. It stands for the verifier where that would be too slow.
type credulous struct{}

func (credulous) Verify(_ context.Context, raw string) (*oidc.Token, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, oidc.ErrMalformed
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || parts[0] != base64.RawURLEncoding.EncodeToString([]byte(tokenHeader)) ||
		parts[2] != base64.RawURLEncoding.EncodeToString(digest(parts[0]+"."+parts[1])) {
		return nil, oidc.ErrMalformed
	}
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	var claims map[string]any
	if err := decoder.Decode(&claims); err != nil {
		return nil, errors.Join(oidc.ErrMalformed, err)
	}
	at := func(name string) time.Time {
		n, _ := claims[name].(json.Number).Int64()
		return time.Unix(n, 0)
	}
	t := &oidc.Token{
		Issuer: claims["iss"].(string), ID: claims["iss"].(string) + " " + claims["jti"].(string),
		IssuedAt: at("iat"), Expires: at("exp"), Claims: claims,
	}
	switch {
	case claims["aud"] != audience:
		return nil, oidc.ErrAudience
	case !time.Now().Before(t.Expires):
		return nil, oidc.ErrExpired
	}
	return t, nil
}
