package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// version counts the forms of the payload. A release reads its own alone: a session lives for hours at most, and what an older or a
// newer release meant by it is not guessed.
const version = 1

// payload is the signed part, as JSON. A field that is added, removed or changes its meaning is a new version.
type payload struct {
	Version   int             `json:"v"`
	ID        string          `json:"sid"`
	Issued    int64           `json:"iat"` // seconds since the Unix epoch
	Expires   int64           `json:"exp"`
	Workspace cache.Workspace `json:"workspace"`
	Read      []cache.Scope   `json:"read,omitempty"`
	Write     cache.Scope     `json:"write,omitempty"`
	Policy    string          `json:"policy"`
	Rule      string          `json:"rule,omitempty"`
	Issuer    string          `json:"iss"`
	Claims    map[string]any  `json:"claims"`
	Producer  cache.Producer  `json:"producer"` // but for its session and issuer, which stand above
}

func (s *Session) encode() ([]byte, error) {
	p := payload{
		Version: version, ID: s.ID, Issued: s.Issued.Unix(), Expires: s.Expires.Unix(),
		Workspace: s.Grant.Workspace, Read: s.Grant.Read, Write: s.Grant.Write,
		Policy: s.Policy, Rule: s.Rule, Issuer: s.Issuer, Claims: s.Claims, Producer: s.Grant.Producer,
	}
	p.Producer.Session, p.Producer.Issuer = "", ""
	if err := p.check(); err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

func decode(data []byte) (*Session, error) {
	// What this release does not know may be what limits the session: the whole of it is refused.
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	dec.DisallowUnknownFields()
	var p payload
	if err := dec.Decode(&p); err != nil {
		return nil, ErrVersion
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, ErrVersion
	}
	if p.Version != version {
		return nil, ErrVersion
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVersion, err)
	}
	p.Producer.Session, p.Producer.Issuer = p.ID, p.Issuer
	return &Session{
		ID:     p.ID,
		Grant:  cache.Grant{Workspace: p.Workspace, Read: p.Read, Write: p.Write, Producer: p.Producer},
		Issuer: p.Issuer, Claims: p.Claims, Policy: p.Policy, Rule: p.Rule,
		Issued: time.Unix(p.Issued, 0).UTC(), Expires: time.Unix(p.Expires, 0).UTC(),
	}, nil
}

// check looks at what is signed as at what comes from outside: a mistake of ours must not become a scope that nobody meant.
func (p *payload) check() error {
	switch {
	case !IsID(p.ID):
		return fmt.Errorf("a session without an id")
	case p.Issuer == "" || p.Policy == "":
		return fmt.Errorf("a session without an issuer or a policy")
	case p.Expires <= p.Issued:
		return fmt.Errorf("a session that ends before it begins")
	}
	if _, err := cache.ParseWorkspace(string(p.Workspace)); err != nil {
		return err
	}
	for _, scope := range p.Read {
		if _, err := cache.ParseScope(string(scope)); err != nil {
			return err
		}
	}
	if p.Write == "" {
		return nil
	}
	_, err := cache.ParseScope(string(p.Write))
	return err
}
