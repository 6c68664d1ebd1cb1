package artifact

import "bytes"

// The tar reader of this package takes exactly the tar that the client's own library (the Rust crate tar,
// 0.4) writes, and of the rest only what all its releases read alike. A general reader would be the
// wrong tool: where two readers of one archive disagree, what was checked is not what gets unpacked.
// So these are refused though some readers know them: PAX headers beyond the plain ones (see pax.go), other flavours of ustar, numbers in any form but octal and plain base 256, sizes on members
// without a body, and types that the crate would unpack as if they were files.

// blockSize is the unit of a tar.
const blockSize = 512

// The type flags of tar, of those that have a meaning here.
const (
	flagOldFile  = 0
	flagFile     = '0'
	flagHardLink = '1'
	flagSymlink  = '2'
	flagDir      = '5'
	flagSparse   = 'S'
	flagLongName = 'L'
	flagLongLink = 'K'
	flagPAX      = 'x'
	flagPAXAll   = 'g'
)

// block is a tar header as it is in the archive.
type block []byte

// The fields of a header: POSIX.1-1988 ustar, then those of GNU's old format in their place.
func (b block) name() []byte        { return b[0:100] }
func (b block) mode() []byte        { return b[100:108] }
func (b block) size() []byte        { return b[124:136] }
func (b block) checksum() []byte    { return b[148:156] }
func (b block) flag() byte          { return b[156] }
func (b block) target() []byte      { return b[157:257] }
func (b block) afterTarget() []byte { return b[257:512] }
func (b block) magic() string       { return string(b[257:265]) }
func (b block) prefix() []byte      { return b[345:500] }
func (b block) ustarPad() []byte    { return b[500:512] }
func (b block) gnuTimes() []byte    { return b[345:386] } // some readers take a bad time for a prefix of the name
func (b block) gnuSparse() []byte   { return b[386:495] }
func (b block) segments() []byte    { return b[386:482] }
func (b block) extended() byte      { return b[482] }
func (b block) wholeSize() []byte   { return b[483:495] }
func (b block) gnuPad() []byte      { return b[495:512] }

// The flavours of tar headers, told by magic and version.
const (
	magicOld   = "\x00\x00\x00\x00\x00\x00\x00\x00" // Nx writes "code" and "terminalOutput" so
	magicGNU   = "ustar  \x00"                      // and everything else so
	magicUstar = "ustar\x0000"
)

// header is a tar header that was understood.
type header struct {
	flag   byte
	gnu    bool
	ustar  bool
	mode   int64
	size   int64  // of what follows in the archive
	prefix []byte // alias of the block, like name and target
	name   []byte
	target []byte
}

// parse reads a header; the reason is empty if there is nothing against it.
func (h *header) parse(b block) (reason string) {
	sum, ok := number(b.checksum(), false)
	if !ok || sum != b.sum() {
		return "has a damaged tar header: its checksum is wrong"
	}
	*h = header{flag: b.flag(), name: b.name(), target: b.target()}
	known := false
	switch b.magic() {
	case magicOld:
		known = isZero(b.afterTarget())
	case magicGNU:
		h.gnu = true
		known = isZero(b.gnuTimes()) && isZero(b.gnuPad()) && (h.flag == flagSparse || isZero(b.gnuSparse()))
	case magicUstar:
		h.ustar = true
		h.prefix = b.prefix()
		known = isZero(b.ustarPad())
	}
	if !known {
		return "has a tar header of a flavour that Nx does not write"
	}
	for _, field := range [...]*[]byte{&h.name, &h.target, &h.prefix} {
		if *field, ok = text(*field); !ok {
			return "has a tar header with a NUL within a name"
		}
	}
	if h.size, ok = number(b.size(), true); !ok || isZero(b.size()) {
		return "has a tar header without a valid size"
	}
	if h.mode, ok = number(b.mode(), false); !ok {
		return "has a tar header without a valid mode"
	}
	return ""
}

// sum is the checksum of the block: its bytes, those of the checksum itself taken for spaces.
func (b block) sum() int64 {
	sum := int64(8 * ' ')
	for _, c := range b[:148] {
		sum += int64(c)
	}
	for _, c := range b[156:] {
		sum += int64(c)
	}
	return sum
}

// text reads a field that ends with its first NUL, if any. Nothing may hide behind it.
func text(field []byte) ([]byte, bool) {
	i := bytes.IndexByte(field, 0)
	if i < 0 {
		return field, true
	}
	return field[:i], isZero(field[i:])
}

// number reads a numeric field: octal digits, with spaces in front and spaces or NULs behind, all NULs
// for 0; or, in fields of 12 bytes if binary, base 256 of at most 63 bits.
func number(field []byte, binary bool) (int64, bool) {
	if binary && field[0] == 0x80 {
		if field[1] != 0 || field[2] != 0 || field[3] != 0 || field[4]&0x80 != 0 {
			return 0, false
		}
		n := int64(0)
		for _, c := range field[4:] {
			n = n<<8 | int64(c)
		}
		return n, true
	}
	if isZero(field) {
		return 0, true
	}
	field = bytes.TrimLeft(field, " ")
	n, i := int64(0), 0
	for ; i < len(field) && '0' <= field[i] && field[i] <= '7'; i++ {
		n = n<<3 | int64(field[i]-'0') // 12 digits have 36 bits
	}
	for _, c := range field[i:] {
		if c != ' ' && c != 0 {
			return 0, false
		}
	}
	return n, i > 0
}

func isZero(b []byte) bool {
	for len(b) > len(zeros) {
		if !bytes.Equal(b[:len(zeros)], zeros[:]) {
			return false
		}
		b = b[len(zeros):]
	}
	return bytes.Equal(b, zeros[:len(b)])
}

// zeros is never written to.
var zeros [4096]byte
