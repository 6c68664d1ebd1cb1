package oidc

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// FuzzVerify shows that nothing is taken but the very tokens that the issuer's keys have signed, byte by byte, and that nothing panics.
func FuzzVerify(f *testing.F) {
	iss, k := allKinds(f)
	v := newVerifier(f, iss, new(logBook))
	signed := map[string]bool{
		compact(f, rs256(), iss.Claims(claims()), rs(k.rsa, crypto.SHA256)):                                          true,
		compact(f, object{"alg": "PS384", "kid": "rsa"}, iss.Claims(claims()), ps(k.rsa, crypto.SHA384)):             true,
		compact(f, object{"alg": "ES256", "kid": "p256"}, iss.Claims(claims()), es(k.p256, crypto.SHA256)):           true,
		compact(f, object{"alg": "ES512", "kid": "p521"}, iss.Claims(claims()), es(k.p521, crypto.SHA512)):           true,
		compact(f, object{"alg": "EdDSA", "kid": "ed"}, iss.Claims(claims(object{"aud": []string{ours}})), ed(k.ed)): true,
	}
	for raw := range signed {
		if _, err := v.Verify(f.Context(), raw); err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	// What fuzzing begins with has to be the same in every run, so that these are not signed: their form is what is of interest.
	for _, header := range []string{`{"alg":"none"}`, `{"alg":"HS256","kid":"rsa"}`, `{"alg":"RS256","kid":"rsa"}`, `{"alg":"ES256","kid":"p256","jwk":{}}`, `[]`} {
		f.Add(segment(f, header) + "." + segment(f, iss.Claims(claims(object{"jti": "1"}))) + "." + encode(make([]byte, 64)))
	}
	f.Add("..")
	f.Add(`{"payload":"","protected":"","signature":""}`)
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := v.Verify(t.Context(), raw)
		if err == nil && !signed[raw] {
			t.Fatalf("taken: %q", raw)
		}
		checkAnswer(t, token, err)
	})
}

// FuzzSigned signs any header and payload with the issuer's key. What is taken has to be right by what encoding/json makes of it.
func FuzzSigned(f *testing.F) {
	iss, k := allKinds(f)
	v := newVerifier(f, iss, new(logBook))
	good := func(over object) string {
		return string(must(json.Marshal(iss.Claims(claims(object{"jti": "1"}, over))))(f))
	}
	headers := []string{`{"alg":"RS256","kid":"rsa"}`, `{"alg":"RS256","kid":"rsa","typ":"JWT","x5t":"a"}`, `{"alg":"RS256","kid":"rsa","crit":[]}`,
		`{"alg":"RS256","kid":"rsa","nonce":1}`, `{"alg":"RS256","ALG":"none","kid":"rsa"}`}
	for _, header := range headers {
		f.Add(header, good(nil))
	}
	for _, over := range []object{{"aud": []string{ours}}, {"aud": []string{ours, ours}}, {"exp": 1e9}, {"iat": 4e9}, {"nbf": nil}, {"nbf": 4e9}, {"jti": nil}, {"sub": 1}, {"iss": theIssue + "/"},
		{"x": []any{object{"y": []any{}}}}, {"ref": "\U0001F600"}} {
		f.Add(headers[0], good(over))
	}
	f.Add(headers[0], `{"aud":"`+ours+`","AUD":"`+ours+`","iss":"`+theIssue+`","exp":1795176300.5,"iat":1.7951760e9,"ref":"\ud83d\ude00"}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		token, err := v.Verify(t.Context(), compact(t, header, payload, rs(k.rsa, crypto.SHA256)))
		checkAnswer(t, token, err)
		if err != nil {
			return
		}
		checkTaken(t, header, payload, token)
	})
}

// checkTaken is a second opinion on a token that was taken at the time start.
func checkTaken(t *testing.T, header, payload string, token *Token) {
	t.Helper()
	var h map[string]any
	if err := json.Unmarshal([]byte(header), &h); err != nil || h["alg"] != "RS256" || h["kid"] != "rsa" && h["kid"] != "rs256" && h["kid"] != "twice" {
		t.Fatalf("taken with the header %q: %v", header, err)
	}
	for _, name := range []string{"jku", "jwk", "x5u", "x5c", "crit", "b64"} {
		if _, ok := h[name]; ok {
			t.Errorf("taken with the header %q", header)
		}
	}
	var c map[string]any
	if err := json.Unmarshal([]byte(payload), &c); err != nil {
		t.Fatalf("taken with the payload %q: %v", payload, err)
	}
	aud, list := c["aud"].([]any)
	if c["iss"] != theIssue || !list && c["aud"] != ours || list && !slices.Equal(aud, []any{ours}) {
		t.Errorf("taken with the payload %q", payload)
	}
	now := float64(start.Unix())
	exp, iat := c["exp"].(float64), c["iat"].(float64)
	nbf, there := c["nbf"].(float64)
	if exp+60 <= now-1 || iat-60 > now+1 || there && nbf-60 > now+1 || iat+MaxLife.Seconds()+60 <= now-1 {
		t.Errorf("taken at the wrong time: %q", payload)
	}
	if token.Issuer != theIssue || len(token.Claims) != len(c) {
		t.Errorf("%q became %v", payload, token.Claims)
	}
}

// checkAnswer holds for any answer.
func checkAnswer(t *testing.T, token *Token, err error) {
	t.Helper()
	if (token == nil) != (err != nil) {
		t.Fatalf("token %v and error %v", token, err)
	}
	if err != nil && !slices.ContainsFunc(reasons, func(reason error) bool { return errors.Is(err, reason) }) {
		t.Errorf("no reason: %v", err)
	}
}

// FuzzKeySet shows that any text gives keys that can be used, or an error.
func FuzzKeySet(f *testing.F) {
	ring := newKeyRing(f)
	f.Add(string(must(json.Marshal(ring.set(f)))(f)))
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","x":"","y":""},{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"},null,[],7]}`)
	f.Add(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`)
	signature := encode(make([]byte, 64))
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeySet([]byte(text))
		if (len(keys) == 0) != (err != nil) || len(keys) > maxKeys {
			t.Fatalf("%d keys, error %v", len(keys), err)
		}
		set := &keySet{keys: keys}
		for _, k := range keys {
			for _, alg := range algorithms() {
				raw := segment(t, object{"alg": alg, "kid": k.id}) + ".e30." + signature
				if by := set.check(&presented{raw: raw, alg: alg, kid: k.id}); by != notByItsKey {
					t.Errorf("a signature of zeros was taken with %s: %v", alg, by)
				}
			}
		}
	})
}

// FuzzDecodeObject compares with encoding/json: what is taken means the same there.
func FuzzDecodeObject(f *testing.F) {
	for _, text := range []string{`{}`, `{"a":[1,{"b":null}],"c":1e5}`, `{"a":1,"a":2}`, `{"\ud83d\ude00":"\ud83d"}`, `{"a":"\\ud800"}`, `{"a":"\ud800\\"}`, "{\"a\":\"\xff\"}", `{} {}`, `[]`, `{"a":"\u00`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeObject([]byte(text), limits{depth: 4, members: 20})
		if err != nil {
			return
		}
		var want map[string]any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("taken, but: %v", err)
		}
		a, b := must(json.Marshal(got))(t), must(json.Marshal(want))(t)
		if string(a) != string(b) {
			t.Errorf("%s, not %s", a, b)
		}
		if strings.Contains(string(a), "\ufffd") && !strings.Contains(text, "\ufffd") && !strings.Contains(strings.ToLower(text), `\ufffd`) {
			t.Errorf("%q became %s", text, a)
		}
	})
}

// FuzzSegment shows that there is one way to write some bytes.
func FuzzSegment(f *testing.F) {
	for _, s := range []string{"", "e30", "e31", "e30=", "e3\n0", "-_", "+/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if data, ok := decodeSegment(s); ok && base64.RawURLEncoding.EncodeToString(data) != s {
			t.Errorf("%q is another way to write %q", s, data)
		}
	})
}
