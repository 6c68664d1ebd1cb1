package oidc

import (
	"crypto"
	"encoding/json"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

// clock stands where a test sets it.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// at is an issuer and a verifier whose clocks stand at start.
func at(t *testing.T) (*oidctest.Issuer, *Verifier, *clock) {
	t.Helper()
	c := &clock{start}
	iss := oidctest.NewOffline(t, theIssue)
	iss.Now = c.Now
	return iss, newVerifier(t, iss, new(logBook)), c
}

func TestTimes(t *testing.T) {
	iss, v, c := at(t)
	unix := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for _, tc := range []struct {
		name   string
		claims object
		here   time.Duration // what the clock shows here, from start on
		want   error
	}{
		{"just issued", nil, 0, nil},
		{"at exp", nil, 5 * time.Minute, nil},
		{"the last moment of the skew", nil, 6*time.Minute - 1, nil},
		{"after the skew", nil, 6 * time.Minute, ErrExpired},
		{"a year later", nil, 365 * 24 * time.Hour, ErrExpired},
		{"issued by a clock a minute ahead", object{"iat": unix(time.Minute), "nbf": nil}, 0, nil},
		{"issued in the future", object{"iat": unix(time.Minute + time.Second), "nbf": nil}, 0, ErrExpired},
		{"valid within a minute", object{"nbf": unix(time.Minute)}, 0, nil},
		{"valid later", object{"nbf": unix(time.Minute + time.Second)}, 0, ErrExpired},
		{"valid later, and here it is later", object{"nbf": unix(time.Hour), "exp": unix(2 * time.Hour)}, 61 * time.Minute, nil},
		{"without nbf", object{"nbf": nil}, 0, nil},
		{"fractions of seconds", object{"iat": json.Number("1795176000.75"), "exp": json.Number("1.795176300e9")}, 0, nil},
		{"for a year, used at once", object{"exp": unix(365 * 24 * time.Hour)}, 0, nil},
		{"for a year, used within a week", object{"exp": unix(365 * 24 * time.Hour)}, MaxLife, nil},
		{"for a year, used after a week", object{"exp": unix(365 * 24 * time.Hour)}, MaxLife + Skew, ErrExpired},
		{"for ever, used after a week", object{"exp": int64(maxDate)}, MaxLife + Skew, ErrExpired},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c.now = start
			raw := iss.Sign(claims(tc.claims))
			taken(t, v, iss.Sign(claims())) // the keys are here
			c.now = start.Add(tc.here)
			if tc.want != nil {
				refused(t, v, raw, tc.want)
				return
			}
			token := taken(t, v, raw)
			c.now = token.Expires.Add(-1)
			taken(t, v, raw)
			c.now = token.Expires
			refused(t, v, raw, ErrExpired) // as it says itself
		})
	}
}

func TestAudience(t *testing.T) {
	iss, v, _ := at(t)
	for _, tc := range []struct {
		name string
		aud  any
		want error
	}{
		{"ours", ours, nil},
		{"a list of ours", []string{ours}, nil},
		{"another", "https://other.example.com", ErrAudience},
		{"none", nil, ErrAudience},
		{"an empty one", "", ErrAudience},
		{"an empty list", []string{}, ErrAudience},
		{"a list of two with ours first", []string{ours, "https://other.example.com"}, ErrAudience},
		{"a list of two with ours last", []string{"https://other.example.com", ours}, ErrAudience},
		{"ours twice", []string{ours, ours}, ErrAudience},
		{"with a slash after", ours + "/", ErrAudience},
		{"longer", ours + ".attacker.example.net", ErrAudience},
		{"a part of it", ours[:len(ours)-1], ErrAudience},
		{"in other letters", "https://NX-cache.example.com", ErrAudience},
		{"with a blank", ours + " ", ErrAudience},
		{"two in one text", ours + " https://other.example.com", ErrAudience},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := iss.Sign(claims(object{"aud": tc.aud}))
			if tc.want != nil {
				refused(t, v, raw, tc.want)
				return
			}
			taken(t, v, raw)
		})
	}
	t.Run("without one of our own nothing is ours", func(t *testing.T) {
		v.Configure("", []Issuer{{URL: iss.URL}})
		refused(t, v, iss.Sign(claims(object{"aud": ""})), ErrAudience)
	})
}

// TestOnlyTheAuthenticIsExpiredOrForOthers shows that what is forged is called so, whatever its times and audience are.
func TestOnlyTheAuthenticIsExpiredOrForOthers(t *testing.T) {
	iss, v, c := at(t)
	forger := oidctest.NewOffline(t, theIssue)
	forger.Now = c.Now
	taken(t, v, iss.Sign(claims()))
	for name, over := range map[string]object{
		"expired":     {"iat": start.Unix() - 7200, "nbf": nil, "exp": start.Unix() - 3600},
		"to come":     {"iat": start.Unix() + 3600, "nbf": nil, "exp": start.Unix() + 7200},
		"for another": {"aud": "https://other.example.com"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, forger.Sign(claims(over)), ErrMalformed) })
	}
}

func TestWhatATokenSays(t *testing.T) {
	iss, v, _ := at(t)
	raw := iss.Sign(claims(object{"run_attempt": json.Number("12345678901234567890"), "groups": []string{"a"}, "nothing": json.RawMessage("null")}))
	token := taken(t, v, raw)
	if token.Issuer != theIssue || !token.IssuedAt.Equal(start) || !token.Expires.Equal(start.Add(5*time.Minute+Skew)) {
		t.Errorf("got %+v", token)
	}
	if n := token.Claims["run_attempt"]; n != json.Number("12345678901234567890") {
		t.Errorf("a number lost digits: %v", n)
	}
	if sub := token.Claims["sub"]; sub != secret {
		t.Errorf("sub %v", sub)
	}
	if list, ok := token.Claims["groups"].([]any); !ok || len(list) != 1 {
		t.Errorf("groups %v", token.Claims["groups"])
	}
	if nothing, ok := token.Claims["nothing"]; !ok || nothing != nil {
		t.Errorf("a null became %v", nothing)
	}
}

func TestIDs(t *testing.T) {
	iss, k := allKinds(t)
	v := newVerifier(t, iss, new(logBook))
	es256 := func(c object) string {
		return compact(t, object{"alg": "ES256", "kid": "p256"}, iss.Claims(claims(c)), es(k.p256, crypto.SHA256))
	}
	seen := map[string]string{}
	for name, raw := range map[string]string{
		"jti one":            es256(object{"jti": "one"}),
		"jti two":            es256(object{"jti": "two"}),
		"no jti":             es256(object{"jti": nil, "n": 1}),
		"no jti, another":    es256(object{"jti": nil, "n": 2}),
		"an empty jti":       es256(object{"jti": "", "n": 1}),
		"an empty jti again": es256(object{"jti": "", "n": 2}),
	} {
		token := taken(t, v, raw)
		if again := taken(t, v, raw); again.ID != token.ID {
			t.Errorf("%s: the same token has the ids %s and %s", name, token.ID, again.ID)
		}
		if other, ok := seen[token.ID]; ok {
			t.Errorf("%s has the id of %s", name, other)
		}
		seen[token.ID] = name
		if len(token.ID) != 43 {
			t.Errorf("%s: id %q", name, token.ID)
		}
	}
	t.Run("the signature is no part of it", func(t *testing.T) {
		c := object{"jti": nil, "n": 3}
		if a, b := taken(t, v, es256(c)), taken(t, v, es256(c)); a.ID != b.ID {
			t.Error("whoever signs again, or turns an ECDSA signature around, gets another id")
		}
	})
	t.Run("the same jti of another issuer is another", func(t *testing.T) {
		other := oidctest.NewOffline(t, "https://other.example.com")
		other.Now = iss.Now
		o := newVerifier(t, other, new(logBook))
		a, b := taken(t, v, es256(object{"jti": "one"})), taken(t, o, other.Sign(claims(object{"jti": "one"})))
		if a.ID == b.ID {
			t.Error("one id for both")
		}
	})
}
