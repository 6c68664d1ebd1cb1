package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

// elsewhere is an address that no token may have fetched: the issuer's RoundTrip fails the test on any host but its own.
const elsewhere = "https://attacker.example.net/keys"

// forgery makes the tokens of attackers, who know all that is public, and have keys of their own.
type forgery struct {
	*testing.T
	iss  *oidctest.Issuer
	ring keyRing
	own  keyRing
}

func (f *forgery) claims(over ...object) object { return f.iss.Claims(claims(over...)) }

// signedWell is a token with a genuine signature, whatever its header and payload are.
func (f *forgery) signedWell(header, payload any) string {
	return compact(f, header, payload, rs(f.ring.rsa, crypto.SHA256))
}

func (f *forgery) good() string { return f.signedWell(rs256(), f.claims()) }

func rs256(over ...object) object {
	h := object{"alg": "RS256", "kid": "rsa", "typ": "JWT"}
	for _, o := range over {
		h = with(h, o)
	}
	return h
}

func jwkOf(key *rsa.PrivateKey, id string) object { return oidctest.JWK(&key.PublicKey, id) }

// forgeries are all of one name. None of them may be taken, and none may have anything fetched from elsewhere.
func forgeries() map[string]func(f *forgery) string {
	return map[string]func(f *forgery) string{
		// The algorithm.
		"none":                         func(f *forgery) string { return compact(f, rs256(object{"alg": "none"}), f.claims(), fixed("x")) },
		"none, without a signature":    func(f *forgery) string { return compact(f, rs256(object{"alg": "none"}), f.claims(), fixed("")) },
		"none, in other letters":       func(f *forgery) string { return compact(f, rs256(object{"alg": "nOnE"}), f.claims(), fixed("x")) },
		"no alg":                       func(f *forgery) string { return f.signedWell(rs256(object{"alg": nil}), f.claims()) },
		"alg that is a list":           func(f *forgery) string { return f.signedWell(rs256(object{"alg": []any{"RS256"}}), f.claims()) },
		"alg in other letters":         func(f *forgery) string { return f.signedWell(rs256(object{"alg": "rs256"}), f.claims()) },
		"HS256 with the PEM as secret": hs256(func(f *forgery) []byte { return pemOf(f, f.ring.rsa) }),
		"HS256 with the DER as secret": hs256(func(f *forgery) []byte { return derOf(f, f.ring.rsa) }),
		"HS256 with n as secret":       hs256(func(f *forgery) []byte { return f.ring.rsa.N.Bytes() }),
		"HS256 with the JWK as secret": hs256(func(f *forgery) []byte { return must(json.Marshal(rsaJWK(f.ring.rsa, "rsa")))(f) }),
		"HS256 with a symmetric key of the set": func(f *forgery) string {
			return compact(f, object{"alg": "HS256", "kid": "oct"}, f.claims(), hs([]byte(secret)))
		},
		"RS256 with the PS256 signature":      func(f *forgery) string { return compact(f, rs256(), f.claims(), ps(f.ring.rsa, crypto.SHA256)) },
		"PS256 with the RS256 signature":      func(f *forgery) string { return f.signedWell(rs256(object{"alg": "PS256"}), f.claims()) },
		"RS512 with the RS256 signature":      func(f *forgery) string { return f.signedWell(rs256(object{"alg": "RS512"}), f.claims()) },
		"RS512 where the key is for RS256":    func(f *forgery) string { return f.named("RS512", "rs256", rs(f.ring.rsa, crypto.SHA512)) },
		"PS256 where the key is for RS256":    func(f *forgery) string { return f.named("PS256", "rs256", ps(f.ring.rsa, crypto.SHA256)) },
		"ES256 with an RSA key":               func(f *forgery) string { return f.named("ES256", "rsa", es(f.own.p256, crypto.SHA256)) },
		"RS256 with an elliptic key":          func(f *forgery) string { return f.named("RS256", "p256", rs(f.own.rsa, crypto.SHA256)) },
		"ES256 on P-384":                      func(f *forgery) string { return f.named("ES256", "p384", es(f.ring.p384, crypto.SHA256)) },
		"ES384 on P-256":                      func(f *forgery) string { return f.named("ES384", "p256", es(f.ring.p256, crypto.SHA384)) },
		"EdDSA with an elliptic key":          func(f *forgery) string { return f.named("EdDSA", "p256", ed(f.own.ed)) },
		"ES256 in DER":                        func(f *forgery) string { return f.named("ES256", "p256", inDER(f.ring.p256)) },
		"ES256 psychic, r and s zero":         func(f *forgery) string { return f.named("ES256", "p256", fixed(strings.Repeat("\x00", 64))) },
		"ES256 with r and s the order":        func(f *forgery) string { return f.named("ES256", "p256", theOrder(f.ring.p256)) },
		"ES256 with a zero before":            func(f *forgery) string { return f.named("ES256", "p256", longer(es(f.ring.p256, crypto.SHA256))) },
		"RS256 with a zero before":            func(f *forgery) string { return f.named("RS256", "rsa", longer(rs(f.ring.rsa, crypto.SHA256))) },
		"RS256 with a signature of zeros":     func(f *forgery) string { return f.named("RS256", "rsa", fixed(strings.Repeat("\x00", 256))) },
		"EdDSA with a signature of zeros":     func(f *forgery) string { return f.named("EdDSA", "ed", fixed(strings.Repeat("\x00", 64))) },
		"a small RSA key, though in the set":  func(f *forgery) string { return f.named("RS256", "small", rs(f.ring.small, crypto.SHA256)) },
		"a key for encryption, in the set":    func(f *forgery) string { return f.named("RS256", "enc", rs(f.ring.rsa, crypto.SHA256)) },
		"the signature of another token":      func(f *forgery) string { return spliced(f.good(), f.good(), 2) },
		"the claims of another token":         func(f *forgery) string { return spliced(f.good(), f.good(), 1) },
		"one bit of the signature":            func(f *forgery) string { return flipped(f.good()) },
		"a key of two with one name, neither": func(f *forgery) string { return f.named("RS256", "twice", rs(f.own.rsa, crypto.SHA256)) },

		// The key.
		"own key under a known kid": func(f *forgery) string { return f.named("RS256", "rsa", rs(f.own.rsa, crypto.SHA256)) },
		"own key under a foreign kid": func(f *forgery) string {
			return f.named("RS256", "mine", rs(f.own.rsa, crypto.SHA256))
		},
		"good key under a foreign kid": func(f *forgery) string { return f.signedWell(rs256(object{"kid": "mine"}), f.claims()) },
		"no kid":                       func(f *forgery) string { return f.signedWell(rs256(object{"kid": nil}), f.claims()) },
		"empty kid":                    func(f *forgery) string { return f.signedWell(rs256(object{"kid": ""}), f.claims()) },
		"kid that is a number":         func(f *forgery) string { return f.signedWell(rs256(object{"kid": 1}), f.claims()) },
		"kid that is long": func(f *forgery) string {
			return f.signedWell(rs256(object{"kid": strings.Repeat("k", 257)}), f.claims())
		},
		"kid that is a path":      func(f *forgery) string { return f.named("RS256", "../../../etc/passwd", rs(f.own.rsa, crypto.SHA256)) },
		"kid that is an address":  func(f *forgery) string { return f.named("RS256", elsewhere, rs(f.own.rsa, crypto.SHA256)) },
		"jku":                     withOwn(func(*forgery) object { return object{"jku": elsewhere} }),
		"jku, though signed well": func(f *forgery) string { return f.signedWell(rs256(object{"jku": elsewhere}), f.claims()) },
		"x5u":                     withOwn(func(*forgery) object { return object{"x5u": elsewhere} }),
		"jwk, embedded":           withOwn(func(f *forgery) object { return object{"jwk": jwkOf(f.own.rsa, "rsa")} }),
		"jwk, though signed well": func(f *forgery) string {
			return f.signedWell(rs256(object{"jwk": jwkOf(f.ring.rsa, "rsa")}), f.claims())
		},
		"x5c, embedded": withOwn(func(f *forgery) object { return object{"x5c": []any{certificate(f, f.own.rsa)}} }),
		"crit": func(f *forgery) string {
			return f.signedWell(rs256(object{"crit": []any{"exp"}, "exp": 1}), f.claims())
		},
		"crit, empty": func(f *forgery) string { return f.signedWell(rs256(object{"crit": []any{}}), f.claims()) },
		"crit, null":  func(f *forgery) string { return f.signedWell(`{"alg":"RS256","kid":"rsa","crit":null}`, f.claims()) },
		"b64":         func(f *forgery) string { return f.signedWell(rs256(object{"b64": false}), f.claims()) },
		"b64, unencoded payload signed": func(f *forgery) string {
			header, payload := segment(f, rs256(object{"b64": false, "crit": []any{"b64"}})), string(must(json.Marshal(f.claims()))(f))
			return header + "." + encode([]byte(payload)) + "." + encode(rs(f.ring.rsa, crypto.SHA256)(f, []byte(header+"."+payload)))
		},
		"b64, unencoded payload signed, crit left out": func(f *forgery) string {
			header, payload := segment(f, rs256(object{"b64": false})), string(must(json.Marshal(f.claims()))(f))
			return header + "." + encode([]byte(payload)) + "." + encode(rs(f.ring.rsa, crypto.SHA256)(f, []byte(header+"."+payload)))
		},
		"typ of another token":    func(f *forgery) string { return f.signedWell(rs256(object{"typ": "at+jwt"}), f.claims()) },
		"typ that is null":        func(f *forgery) string { return f.signedWell(`{"alg":"RS256","kid":"rsa","typ":null}`, f.claims()) },
		"a token inside, cty":     func(f *forgery) string { return f.signedWell(rs256(object{"cty": "JWT"}), f.claims()) },
		"nonce that is a number":  func(f *forgery) string { return f.signedWell(rs256(object{"nonce": 7}), f.claims()) },
		"header with alg twice":   func(f *forgery) string { return f.signedWell(`{"alg":"none","alg":"RS256","kid":"rsa"}`, f.claims()) },
		"header that is a list":   func(f *forgery) string { return f.signedWell(`["RS256"]`, f.claims()) },
		"header nested deep":      func(f *forgery) string { return f.signedWell(rs256(object{"a": object{"b": object{}}}), f.claims()) },
		"header with many values": func(f *forgery) string { return f.signedWell(many(rs256(), 17), f.claims()) },
		"header that is long": func(f *forgery) string {
			return f.signedWell(rs256(object{"x": strings.Repeat("x", 2000)}), f.claims())
		},

		// The form.
		"nothing":               func(*forgery) string { return "" },
		"two parts":             func(f *forgery) string { return cut(f.good(), 2) },
		"four parts":            func(f *forgery) string { return f.good() + ".e30" },
		"five parts, encrypted": func(f *forgery) string { return f.good() + ".e30.e30" },
		"no signature":          func(f *forgery) string { return cut(f.good(), 2) + "." },
		"no payload":            func(f *forgery) string { return segment(f, rs256()) + ".." + encode([]byte("x")) },
		"oversize": func(f *forgery) string {
			return f.signedWell(rs256(), f.claims(object{"pad": strings.Repeat("x", MaxToken)}))
		},
		"a megabyte of dots":       func(*forgery) string { return strings.Repeat(".", 1<<20) },
		"JSON serialization, flat": func(f *forgery) string { return jsonForm(f, f.good(), false) },
		"JSON serialization, two signatures": func(f *forgery) string {
			return jsonForm(f, f.good(), true)
		},
		"a blank before":             func(f *forgery) string { return " " + f.good() },
		"a line end after":           func(f *forgery) string { return f.good() + "\n" },
		"a line end inside":          func(f *forgery) string { return f.good()[:40] + "\n" + f.good()[40:] },
		"a tab inside the signature": func(f *forgery) string { s := f.good(); return s[:len(s)-5] + "\t" + s[len(s)-5:] },
		"a no-break space":           func(f *forgery) string { return f.good() + "\u00a0" },
		"padding":                    func(f *forgery) string { return f.good() + "==" },
		"the plain alphabet":         func(f *forgery) string { return plainAlphabet(f) },
		"stray bits at the end":      func(f *forgery) string { return strayBits(f.good()) },
		"Bearer before":              func(f *forgery) string { return "Bearer " + f.good() },
		"nothing but dots":           func(*forgery) string { return ".." },
		"a payload that is no JSON":  func(f *forgery) string { return f.signedWell(rs256(), secret) },
		"a payload that is a list":   func(f *forgery) string { return f.signedWell(rs256(), []any{f.claims()}) },
		"a payload that is null":     func(f *forgery) string { return f.signedWell(rs256(), "null") },
		"two payloads":               func(f *forgery) string { return f.signedWell(rs256(), "{}"+text1(f)) },
		"nested deep":                func(f *forgery) string { return f.payload(`"x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9)) },
		"nested very deep": func(f *forgery) string {
			return f.payload(`"x":` + strings.Repeat("[", 2500) + strings.Repeat("]", 2500))
		},
		"many claims":                 func(f *forgery) string { return f.signedWell(rs256(), many(f.claims(), 257)) },
		"a long list":                 func(f *forgery) string { return f.payload(`"x":[` + strings.Repeat("0,", 300) + `0]`) },
		"iss twice":                   func(f *forgery) string { return f.payload(`"iss":"https://attacker.example.net"`) },
		"aud twice":                   func(f *forgery) string { return f.payload(`"aud":"` + ours + `"`) },
		"a claim twice, in escapes":   func(f *forgery) string { return f.payload(`"repositor\u0079_id":"1"`) },
		"a claim twice, further down": func(f *forgery) string { return f.payload(`"x":{"y":[{"a":1,"a":2}]}`) },
		"bytes that are no UTF-8":     func(f *forgery) string { return f.payload("\"ref\":\"\xff\"") },
		"half a character":            func(f *forgery) string { return f.payload(`"ref":"\ud800"`) },
		"the other half":              func(f *forgery) string { return f.payload(`"ref":"\udc00x"`) },
		"half a character and half":   func(f *forgery) string { return f.payload(`"ref":"\ud800\u0041"`) },

		// Claims that decide what the token is.
		"no iss":                 func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iss": nil})) },
		"iss that is a list":     func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iss": []any{theIssue}})) },
		"iss with a slash after": func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iss": theIssue + "/"})) },
		"iss in other letters": func(f *forgery) string {
			return f.signedWell(rs256(), f.claims(object{"iss": strings.ToUpper(theIssue)}))
		},
		"iss with a blank":   func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iss": theIssue + " "})) },
		"iss without scheme": func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iss": "ci.example.com"})) },
		"an issuer that is not known": func(f *forgery) string {
			return f.signedWell(rs256(), f.claims(object{"iss": "https://attacker.example.net"}))
		},
		"an issuer on the inner network": func(f *forgery) string {
			return f.signedWell(rs256(), f.claims(object{"iss": "http://169.254.169.254"}))
		},
		"ISS of another beside iss": func(f *forgery) string { return f.payload(`"ISS":"https://attacker.example.net"`) },
		"aud that is a number":      func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"aud": 1})) },
		"aud that has a number":     func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"aud": []any{ours, 1}})) },
		"aud that is null":          func(f *forgery) string { return f.payloadWithout("aud", `"aud":null`) },
		"no exp":                    func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"exp": nil})) },
		"no iat":                    func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"iat": nil})) },
		"exp that is a text":        func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"exp": "4102444800"})) },
		"exp that is huge":          func(f *forgery) string { return f.payloadWithout("exp", `"exp":1e300`) },
		"exp that is no float":      func(f *forgery) string { return f.payloadWithout("exp", `"exp":1e999`) },
		"exp that is negative":      func(f *forgery) string { return f.payloadWithout("exp", `"exp":-1`) },
		"exp that wraps":            func(f *forgery) string { return f.payloadWithout("exp", `"exp":9223372036854775807`) },
		"exp after the year 9999":   func(f *forgery) string { return f.payloadWithout("exp", `"exp":253402300800`) },
		"exp before iat":            func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"exp": start.Unix() - 1})) },
		"exp at iat":                func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"exp": start.Unix()})) },
		"nbf that is a text":        func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"nbf": "now"})) },
		"jti that is a number":      func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"jti": 7})) },
		"jti that is long": func(f *forgery) string {
			return f.signedWell(rs256(), f.claims(object{"jti": strings.Repeat("j", 513)}))
		},
		"sub that is a number":            func(f *forgery) string { return f.signedWell(rs256(), f.claims(object{"sub": 7})) },
		"claims that are to come by link": func(f *forgery) string { return f.payload(`"_claim_names":{"sub":"x"}`) },
	}
}

func TestForgeries(t *testing.T) {
	iss, ring := allKinds(t)
	own := newKeyRing(t)
	for name, forge := range forgeries() {
		t.Run(name, func(t *testing.T) {
			f := &forgery{t, iss, ring, own}
			v := newVerifier(t, iss, new(logBook))
			taken(t, v, f.good())
			refused(t, v, forge(f), why(name))
			taken(t, v, f.good())
		})
	}
}

// why is the error of a forgery: of an issuer that nobody knows, a token may be authentic as well.
func why(name string) error {
	switch name {
	case "iss with a slash after", "iss in other letters", "iss with a blank", "iss without scheme", "an issuer that is not known", "an issuer on the inner network":
		return ErrIssuer
	}
	return ErrMalformed
}

// TestJunkCostsNothing shows that what is malformed, or of an unknown issuer, has no key set fetched.
func TestJunkCostsNothing(t *testing.T) {
	iss, ring := allKinds(t)
	f := &forgery{t, iss, ring, ring}
	v := newVerifier(t, iss, new(logBook))
	for _, name := range []string{"none", "HS256 with the PEM as secret", "jku", "x5u", "jwk, embedded", "x5c, embedded", "crit", "oversize", "nested deep", "iss twice",
		"no kid", "kid that is long", "an issuer that is not known", "an issuer on the inner network", "iss with a slash after", "no exp", "JSON serialization, flat"} {
		refused(t, v, forgeries()[name](f), why(name))
	}
	if n := iss.Discoveries() + iss.Fetches(); n != 0 {
		t.Errorf("%d requests to the issuer", n)
	}
}

func (f *forgery) named(alg, kid string, sign signer) string {
	return compact(f, object{"alg": alg, "kid": kid, "typ": "JWT"}, f.claims(), sign)
}

// payload signs good claims with a text added as it is.
func (f *forgery) payload(added string) string {
	return f.signedWell(rs256(), strings.TrimSuffix(text1(f), "}")+","+added+"}")
}

func (f *forgery) payloadWithout(claim, added string) string {
	data := string(must(json.Marshal(f.claims(object{claim: nil})))(f))
	return f.signedWell(rs256(), strings.TrimSuffix(data, "}")+","+added+"}")
}

func text1(f *forgery) string { return string(must(json.Marshal(f.claims()))(f)) }

func hs256(key func(f *forgery) []byte) func(f *forgery) string {
	return func(f *forgery) string { return f.named("HS256", "rsa", hs(key(f))) }
}

// withOwn is a token signed with the attacker's key, and a header that leads to it.
func withOwn(header func(f *forgery) object) func(f *forgery) string {
	return func(f *forgery) string {
		return compact(f, rs256(header(f)), f.claims(), rs(f.own.rsa, crypto.SHA256))
	}
}

func derOf(f *forgery, key *rsa.PrivateKey) []byte {
	return must(x509.MarshalPKIXPublicKey(&key.PublicKey))(f)
}

func pemOf(f *forgery, key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: derOf(f, key)})
}

func certificate(f *forgery, key *rsa.PrivateKey) string {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ci.example.com"}, NotAfter: start.Add(time.Hour)}
	return base64.StdEncoding.EncodeToString(must(x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key))(f))
}

func inDER(key *ecdsa.PrivateKey) signer {
	return func(tb testing.TB, signed []byte) []byte {
		return must(ecdsa.SignASN1(rand.Reader, key, sum(crypto.SHA256, signed)))(tb)
	}
}

func theOrder(key *ecdsa.PrivateKey) signer {
	n := string(key.Params().N.Bytes())
	return fixed(n + n)
}

func longer(sign signer) signer {
	return func(tb testing.TB, signed []byte) []byte { return append([]byte{0}, sign(tb, signed)...) }
}

func spliced(a, b string, part int) string {
	pa, pb := strings.Split(a, "."), strings.Split(b, ".")
	pa[part] = pb[part]
	return strings.Join(pa, ".")
}

func flipped(token string) string {
	parts := strings.Split(token, ".")
	data, _ := base64.RawURLEncoding.DecodeString(parts[2])
	data[100] ^= 1
	parts[2] = encode(data)
	return strings.Join(parts, ".")
}

func cut(token string, parts int) string {
	return strings.Join(strings.Split(token, ".")[:parts], ".")
}

func jsonForm(f *forgery, token string, twice bool) string {
	p := strings.Split(token, ".")
	v := object{"payload": p[1], "protected": p[0], "signature": p[2]}
	if twice {
		signature := object{"protected": p[0], "signature": p[2]}
		v = object{"payload": p[1], "signatures": []any{signature, signature}}
	}
	return string(must(json.Marshal(v))(f))
}

// plainAlphabet writes the signature with + and /, in which it surely has some.
func plainAlphabet(f *forgery) string {
	for {
		parts := strings.Split(f.good(), ".")
		if strings.ContainsAny(parts[2], "-_") {
			parts[2] = strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])
			return strings.Join(parts, ".")
		}
	}
}

// strayBits changes bits of the last character that decode to nothing: 256 bytes leave four of them.
func strayBits(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

func many(o object, n int) object {
	o = with(o, nil)
	for i := range n {
		o["c"+string(rune('a'+i%26))+strings.Repeat("x", i/26)] = i
	}
	return o
}
