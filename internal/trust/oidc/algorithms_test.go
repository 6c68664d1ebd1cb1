package oidc

import (
	"crypto"
	"testing"
)

func TestEveryAlgorithmThatIsTaken(t *testing.T) {
	iss, k := allKinds(t)
	v := newVerifier(t, iss, new(logBook))
	for _, c := range []struct {
		alg, kid string
		sign     signer
	}{
		{"RS256", "rsa", rs(k.rsa, crypto.SHA256)}, {"RS384", "rsa", rs(k.rsa, crypto.SHA384)}, {"RS512", "rsa", rs(k.rsa, crypto.SHA512)},
		{"PS256", "rsa", ps(k.rsa, crypto.SHA256)}, {"PS384", "rsa", ps(k.rsa, crypto.SHA384)}, {"PS512", "rsa", ps(k.rsa, crypto.SHA512)},
		{"ES256", "p256", es(k.p256, crypto.SHA256)}, {"ES384", "p384", es(k.p384, crypto.SHA384)}, {"ES512", "p521", es(k.p521, crypto.SHA512)},
		{"EdDSA", "ed", ed(k.ed)},
		{"RS256", "rs256", rs(k.rsa, crypto.SHA256)},
		// Two keys with one name: each is what its kind makes of it.
		{"RS256", "twice", rs(k.rsa, crypto.SHA256)}, {"ES256", "twice", es(k.p256, crypto.SHA256)},
	} {
		t.Run(c.alg+" "+c.kid, func(t *testing.T) {
			// Without typ, as Kubernetes sends it, and with.
			taken(t, v, compact(t, object{"alg": c.alg, "kid": c.kid}, iss.Claims(claims()), c.sign))
			taken(t, v, compact(t, object{"alg": c.alg, "kid": c.kid, "typ": "JWT", "x5t": "abc"}, iss.Claims(claims()), c.sign))
		})
	}
	if n := iss.Fetches(); n != 1 {
		t.Errorf("%d fetches for one key set", n)
	}
}
