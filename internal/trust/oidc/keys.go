package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Limits of a key set.
const (
	maxKeys      = 64
	minRSABits   = 2048
	maxRSABits   = 8192
	maxWithdrawn = 32
)

var keySetLimits = limits{depth: 8, members: 4096}

var (
	errManyKeys = errors.New("has more than 64 keys")
	errNoKeys   = errors.New("has no key that tokens could be signed with (RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519, for signatures, with a kid)")
)

// key is a public key that an issuer signs with.
type key struct {
	id     string
	alg    jose.SignatureAlgorithm // empty: any that fits the key
	public interface {
		Equal(crypto.PublicKey) bool
	}
}

func (k key) same(o key) bool { return k.id == o.id && k.alg == o.alg && k.public.Equal(o.public) }

// fits reports whether a token that names this key and algorithm may have been signed with k. The algorithm has to be that of the key: one key, one use.
func (k key) fits(kid string, alg jose.SignatureAlgorithm) bool {
	if k.id != kid || k.alg != "" && k.alg != alg {
		return false
	}
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return slices.Contains([]jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512}, alg)
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return alg == jose.ES256
		case elliptic.P384():
			return alg == jose.ES384
		default:
			return alg == jose.ES512
		}
	case ed25519.PublicKey:
		return alg == jose.EdDSA
	default:
		return false
	}
}

// keySet is what an issuer published at one time. It never changes.
type keySet struct {
	keys []key
	// withdrawn are keys that left the set not long ago. They tell the token of a run that began before from a forged one; nothing is granted for them.
	withdrawn []withdrawnKey
	// asOf is when the fetch began: a key that the issuer published before is in the set.
	asOf time.Time
	// since is asOf of the first set that this server had: of what the issuer withdrew before, it knows nothing.
	since time.Time
	// number is that of the fetch: clocks may stand still between a fetch and a token, the count does not.
	number uint64
	// fresh is how long the issuer says that the set is.
	fresh time.Duration
}

type withdrawnKey struct {
	key
	at time.Time
}

// succeed returns the set with what it knows of its predecessor, and whether a key was withdrawn.
func (s *keySet) succeed(old *keySet) (*keySet, bool) {
	next := *s
	if old == nil {
		next.since = s.asOf
		return &next, false
	}
	next.since = old.since
	gone := false
	for _, k := range old.keys {
		if !slices.ContainsFunc(s.keys, k.same) {
			gone = true
			next.withdrawn = append(next.withdrawn, withdrawnKey{k, s.asOf})
		}
	}
	for _, k := range old.withdrawn {
		if s.asOf.Sub(k.at) < MaxLife && !slices.ContainsFunc(s.keys, k.same) {
			next.withdrawn = append(next.withdrawn, k)
		}
	}
	next.withdrawn = next.withdrawn[:min(len(next.withdrawn), maxWithdrawn)]
	return &next, gone
}

// check tells which key signed a token.
func (s *keySet) check(p *presented) signedBy {
	if s == nil {
		return byNobody
	}
	jws, err := jose.ParseSignedCompact(p.raw, algorithms())
	if err != nil {
		return byNobody
	}
	result := byNobody
	for _, k := range s.keys {
		if k.id == p.kid {
			result = notByItsKey
		}
		if k.fits(p.kid, p.alg) {
			if _, err := jws.Verify(k.public); err == nil {
				return byCurrentKey
			}
		}
	}
	for _, k := range s.withdrawn {
		if k.fits(p.kid, p.alg) {
			if _, err := jws.Verify(k.public); err == nil {
				return byWithdrawnKey
			}
		}
	}
	return result
}

type signedBy int

const (
	byNobody       signedBy = iota // no key has the name
	notByItsKey                    // a key has the name, but did not sign this
	byWithdrawnKey                 // authentic once
	byCurrentKey
)

// parseKeySet reads a JWK set (RFC 7517). Keys that tokens cannot be signed with are left out, as section 5 asks for.
//
// Only what makes up a key is read: certificates, addresses and private parts that may stand beside it are of no use here. That is also why go-jose does
// not read it: one certificate that it cannot parse would cost the whole set.
func parseKeySet(data []byte) ([]key, error) {
	set, err := decodeObject(data, keySetLimits)
	if err != nil {
		return nil, err
	}
	list, ok := set["keys"].([]any)
	if !ok {
		return nil, errNoKeys
	}
	if len(list) > maxKeys {
		return nil, errManyKeys
	}
	var keys []key
	for _, member := range list {
		if jwk, ok := member.(map[string]any); ok {
			if k, ok := parseKey(jwk); ok {
				keys = append(keys, k)
			}
		}
	}
	if len(keys) == 0 {
		return nil, errNoKeys
	}
	return keys, nil
}

func parseKey(jwk map[string]any) (k key, ok bool) {
	field := func(name string) string { s, _ := jwk[name].(string); return s }
	k.id, k.alg = field("kid"), jose.SignatureAlgorithm(field("alg"))
	if k.id == "" || len(k.id) > maxKeyID || !forSigning(jwk) {
		return key{}, false
	}
	if _, there := jwk["alg"]; there && !slices.Contains(algorithms(), k.alg) {
		return key{}, false
	}
	switch field("kty") {
	case "RSA":
		k.public, ok = parseRSA(field("n"), field("e"))
	case "EC":
		k.public, ok = parseEC(field("crv"), field("x"), field("y"))
	case "OKP":
		k.public, ok = parseEd25519(field("crv"), field("x"))
	}
	return k, ok
}

// forSigning reports whether "use" and "key_ops" (RFC 7517, sections 4.2 and 4.3) allow that the key checks signatures.
func forSigning(jwk map[string]any) bool {
	if use, there := jwk["use"]; there && use != "sig" {
		return false
	}
	ops, there := jwk["key_ops"]
	if !there {
		return true
	}
	list, _ := ops.([]any)
	return slices.Contains(list, any("verify"))
}

func parseRSA(n, e string) (*rsa.PublicKey, bool) {
	modulus, ok1 := decodeSegment(n)
	exponent, ok2 := decodeSegment(e)
	if !ok1 || !ok2 || len(modulus) > maxRSABits/8+1 || len(exponent) > 4 {
		return nil, false
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: int(new(big.Int).SetBytes(exponent).Int64())}
	bits := public.N.BitLen()
	return public, bits >= minRSABits && bits <= maxRSABits && public.N.Bit(0) == 1 && public.E >= 3 && public.E < 1<<31 && public.E%2 == 1
}

func parseEC(crv, x, y string) (*ecdsa.PublicKey, bool) {
	var curve elliptic.Curve
	switch crv {
	case "P-256":
		curve = elliptic.P256()
	case "P-384":
		curve = elliptic.P384()
	case "P-521":
		curve = elliptic.P521()
	default:
		return nil, false
	}
	size := (curve.Params().BitSize + 7) / 8
	xb, ok1 := decodeSegment(x)
	yb, ok2 := decodeSegment(y)
	if !ok1 || !ok2 || len(xb) != size || len(yb) != size {
		return nil, false
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, xb, yb))
	return public, err == nil // else the point is not on the curve
}

// parseEd25519 leaves it to go-jose, which knows the weak keys: for some, anybody can make a signature.
func parseEd25519(crv, x string) (ed25519.PublicKey, bool) {
	if _, ok := decodeSegment(x); !ok {
		return nil, false
	}
	data, err := json.Marshal(map[string]string{"kty": "OKP", "crv": crv, "x": x})
	if err != nil {
		return nil, false
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(data); err != nil {
		return nil, false
	}
	public, ok := jwk.Key.(ed25519.PublicKey)
	return public, ok
}
