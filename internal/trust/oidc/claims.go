package oidc

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// maxDate is the last second of the year 9999, the last that RFC 3339 can write.
const maxDate = 253402300799

var errDate = errors.New("is no number of seconds since 1970")

// checkAudience takes a token that is for us and for nobody else. One that names others as well could have been handed to us by them.
func (p *presented) checkAudience(ours string) error {
	if ours != "" && len(p.audience) == 1 && p.audience[0] == ours {
		return nil
	}
	return fmt.Errorf("%w: the one and only audience has to be %q, exactly; ask the CI for a token with this aud", ErrAudience, ours)
}

// token judges the times of a token that is authentic.
func (p *presented) token(now time.Time) (*Token, error) {
	if from := later(p.issued, p.notBefore); from.After(now.Add(Skew)) {
		return nil, fmt.Errorf("%w: it is not valid before %s, and here it is %s: set the clock of this server, or that of the issuer",
			ErrExpired, text(from), text(now))
	}
	end := p.expires
	if last := p.issued.Add(MaxLife); end.After(last) {
		end = last
	}
	until := end.Add(Skew)
	switch {
	case now.Before(until):
	case end.Equal(p.expires):
		return nil, fmt.Errorf("%w: it expired at %s, and here it is %s: ask the CI for a new one", ErrExpired, text(end), text(now))
	default:
		return nil, fmt.Errorf("%w: it was issued at %s, more than %d days ago, and older ones are not taken whatever they say: ask the CI for a new one",
			ErrExpired, text(p.issued), int(MaxLife.Hours()/24))
	}
	return &Token{Issuer: p.issuer, ID: p.id(), IssuedAt: p.issued, Expires: until, Claims: p.claims}, nil
}

// id is made of what is signed alone. The signature is no part of it: of an elliptic curve's, anybody can make a second valid one.
func (p *presented) id() string {
	kind, value := "jti", p.jti
	if value == "" {
		kind, value = "signed", p.signed
	}
	// The issuer is one of the configuration's URLs, so that no line end of it moves the border to the value.
	sum := sha256.Sum256([]byte(kind + "\n" + p.issuer + "\n" + value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func text(t time.Time) string { return t.UTC().Format(time.RFC3339) }
