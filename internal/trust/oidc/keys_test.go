package oidc

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestWhichKeysOfASetAreTaken(t *testing.T) {
	ring := newKeyRing(t)
	good, ec, okp := rsaJWK(ring.rsa, "k"), ecJWK(t, ring.p256, "k"), edJWK(ring.ed, "k")
	offCurve := encode(make([]byte, 32))
	n := func(bits uint) string { // an odd number of so many bits, and no key
		return encode(new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1).Bytes())
	}
	for _, c := range []struct {
		name string
		jwk  any
		want bool
	}{
		{"RSA", good, true},
		{"RSA for signatures", with(good, object{"use": "sig", "key_ops": []any{"verify"}, "alg": "PS512"}), true},
		{"RSA without use", with(good, object{"use": nil}), true},
		{"RSA with certificates, good or bad", with(good, object{"x5c": []any{"no certificate"}, "x5t": "?", "x5u": "https://attacker.example.net"}), true},
		{"RSA with private parts beside it", with(good, object{"d": "AQAB"}), true},
		{"RSA with 2048 bits", with(good, object{"n": n(2048)}), true},
		{"RSA with 8192 bits", with(good, object{"n": n(8192)}), true},
		{"RSA with exponent 3", with(good, object{"e": "Aw"}), true},
		{"RSA with 2047 bits", with(good, object{"n": n(2047)}), false},
		{"RSA with 1024 bits", rsaJWK(ring.small, "k"), false},
		{"RSA with 8193 bits", with(good, object{"n": n(8193)}), false},
		{"RSA with 2048 bits after many zeros", with(good, object{"n": encode(append(make([]byte, 2000), ring.rsa.N.Bytes()...))}), false},
		{"RSA with an even modulus", with(good, object{"n": encode(new(big.Int).SetBit(big.NewInt(0), 2047, 1).Bytes())}), false},
		{"RSA with exponent 1", with(good, object{"e": "AQ"}), false},
		{"RSA with exponent 2", with(good, object{"e": "Ag"}), false},
		{"RSA with an even exponent", with(good, object{"e": "AQAA"}), false},
		{"RSA with a huge exponent", with(good, object{"e": "AQAAAAE"}), false},
		{"RSA with an exponent of 32 bits", with(good, object{"e": encode(binary.BigEndian.AppendUint32(nil, 0xFFFFFFFF))}), false},
		{"RSA without modulus", with(good, object{"n": nil}), false},
		{"RSA without exponent", with(good, object{"e": nil}), false},
		{"RSA in the plain alphabet", with(good, object{"n": strings.Repeat("+/", 171)}), false},
		{"RSA for encryption", with(good, object{"use": "enc"}), false},
		{"RSA with a use that is no text", with(good, object{"use": object{}}), false},
		{"RSA that only signs", with(good, object{"key_ops": []any{"sign"}}), false},
		{"RSA with operations that are no list", with(good, object{"key_ops": "verify"}), false},
		{"RSA with strange operations", with(good, object{"key_ops": []any{object{}, []any{}}}), false},
		{"RSA for OAEP", with(good, object{"alg": "RSA-OAEP"}), false},
		{"RSA for none", with(good, object{"alg": "none"}), false},
		{"RSA for HS256", with(good, object{"alg": "HS256"}), false},
		{"RSA with an alg that is no text", with(good, object{"alg": 256}), false},
		{"RSA with an empty alg", with(good, object{"alg": ""}), false},
		{"without kid", with(good, object{"kid": nil}), false},
		{"with a kid that is a number", with(good, object{"kid": 7}), false},
		{"with a long kid", with(good, object{"kid": strings.Repeat("k", 257)}), false},
		{"P-256", ec, true},
		{"P-384", ecJWK(t, ring.p384, "k"), true},
		{"P-521", ecJWK(t, ring.p521, "k"), true},
		{"a point that is not on the curve", with(ec, object{"x": offCurve}), false},
		{"the point zero", with(ec, object{"x": offCurve, "y": offCurve}), false},
		{"a point of another curve", with(ec, object{"crv": "P-384"}), false},
		{"a curve of Bitcoin", with(ec, object{"crv": "secp256k1"}), false},
		{"a short coordinate", with(ec, object{"x": "AQ"}), false},
		{"Ed25519", okp, true},
		{"Ed25519, short", with(okp, object{"x": "AQ"}), false},
		{"Ed25519, all zeros, which signs for anybody", with(okp, object{"x": offCurve}), false},
		{"Ed25519, the neutral point", with(okp, object{"x": encode(append([]byte{1}, make([]byte, 31)...))}), false},
		{"Ed448", with(okp, object{"crv": "Ed448"}), false},
		{"X25519", with(okp, object{"crv": "X25519"}), false},
		{"symmetric", object{"kty": "oct", "kid": "k", "k": "c2VjcmV0"}, false},
		{"an unknown kind", object{"kty": "AKP", "kid": "k", "alg": "ML-DSA-65"}, false},
		{"no kind", with(good, object{"kty": nil}), false},
		{"no object", "key", false},
		{"null", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A key that is left out is no harm to the others.
			data := must(json.Marshal(object{"keys": []any{c.jwk, edJWK(ring.ed, "other")}}))(t)
			keys, err := parseKeySet(data)
			if err != nil {
				t.Fatal(err)
			}
			if got := len(keys) == 2; got != c.want || keys[len(keys)-1].id != "other" {
				t.Errorf("taken: %v, want %v", got, c.want)
			}
		})
	}
}

func TestKeySetsThatAreNone(t *testing.T) {
	ring := newKeyRing(t)
	var many []any
	for range maxKeys + 1 {
		many = append(many, edJWK(ring.ed, "k"))
	}
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"nothing":            {"", errNoObject},
		"a page":             {"<html>", errNoObject},
		"a list":             {"[]", errNoObject},
		"no keys":            {"{}", errNoKeys},
		"keys that are none": {`{"keys":{}}`, errNoKeys},
		"an empty set":       {`{"keys":[]}`, errNoKeys},
		"keys twice":         {`{"keys":[],"keys":[]}`, errDuplicate},
		"a kid twice":        {`{"keys":[{"kid":"a","kid":"b"}]}`, errDuplicate},
		"too many":           {string(must(json.Marshal(object{"keys": many}))(t)), errManyKeys},
		"nested deep":        {`{"keys":` + strings.Repeat("[", 8) + strings.Repeat("]", 8) + `}`, errDeep},
		"nested very deep":   {`{"keys":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`, errNoObject},
		"many values":        {`{"keys":[],"x":[` + strings.Repeat("0,", 5000) + `0]}`, errManyValues},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := parseKeySet([]byte(c.text))
			if keys != nil || !errors.Is(err, c.want) {
				t.Errorf("keys %v, error %v, want %v", keys, err, c.want)
			}
		})
	}
}

func TestWithdrawnKeysAreBounded(t *testing.T) {
	var current *keySet
	at := start
	for range maxWithdrawn + 3 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		at = at.Add(time.Hour)
		next, gone := (&keySet{keys: []key{{id: "k", public: public}}, asOf: at}).succeed(current)
		if gone != (current != nil) {
			t.Errorf("a key was withdrawn: %v", gone)
		}
		if current != nil && !next.withdrawn[0].same(current.keys[0]) {
			t.Error("the last withdrawn key is not remembered")
		}
		current = next
	}
	if n := len(current.withdrawn); n != maxWithdrawn {
		t.Errorf("%d are remembered", n)
	}
	next, gone := (&keySet{keys: append([]key{current.withdrawn[3].key}, current.keys...), asOf: at.Add(time.Hour)}).succeed(current)
	if gone || len(next.withdrawn) != maxWithdrawn-1 {
		t.Errorf("a key that came back is still called withdrawn: %d are", len(next.withdrawn))
	}
}

func TestKeysFitTheirAlgorithmsAlone(t *testing.T) {
	ring := newKeyRing(t)
	kinds := map[string]key{
		"RS PS": {id: "k", public: &ring.rsa.PublicKey}, "ES256": {id: "k", public: &ring.p256.PublicKey},
		"ES384": {id: "k", public: &ring.p384.PublicKey}, "ES512": {id: "k", public: &ring.p521.PublicKey},
		"EdDSA": {id: "k", public: ring.ed.Public().(ed25519.PublicKey)},
	}
	for _, alg := range append(algorithms(), "none", "HS256", "") {
		for kind, k := range kinds {
			want := string(alg) == kind || kind == "RS PS" && (strings.HasPrefix(string(alg), "RS") || strings.HasPrefix(string(alg), "PS"))
			if got := k.fits("k", alg); got != want {
				t.Errorf("%s and %s: %v", kind, alg, got)
			}
			if k.fits("other", alg) {
				t.Errorf("%s fits another name", kind)
			}
		}
	}
}
