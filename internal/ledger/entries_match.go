package ledger

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// maxFilterText bounds an id or a ref in a [Filter], in bytes.
const maxFilterText = 1024

// Match reports whether an entry is one that the filter asks for. It says of an entry what [Ledger.Entries] finds of a recorded one.
func (f *Filter) Match(e *cache.Entry) bool {
	p, created := &e.Record.Producer, nanos(e.Record.Created)
	switch {
	case f.Workspace != "" && f.Workspace != e.Key.Workspace,
		f.Scope != "" && f.Scope != e.Key.Scope,
		f.Hash != "" && f.Hash != e.Key.Hash,
		f.Run != "" && f.Run != p.RunID,
		f.Token != "" && f.Token != p.TokenID,
		f.Actor != "" && f.Actor != p.ActorID,
		f.Repository != "" && f.Repository != p.RepositoryID && f.Repository != p.SourceID,
		f.Ref != "" && f.Ref != p.Ref,
		!f.Since.IsZero() && created < nanos(f.Since),
		!f.Until.IsZero() && created >= nanos(f.Until):
		return false
	}
	return true
}

// Check refuses what cannot be asked for: a text that no database could keep as it is, or an end before the beginning.
func (f *Filter) Check() error { return f.validate() }

// validate refuses what a database could not keep as it is.
func (f *Filter) validate() error {
	for name, text := range map[string]string{"run": f.Run, "token": f.Token, "actor": f.Actor, "repository": f.Repository, "ref": f.Ref} {
		if len(text) > maxFilterText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return fmt.Errorf("the %s is named by at most %d bytes of text without control characters", name, maxFilterText)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return errors.New("it ends before it begins: no entry can be made in between")
	}
	return nil
}
