package divergence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Bounds of a comparison.
const (
	// maxTime bounds one, reading of both bodies included.
	maxTime = time.Minute
	// maxMembers bounds the members of an archive, and memberMemory the bytes that the table of one takes; their paths are held in it, too.
	maxMembers   = 50_000
	memberMemory = 32 << 20
	// maxInflated bounds the bytes of an archive after decompression.
	maxInflated = 4 << 30
	// MaxListed bounds the members that are kept of a comparison, and maxListedBytes what they take as JSON.
	MaxListed      = 20
	maxListedBytes = 8 << 10
	// maxText bounds each path and target that is kept, in bytes.
	maxText = 256
)

// State says what became of a comparison.
type State string

// The states of a comparison. The zero value: there was none yet.
const (
	// Compared: Members has what differs.
	Compared State = "compared"
	// Same: there is nothing that differs, so the digests were made in different ways, or are not those of the entries.
	Same State = "same"
	// Gone: one of the entries is there no more, or another one is.
	Gone State = "gone"
	// Opaque: one of them is not an archive of the known format.
	Opaque State = "opaque"
	// TooLarge: it would take more time or memory than a comparison may.
	TooLarge State = "too large"
	// Unreadable: the store did not give them out for an hour.
	Unreadable State = "unreadable"
)

// Comparison is what differs between two archives. Paths and targets come from whoever made them. It is kept as JSON.
type Comparison struct {
	State State `json:"state"`
	// Note says in words why there was none.
	Note string `json:"note,omitempty"`
	// Members has the first members that differ, in the order of paths; Differing counts all.
	Members   []Member `json:"members"`
	Differing int      `json:"differing"`
	// TrustedOnly and OtherOnly count those of them that one archive alone has.
	TrustedOnly int `json:"trusted_only"`
	OtherOnly   int `json:"other_only"`
	// Signature is the same for archives in which the same members differ in the same way; see [signature]. Zero: not known.
	Signature artifact.Digest `json:"-"`
}

// Member is a member that differs. A side that does not have it is nil.
type Member struct {
	// Path is cut to 256 bytes.
	Path    string `json:"path"`
	Trusted *Side  `json:"trusted"`
	Other   *Side  `json:"other"`
}

// Side is a member as one archive has it.
type Side struct {
	Type   string           `json:"type"`
	Mode   string           `json:"mode"`
	Size   int64            `json:"size"`
	SHA256 *artifact.Digest `json:"sha256,omitempty"`
	Target string           `json:"target,omitempty"`
}

// compare opens both entries and says what differs. An error is the store's, or that ctx has ended: it may go better later.
func compare(ctx context.Context, store cache.Store, d *Divergence) (Comparison, error) {
	if d.Trusted.Opaque || d.Other.Opaque {
		return Comparison{State: Opaque, Note: "a body is not an archive of the known format, and was stored unchecked"}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	members := make(map[string]artifact.Member)
	unfit, err := walk(bounded, store, d.Key(true), &d.Trusted, func(m artifact.Member) { members[m.Path] = m })
	seen := make(map[string]struct{})
	var differing []pair
	if err == nil && unfit == nil {
		unfit, err = walk(bounded, store, d.Key(false), &d.Other, func(other artifact.Member) {
			if _, again := seen[other.Path]; again {
				return // a directory may be there more than once
			}
			seen[other.Path] = struct{}{}
			trusted, both := members[other.Path]
			if !both || trusted != other {
				differing = append(differing, newPair(trusted, other, both, true))
			}
		})
	}
	switch {
	case ctx.Err() != nil:
		return Comparison{}, ctx.Err()
	case bounded.Err() != nil:
		return Comparison{State: TooLarge, Note: fmt.Sprintf("the entries could not be read within %v", maxTime)}, nil
	case err != nil:
		return Comparison{}, err
	case unfit != nil:
		return *unfit, nil
	}
	for path, trusted := range members {
		if _, both := seen[path]; !both {
			differing = append(differing, newPair(trusted, artifact.Member{}, true, false))
		}
	}
	return newComparison(differing, members), nil
}

// outputName is the member that holds what a task printed, which says nothing of what it made.
const outputName = "terminalOutput"

// walk calls each with the members of an entry. It returns a comparison if there can be none.
func walk(ctx context.Context, store cache.Store, key cache.Key, record *cache.Record, each func(artifact.Member)) (*Comparison, error) {
	name := "the entry in scope " + string(key.Scope)
	gone := func(what string) (*Comparison, error) { return &Comparison{State: Gone, Note: name + " " + what}, nil }
	object, err := store.Open(ctx, key)
	switch {
	case errors.Is(err, cache.ErrNotExist):
		return gone("was deleted before it was compared")
	case errors.Is(err, cache.ErrDamaged):
		return gone("is damaged and set aside")
	case err != nil:
		return nil, err
	}
	defer object.Close()
	if object.Record.SHA256 != record.SHA256 {
		return gone("was deleted before it was compared, and there is another one now")
	}
	summary, err := artifact.Walk(reader{ctx, object.Body}, artifact.Limits{
		MaxInflated: maxInflated, MaxMembers: maxMembers, Budget: artifact.NewBudget(memberMemory),
	}, func(m artifact.Member) error {
		if m.Path != outputName {
			each(m)
		}
		return nil
	})
	refused, isRefused := errors.AsType[*artifact.RefusedError](err)
	switch {
	case errors.Is(err, cache.ErrDamaged):
		return gone("is damaged")
	case isRefused:
		return &Comparison{State: TooLarge, Note: name + " is not one that is compared: " + cut(refused.Error())}, nil
	case errors.Is(err, artifact.ErrBusy):
		return &Comparison{State: TooLarge, Note: name + " has too many members to be compared"}, nil
	case err != nil:
		return nil, err
	case summary.SHA256 != record.SHA256:
		return gone("does not have the bytes of its record")
	}
	return nil, nil
}

// reader ends with its context.
type reader struct {
	ctx  context.Context //nolint:containedctx // for one walk
	body io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.body.Read(p)
}

// pair is a path whose members differ.
type pair struct {
	path string
	kind string // what differs
	Member
}

func newPair(trusted, other artifact.Member, inTrusted, inOther bool) pair {
	p := pair{path: other.Path}
	if inTrusted {
		p.path, p.Trusted = trusted.Path, newSide(&trusted)
	}
	if inOther {
		p.Other = newSide(&other)
	}
	switch {
	case !inOther:
		p.kind = "trusted only"
	case !inTrusted:
		p.kind = "other only"
	case trusted.Type != other.Type:
		p.kind = "type"
	default:
		var kinds []string
		for kind, differs := range map[string]bool{
			"mode": trusted.Mode != other.Mode, "content": trusted.SHA256 != other.SHA256 || trusted.Size != other.Size, "target": trusted.Target != other.Target,
		} {
			if differs {
				kinds = append(kinds, kind)
			}
		}
		slices.Sort(kinds)
		p.kind = strings.Join(kinds, " ")
	}
	p.Path = cut(p.path)
	return p
}

func newSide(m *artifact.Member) *Side {
	s := &Side{Type: m.Type.String(), Mode: fmt.Sprintf("%04o", m.Mode.Perm()), Size: m.Size, Target: cut(m.Target)}
	if m.Type == artifact.File {
		s.SHA256 = &m.SHA256
	}
	return s
}

func newComparison(differing []pair, trusted map[string]artifact.Member) Comparison {
	if len(differing) == 0 {
		return Comparison{State: Same, Members: []Member{}}
	}
	slices.SortFunc(differing, func(a, b pair) int { return strings.Compare(a.path, b.path) })
	c := Comparison{State: Compared, Members: []Member{}, Differing: len(differing), Signature: signature(differing, trusted)}
	listed := 0
	for i := range differing {
		p := &differing[i]
		switch {
		case p.Other == nil:
			c.TrustedOnly++
		case p.Trusted == nil:
			c.OtherOnly++
		}
		if i < MaxListed && listed <= maxListedBytes {
			text, _ := json.Marshal(p.Member) // strings and numbers: it does not fail
			if listed += len(text); listed <= maxListedBytes {
				c.Members = append(c.Members, p.Member)
			}
		}
	}
	return c
}

// cut bounds a text of others', and makes it UTF-8.
func cut(text string) string {
	if len(text) > maxText {
		text = text[:maxText] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
