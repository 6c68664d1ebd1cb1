package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// maxOtherScopes bounds the scopes that are named where the one that was asked for has no entry.
const maxOtherScopes = 20

// Sight is what lies in an entry's place.
type Sight struct {
	cache.Entry
	Place  string // path or URL
	Damage error
	Body   io.Reader // nil if there is none to be had
	Close  func()
}

// Finder looks for entries and changes nothing.
type Finder interface {
	// Look is [cache.ErrNotExist] if there is nothing under key. The caller closes the sight.
	Look(ctx context.Context, key cache.Key) (*Sight, error)
	// Scopes names scopes that have an entry under a hash, at most so many.
	Scopes(ctx context.Context, workspace cache.Workspace, hash cache.Hash, most int) ([]cache.Scope, error)
}

// Inspection is what there is to be said of an entry. Its JSON is what the API answers and what the command prints: fields are added, never changed.
type Inspection struct {
	Workspace cache.Workspace `json:"workspace"`
	Scope     string          `json:"scope"`
	Hash      cache.Hash      `json:"hash"`
	Path      string          `json:"path"`
	Damage    string          `json:"damage"`
	Seal      Seal            `json:"seal"`
	Record    cache.Record    `json:"record"`
	Archive   *Archive        `json:"archive,omitempty"`
}

// Seal is what a seal is worth.
type Seal struct {
	State  string `json:"state"`
	KeyID  string `json:"key_id,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// States of a seal.
const (
	SealGood      = "good"
	SealUnchecked = "unchecked"
)

// Archive is what is in an artifact.
type Archive struct {
	Fault      string   `json:"fault"`
	ExitCode   *uint32  `json:"exit_code"`
	Members    []Member `json:"members"`
	Shown      int      `json:"members_shown"`
	Output     *string  `json:"output,omitempty"`
	OutputSize int64    `json:"output_size"`
	// InAll counts the members, 0 if that is not known.
	InAll int `json:"members_in_all"`
}

// Member is a file, directory or link in an archive.
type Member struct {
	Path   string           `json:"path"`
	Type   string           `json:"type"`
	Mode   string           `json:"mode"`
	Size   int64            `json:"size"`
	SHA256 *artifact.Digest `json:"sha256,omitempty"`
	Target string           `json:"target,omitempty"`
}

func (a *acting) inspect(ctx context.Context, key cache.Key, look Look) (*Inspection, error) {
	found, err := a.opts.Finder.Look(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return nil, a.missing(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	defer found.Close()
	in := &Inspection{Workspace: key.Workspace, Scope: string(key.Scope), Hash: key.Hash, Path: found.Place, Record: found.Record}
	if found.Damage != nil {
		in.Damage = found.Damage.Error()
	}
	if in.Seal, err = a.opts.Seal(key, found.Record); err != nil {
		return nil, err
	}
	if found.Body != nil && !found.Record.Opaque && look.Archive {
		inside, err := artifact.Look(untilDone{ctx.Err, found.Body}, a.opts.Limits, look.Members, look.Output)
		if ctx.Err() != nil {
			return nil, ctx.Err() // and no fault of the archive's
		}
		in.Archive = newArchive(&inside, err, look.Output > 0)
	}
	return in, nil
}

// untilDone ends the reading of a large archive when nobody waits for it any more.
type untilDone struct {
	done func() error
	r    io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.done(); err != nil {
		return 0, err
	}
	return u.r.Read(p)
}

func newArchive(inside *artifact.Inside, fault error, output bool) *Archive {
	a := &Archive{Members: []Member{}, Shown: len(inside.First), OutputSize: inside.OutputSize, InAll: inside.Members}
	if fault != nil {
		a.Fault = fault.Error()
	}
	if inside.HasCode {
		a.ExitCode = &inside.Code
	}
	if output {
		text := string(inside.Output)
		a.Output = &text
	}
	for i := range inside.First {
		m := &inside.First[i]
		member := Member{Path: m.Path, Type: m.Type.String(), Mode: fmt.Sprintf("%04o", m.Mode.Perm()), Size: m.Size, Target: m.Target}
		if m.Type == artifact.File {
			member.SHA256 = &m.SHA256
		}
		a.Members = append(a.Members, member)
	}
	return a
}

// missing is the error of an entry that is not there.
func (a *acting) missing(ctx context.Context, key cache.Key) error {
	text := fmt.Sprintf("there is no entry %s in scope %s of workspace %s", key.Hash, Harmless(string(key.Scope), ""), key.Workspace)
	scopes, err := a.opts.Finder.Scopes(ctx, key.Workspace, key.Hash, maxOtherScopes)
	if err != nil {
		return fmt.Errorf("%s; and which scopes have it cannot be told: %w", text, err)
	}
	if len(scopes) == 0 {
		return fail(NotFound, "%s, nor in another scope of it", text)
	}
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = Harmless(string(scope), "")
	}
	more := ""
	if len(scopes) == maxOtherScopes {
		more = ", and maybe others"
	}
	return fail(NotFound, "%s; there is one in %s%s", text, strings.Join(names, ", "), more)
}

// JudgeSeal verifies the seal of a record as a server would.
func JudgeSeal(keys keyring.Keys, key cache.Key, record cache.Record) Seal {
	s := Seal{State: SealGood, KeyID: seal.KeyID(record.Seal)}
	err := seal.Verify(keys, key, record)
	switch {
	case err == nil:
		return s
	case errors.Is(err, seal.ErrMissing):
		s.State = "missing"
	case errors.Is(err, seal.ErrUnknownKey):
		s.State = "unknown_key"
	case errors.Is(err, seal.ErrLater):
		s.State = "later_release"
	default:
		s.State = "broken"
	}
	s.Reason = err.Error()
	return s
}
