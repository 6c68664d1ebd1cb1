package oidc

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Limits of a token's parts.
const (
	maxHeader = 2 << 10 // bytes, encoded
	maxKeyID  = 256     // bytes
	maxJTI    = 512     // bytes
)

var (
	headerLimits  = limits{depth: 2, members: 16}
	payloadLimits = limits{depth: 8, members: 256}
)

// algorithms are those that a token may be signed with: asymmetric ones alone. Anybody has the issuer's public keys, so that a MAC proves nothing.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
	}
}

func algorithmNames() []string {
	list := algorithms()
	names := make([]string, len(list))
	for i, alg := range list {
		names[i] = string(alg)
	}
	return names
}

// refusedHeaders are header parameters (RFC 7515, RFC 7516, RFC 7797) that ask for keys from elsewhere, for extensions that must be understood, or for another reading of
// the payload. No CI sends them: GitHub and Azure DevOps send alg, kid, typ and x5t; GitLab, CircleCI, Buildkite, Bitbucket and Kubernetes less.
func refusedHeaders() []string {
	return []string{"jku", "jwk", "x5u", "x5c", "crit", "b64", "cty", "enc", "zip", "epk"}
}

// presented is a token whose form is good. Nothing in it is to be believed before its signature is checked.
type presented struct {
	raw      string
	signed   string // the bytes that are signed: header and payload, as they came
	payload  []byte
	alg      jose.SignatureAlgorithm
	kid      string
	claims   map[string]any
	issuer   string
	audience []string
	jti      string
	// issued and expires are always there, notBefore may be zero.
	issued, expires, notBefore time.Time
}

// parse takes a token apart. Its errors wrap [ErrMalformed].
func parse(raw string) (*presented, error) {
	if len(raw) > MaxToken {
		return nil, malformed("it is larger than 8 KiB, and no CI's token is: send the token that the CI gave for this server")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, malformed("it is no JWT of three parts with dots between them: send the token as the CI gave it, whole and with nothing around it")
	}
	if len(parts[0]) > maxHeader {
		return nil, malformed("its header is larger than 2 KiB, and no CI's is")
	}
	var decoded [3][]byte
	for i, part := range parts {
		data, ok := decodeSegment(part)
		if !ok {
			return nil, malformed("a part of it is not in base64url: send the token as the CI gave it, without blanks, line ends or padding")
		}
		decoded[i] = data
	}
	p := &presented{raw: raw, signed: parts[0] + "." + parts[1], payload: decoded[1]}
	if err := p.readHeader(decoded[0]); err != nil {
		return nil, err
	}
	return p, p.readClaims()
}

// decodeSegment decodes the one way to write some bytes: encoding/base64 alone would take line ends, and stray bits at the end.
func decodeSegment(s string) ([]byte, bool) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}) {
		return nil, false
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return data, err == nil
}

func (p *presented) readHeader(data []byte) error {
	header, err := decodeObject(data, headerLimits)
	if err != nil {
		return malformed("its header " + err.Error())
	}
	alg, _ := header["alg"].(string)
	p.alg = jose.SignatureAlgorithm(alg)
	if !slices.Contains(algorithms(), p.alg) {
		return malformed("it is not signed with RS, PS or ES 256, 384 or 512 or EdDSA: have the issuer sign with one of these")
	}
	if typ, ok := header["typ"]; ok {
		if s, _ := typ.(string); !strings.EqualFold(s, "JWT") {
			return malformed("its header says that it is of a type other than JWT: send the identity token, not another one")
		}
	}
	for _, name := range refusedHeaders() {
		if _, ok := header[name]; ok {
			return malformed("its header has the parameter " + name + ", which no CI sends and this server does not follow")
		}
	}
	p.kid, _ = header["kid"].(string)
	if p.kid == "" || len(p.kid) > maxKeyID {
		return malformed("its header names no key in kid, or not in 1 to 256 bytes: have the issuer name the key")
	}
	return nil
}

func (p *presented) readClaims() error {
	claims, err := decodeObject(p.payload, payloadLimits)
	if err != nil {
		return malformed("its payload " + err.Error())
	}
	p.claims = claims
	if p.issuer, _ = claims["iss"].(string); p.issuer == "" {
		return malformed("it names no issuer in iss")
	}
	if !p.readAudience() {
		return malformed("its aud claim is neither a string nor a list of strings")
	}
	if jti, ok := claims["jti"]; ok {
		if p.jti, ok = jti.(string); !ok || len(p.jti) > maxJTI {
			return malformed("its jti claim is no string of at most 512 bytes")
		}
	}
	if p.issued, err = numericDate(claims["iat"]); err != nil {
		return malformed("its iat claim " + err.Error())
	}
	if p.expires, err = numericDate(claims["exp"]); err != nil {
		return malformed("its exp claim " + err.Error())
	}
	if nbf, ok := claims["nbf"]; ok { // not every CI sends it
		if p.notBefore, err = numericDate(nbf); err != nil {
			return malformed("its nbf claim " + err.Error())
		}
	}
	if !p.expires.After(p.issued) {
		return malformed("it expires (exp) no later than it was issued (iat)")
	}
	return nil
}

func (p *presented) readAudience() bool {
	switch aud := p.claims["aud"].(type) {
	case nil:
		_, there := p.claims["aud"]
		return !there // without any, it is for nobody
	case string:
		p.audience = []string{aud}
		return true
	case []any:
		for _, a := range aud {
			s, ok := a.(string)
			if !ok {
				return false
			}
			p.audience = append(p.audience, s)
		}
		return true
	default:
		return false
	}
}

// numericDate reads a NumericDate (RFC 7519, section 2): seconds since 1970 as a JSON number, fractions dropped.
func numericDate(v any) (time.Time, error) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, errDate
	}
	seconds, err := n.Int64()
	if err != nil {
		f, err := n.Float64()
		if err != nil || !(f >= 0 && f <= maxDate) {
			return time.Time{}, errDate
		}
		seconds = int64(f)
	}
	if seconds < 0 || seconds > maxDate {
		return time.Time{}, errDate
	}
	return time.Unix(seconds, 0), nil
}
