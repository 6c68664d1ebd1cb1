package admin

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

const (
	// DefaultExpiry is short enough that a forgotten token ends by itself. One that has expired breaks no build: it runs without
	// the cache.
	DefaultExpiry = "90d"
	// maxExpiryDays keeps slips of the keyboard from making tokens that never expire in effect.
	maxExpiryDays = 3660
)

// DescribeToken makes a token of what was said about it. It has no text and no hash yet. What is wrong with a part is a [*FieldError].
func DescribeToken(asked NewToken, now time.Time) (t trust.Token, err error) {
	if slices.ContainsFunc([]string{asked.Name, asked.Workspace, asked.Access, asked.Role, asked.Developer, asked.Expires}, trust.HoldsToken) { // what is wrong is repeated below, and a secret must not be
		return t, fail(BadRequest, "there is a token in what describes one (not shown): the token itself is made here")
	}
	if asked.Name == "" {
		return t, &FieldError{Field: "name", Says: " is required: it tells people what the token is for"}
	}
	if t.Name, err = trust.ParseTokenName(asked.Name); err != nil {
		return t, field("name", err)
	}
	if err := describeRights(&t, asked); err != nil {
		return t, err
	}
	if asked.Workspace != "" {
		if t.Workspace, err = cache.ParseWorkspace(asked.Workspace); err != nil {
			return t, field("workspace", err)
		}
	} else if t.Role == "" {
		t.Workspace = cache.DefaultWorkspace
	}
	t.Created = now.UTC().Truncate(time.Millisecond) // as the ledger keeps it
	if asked.Expires == "" {
		asked.Expires = DefaultExpiry
	}
	if t.Expires, err = parseExpires(asked.Expires, t.Created); err != nil {
		return t, field("expires", err)
	}
	return t, nil
}

// describeRights reads what a token may do: something with the cache, or something with the API.
func describeRights(t *trust.Token, asked NewToken) (err error) {
	switch {
	case asked.Access == "" && asked.Role == "":
		return &FieldError{Field: "access", Says: " is required: read, isolated or trusted; only trusted can put entries into everybody's builds. (A token of operators has a role instead.)"}
	case asked.Access != "" && asked.Role != "":
		return &FieldError{Field: "role", Says: " and access exclude each other: a token of operators is none of the cache"}
	case asked.Role != "":
		if asked.Developer != "" {
			return &FieldError{Field: "developer", Says: " and role exclude each other: a token of operators stores nothing"}
		}
		if t.Role, err = trust.ParseRole(asked.Role); err != nil {
			return field("role", err)
		}
		return nil
	}
	if t.Access, err = trust.ParseAccess(asked.Access); err != nil {
		return field("access", err)
	}
	if asked.Developer == "" {
		return nil
	}
	if t.Developer, err = trust.ParseDeveloper(asked.Developer); err != nil {
		return field("developer", err)
	}
	if t.Access != trust.Isolated {
		return &FieldError{Field: "developer", Says: fmt.Sprintf(" needs the access %s: a developer's machine stores what that person alone reads", trust.Isolated)}
	}
	return nil
}

// parseExpires reads when a token ends; the zero time is never.
func parseExpires(s string, now time.Time) (time.Time, error) {
	if s == "never" {
		return time.Time{}, nil
	}
	latest := now.AddDate(0, 0, maxExpiryDays)
	at, err := expiryTime(s, now, latest)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%q is none of 90d, 2160h, 2027-01-31, a time as in RFC 3339, or never", s)
	case !at.After(now):
		return time.Time{}, fmt.Errorf("%q is over already", s)
	case at.After(latest):
		return time.Time{}, fmt.Errorf("%q is more than %d days ahead: say never if that is what you mean", s, maxExpiryDays)
	}
	return at.UTC().Truncate(time.Millisecond), nil
}

func expiryTime(s string, now, latest time.Time) (time.Time, error) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(digits, 10, 32)
		if days > maxExpiryDays {
			return latest.Add(1), err
		}
		return now.AddDate(0, 0, int(days)), err
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, s)
}

// DescribeRevocation makes a revocation of what was said about it. Its errors repeat none of it where it may be a secret.
func DescribeRevocation(asked NewRevocation, now time.Time) (r trust.Revocation, err error) {
	kind, value := trust.RevocationKind(asked.Kind), asked.Value
	if kind == trust.RevokeSession {
		if value, err = trust.SessionID(value); err != nil {
			return r, fail(BadRequest, "%v", err)
		}
	}
	for _, s := range []string{asked.Kind, value, asked.Workspace, asked.Reason} {
		if trust.HoldsToken(s) || strings.Contains(s, "eyJ") && strings.Count(s, ".") >= 2 {
			return r, fail(BadRequest, "there is a token where an id or a text belongs (not shown); 'bezoar token revoke' revokes static tokens")
		}
	}
	var named cache.Workspace
	if asked.Workspace != "" {
		if named, err = cache.ParseWorkspace(asked.Workspace); err != nil {
			return r, field("workspace", err)
		}
	}
	r, err = trust.NewRevocation(kind, value, named, asked.Reason, now.UTC().Truncate(time.Millisecond)) // as the ledger keeps it
	if err != nil {
		return r, fail(BadRequest, "%v", err)
	}
	return r, nil
}

// TokenID finds the id or name of a token in what a person has of it, which may be the token itself. Its errors repeat none of it.
func TokenID(text string) (string, error) {
	if !strings.Contains(text, trust.TokenPrefix) && !strings.Contains(text, trust.AdminPrefix) {
		if trust.HoldsToken(text) {
			return "", errors.New("this is the token of a session, and no static token (not shown): 'bezoar revoke session' takes it")
		}
		return text, nil
	}
	hash, err := trust.ParseToken(text)
	if err != nil {
		return "", err
	}
	return hash.ID(), nil
}
