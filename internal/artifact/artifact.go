// Package artifact knows the archive that Nx uploads: a gzip'd tar of a task's outputs, with the members
// "code" (exit status) and "terminalOutput" beside them.
//
// The archive comes from outside and is unpacked by clients that trust it blindly (Nx before 23.0.2
// follows "..", absolute paths and links out of its cache folder), so [Check] refuses whatever a
// client must never be given. It streams: no artifact is ever held in memory.
package artifact

import "fmt"

// Limits bounds what an archive may make of a reader. The zero value of a field means "no bound".
type Limits struct {
	// MaxInflated bounds the bytes of the archive after decompression, sparse files counted by the size
	// that they unpack to.
	MaxInflated int64
	// MaxRatio bounds inflated bytes per compressed byte. It applies beyond the first [RatioFloor]
	// inflated bytes: a small file of zeros is no bomb.
	MaxRatio int64
	// MaxMembers bounds the number of members.
	MaxMembers int
	// MaxPathLength bounds each path and each link target, in bytes.
	MaxPathLength int
	// Budget is shared by checks that run at once and bounds what their tables of members take together. Nil: nothing does.
	Budget *Budget
	// AllowUnknown lets a body through that is no gzip at all, unchecked, as [Summary.Opaque]. Nx says
	// that its format may change; until it does, such a body is an error or an attack.
	AllowUnknown bool
}

const (
	// RatioFloor is the number of inflated bytes that are allowed at any ratio.
	RatioFloor = 1 << 30
	// HoleFloor is the number of bytes in holes of sparse files that are allowed at any ratio. It is small: a
	// hole of any size costs its uploader nothing, but whoever digests and unpacks it pays for each byte.
	HoleFloor = 16 << 20
)

// DefaultLimits are generous for builds and too small for bombs.
func DefaultLimits() Limits {
	return Limits{
		MaxInflated:   16 << 30,
		MaxRatio:      200,
		MaxMembers:    250_000,
		MaxPathLength: 4096,
	}
}

// Digest is a SHA-256.
type Digest [32]byte

// Summary is what [Check] learned of an archive that it lets through.
type Summary struct {
	// Size counts the bytes as uploaded, compressed.
	Size int64
	// SHA256 is the digest of the bytes as uploaded.
	SHA256 Digest
	// Content is the canonical digest of what the archive unpacks to: path, type, mode and bytes of each
	// member in the order of paths, without times, owners, gzip framing and terminalOutput. Two honest runs of a
	// deterministic task have the same one, while their bytes differ. How it is made is documented at
	// contentDigest. Zero if Opaque.
	Content Digest
	// Inflated counts the bytes after decompression, sparse files by the size that they unpack to.
	Inflated int64
	// Members counts the archive's members.
	Members int
	// Opaque says that the body was no gzip and was let through unchecked by [Limits.AllowUnknown].
	Opaque bool
}

// RefusedError says why an archive is refused. Its text is fit for the uploader's eyes.
type RefusedError struct {
	// Member is the path of the member at fault; empty if it is the archive as a whole.
	Member string
	// Reason is a clause such as "is an absolute path".
	Reason string
}

func (e *RefusedError) Error() string {
	if e.Member == "" {
		return "the archive " + e.Reason
	}
	return fmt.Sprintf("member %q %s", e.Member, e.Reason)
}
