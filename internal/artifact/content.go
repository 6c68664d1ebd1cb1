package artifact

import (
	"crypto/sha256"
	"encoding/binary"
)

// contentVersion begins what a canonical content digest is taken of. A change of the encoding changes it.
const contentVersion = "bezoar content 1\n"

// contentDigest is the canonical content digest of members that are in the order of [comparePaths] and whose
// paths are unique. It is the SHA-256 of contentVersion followed by, for each member but "terminalOutput":
//
//	type    1 byte: 'f' file, 'd' directory, 'l' symbolic link
//	mode    4 bytes: the permission bits (0777); 0 for links
//	path    4 bytes of length, then the cleaned path
//	target  4 bytes of length, then the target; empty if it is no link
//	size    8 bytes: the size of the file, holes included; 0 if it is none
//	sha256  32 bytes: of the file's bytes, holes included; zeros if it is none
//
// Numbers are big-endian. Nothing else goes in: no times, owners, order, framing, and not how a file was
// stored (with long-name records, sparse or in full).
func contentDigest(members []Member) (d Digest) {
	h := sha256.New()
	var buf []byte
	buf = append(buf, contentVersion...)
	for i := range members {
		m := &members[i]
		if m.Path == outputName {
			continue
		}
		buf = append(buf, byte(m.Type))
		buf = binary.BigEndian.AppendUint32(buf, uint32(m.Mode.Perm()))
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(m.Path)))
		buf = append(buf, m.Path...)
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(m.Target)))
		buf = append(buf, m.Target...)
		buf = binary.BigEndian.AppendUint64(buf, uint64(m.Size))
		buf = append(buf, m.SHA256[:]...)
		_, _ = h.Write(buf) // a hash never fails
		buf = buf[:0]
	}
	h.Sum(d[:0])
	return d
}
