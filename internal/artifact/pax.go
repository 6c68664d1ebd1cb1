package artifact

import (
	"bytes"
	"strconv"
)

// Nx writes no PAX headers, but many archivers do as soon as a name is long or not ASCII. What follows is the part of
// them that all readers take alike: one header for a ustar member, each key once, no empty value, and no line break or
// NUL in one (the client's library takes records for lines). The keys are names of the member, and what clients
// do not restore. Anything else, above all "size" and those of sparse files, is refused.

// maxPAX bounds the bytes of a PAX header beside the two names that it may hold.
const maxPAX = 4096

// readPAX reads the PAX header of the next member.
func (w *walker) readPAX(h *header) error {
	most := int64(2 * MaxPathBytes)
	if w.lim.MaxPathLength > 0 {
		most = int64(2 * w.lim.MaxPathLength)
	}
	switch {
	case !h.ustar:
		return refuse("", "has a PAX header in a flavour of tar that knows none")
	case w.pax.set || w.longName.set || w.longTarget.set:
		return refuse("", "has two long names for one member")
	case h.size > most+maxPAX:
		return refuse("", "has a PAX header of more than %d bytes, which is the limit", most+maxPAX)
	}
	if err := w.readRecord(h, &w.pax); err != nil {
		return err
	}
	seen := make(map[string]bool, 8)
	for rest := w.pax.text; len(rest) > 0; {
		key, value, after, ok := cutPAX(rest)
		if !ok || seen[string(key)] || len(value) == 0 || bytes.IndexByte(value, 0) >= 0 {
			return refuse("", "has a damaged or ambiguous PAX header")
		}
		seen[string(key)] = true
		switch string(key) {
		case "path":
			w.longName.text, w.longName.set = append(w.longName.text[:0], value...), true
		case "linkpath":
			w.longTarget.text, w.longTarget.set = append(w.longTarget.text[:0], value...), true
		case "mtime", "atime", "ctime", "uid", "gid", "uname", "gname":
		default:
			return refuse("", "has a PAX header with the key %.100q, which clients do not read alike", key)
		}
		rest = after
	}
	return nil
}

// cutPAX cuts the first record, "LENGTH KEY=VALUE\n", off. The length is that of the whole record, in plain decimal digits.
func cutPAX(data []byte) (key, value, rest []byte, ok bool) {
	line, rest, ok := bytes.Cut(data, []byte{'\n'})
	if !ok {
		return nil, nil, nil, false
	}
	length, record, ok := bytes.Cut(line, []byte{' '})
	if !ok || string(length) != strconv.Itoa(len(line)+1) {
		return nil, nil, nil, false
	}
	key, value, ok = bytes.Cut(record, []byte{'='})
	return key, value, rest, ok
}
