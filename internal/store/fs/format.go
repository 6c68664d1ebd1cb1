package fs

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

// The footer, big-endian. Later versions keep its size, its magic and its checksum, so that
// an older bezoar can tell a newer entry from a damaged one.
//
//	offset  size
//	     0     6  magic "BEZOAR"
//	     6     2  version
//	     8     8  length of the body
//	    16     4  length of the JSON between body and footer
//	    20     4  CRC-32C of the JSON and of the footer before this field
const (
	footerSize    = 24
	footerMagic   = "BEZOAR"
	formatVersion = 1
)

// tailGuess is how much of a file's end is read at once; it holds footer and JSON of all but odd keys.
const tailGuess = 2048

// damageError says why a file is not a whole entry of the key under which it lies.
type damageError string

func (d damageError) Error() string { return string(d) }

// errLater is an entry that a later bezoar wrote. It is not damaged and must not be set aside.
var errLater = errors.New("was written by a later version of bezoar: update this server")

// encodeTail returns what follows the body of an entry in its file.
func encodeTail(entry cache.Entry) ([]byte, error) {
	tail, err := layout.EncodeEntry(entry)
	if err != nil {
		return nil, err
	}
	metaSize := len(tail)
	tail = append(tail, footerMagic...)
	tail = binary.BigEndian.AppendUint16(tail, formatVersion)
	tail = binary.BigEndian.AppendUint64(tail, uint64(entry.Record.Size))
	tail = binary.BigEndian.AppendUint32(tail, uint32(metaSize))
	return binary.BigEndian.AppendUint32(tail, checksum(tail)), nil
}

// decodeEntry reads what is behind the body in a file of size bytes. It returns a [damageError] if that is
// not consistent in itself, [errLater], or an error of file. It looks at no byte of the body, and buf, which
// should have [tailGuess] bytes, saves it allocations.
func decodeEntry(file io.ReaderAt, size int64, buf []byte) (cache.Entry, error) {
	if size < footerSize {
		return cache.Entry{}, damageError("it is too short to be an entry")
	}
	tail := buf[:min(int64(len(buf)), size)]
	if err := readFull(file, tail, size-int64(len(tail))); err != nil {
		return cache.Entry{}, err
	}
	footer := tail[len(tail)-footerSize:]
	if string(footer[:6]) != footerMagic {
		return cache.Entry{}, damageError("it does not end like an entry")
	}
	bodySize := int64(binary.BigEndian.Uint64(footer[8:]))
	metaSize := int64(binary.BigEndian.Uint32(footer[16:]))
	// The lengths are checked before anything is allocated by them; the comparison cannot overflow.
	if metaSize > layout.MaxEntry || bodySize < 0 || bodySize != size-footerSize-metaSize {
		return cache.Entry{}, damageError("its lengths do not add up")
	}
	if behind := footerSize + metaSize; behind <= int64(len(tail)) {
		tail = tail[int64(len(tail))-behind:]
	} else {
		tail = make([]byte, behind)
		if err := readFull(file, tail, bodySize); err != nil {
			return cache.Entry{}, err
		}
	}
	if checksum(tail[:len(tail)-4]) != binary.BigEndian.Uint32(tail[len(tail)-4:]) {
		return cache.Entry{}, damageError("the checksum of its record is wrong")
	}
	if binary.BigEndian.Uint16(tail[metaSize+6:]) != formatVersion {
		return cache.Entry{}, errLater
	}
	return decodeMeta(tail[:metaSize], bodySize)
}

func decodeMeta(text []byte, bodySize int64) (cache.Entry, error) {
	entry, err := layout.DecodeEntry(text)
	if err != nil {
		return cache.Entry{}, damageError(err.Error())
	}
	if entry.Record.Size != bodySize {
		return cache.Entry{}, damageError("its record tells another size than its footer")
	}
	return entry, nil
}

// readFull fills p from off. A file that ends before is damaged: it got shorter since its size was asked for.
func readFull(file io.ReaderAt, p []byte, off int64) error {
	n, err := file.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return damageError("it got shorter while it was read")
	default:
		return err
	}
}

func checksum(p []byte) uint32 { return crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)) }
