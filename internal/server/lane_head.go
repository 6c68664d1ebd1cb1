package server

import (
	"bytes"
	"net/http"
)

var (
	endOfLine = []byte("\r\n")
	endOfHead = []byte("\r\n\r\n")
	version11 = []byte(" HTTP/1.1")

	lengthField = []byte("content-length:")
)

// cutRequest takes apart what was read, if that has a whole head, which asks for a path of unreserved characters by GET, HEAD or PUT. The headers are
// what comes after the first line, the rest is behind the head.
func cutRequest(read []byte) (method, path string, headers, rest []byte, ok bool) {
	end := bytes.Index(read, endOfHead)
	if end < 0 {
		return "", "", nil, nil, false
	}
	end += len(endOfHead)
	line, headers, _ := bytes.Cut(read[:end], endOfLine)
	switch {
	case bytes.HasPrefix(line, []byte("GET /")):
		method = http.MethodGet
	case bytes.HasPrefix(line, []byte("PUT /")):
		method = http.MethodPut
	case bytes.HasPrefix(line, []byte("HEAD /")):
		method = http.MethodHead
	default:
		return "", "", nil, nil, false
	}
	line, ok = bytes.CutSuffix(line[len(method)+1:], version11)
	if !ok {
		return "", "", nil, nil, false
	}
	for _, c := range line {
		if !isUnreserved(c) && c != '/' {
			return "", "", nil, nil, false
		}
	}
	return method, string(line), headers, read[end:], true
}

// cutLength takes the one line with the length of a body out of headers: a number in digits, without a zero before it, and not zero. The other lines are
// appended to to. If there is another length among them, they are not plain.
func cutLength(headers, to []byte) (length int64, others []byte, ok bool) {
	for at := 0; at < len(headers); {
		end := bytes.Index(headers[at:], endOfLine)
		if end < 0 {
			break
		}
		if line := headers[at : at+end]; len(line) > len(lengthField) && bytes.EqualFold(line[:len(lengthField)], lengthField) {
			length, ok = parseLength(bytes.TrimPrefix(line[len(lengthField):], []byte(" ")))
			return length, append(append(to, headers[:at]...), headers[at+end+len(endOfLine):]...), ok
		}
		at += end + len(endOfLine)
	}
	return 0, to, false
}

// maxLengthDigits keeps a length within an int64.
const maxLengthDigits = 18

func parseLength(digits []byte) (length int64, ok bool) {
	if len(digits) == 0 || len(digits) > maxLengthDigits || digits[0] == '0' {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		length = length*10 + int64(c-'0')
	}
	return length, true
}

// isUnreserved tells the characters that stand for themselves in a URL, and for nothing else (RFC 3986, section 2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

// isPlain says whether headers are lines of a name, a colon and visible ASCII characters, one of them Host. So there are no folded lines, no
// line breaks of another kind, and no spaces before a colon, which somebody between us and the client may read in another way.
func isPlain(headers []byte) bool {
	hosts := 0
	for len(headers) > len(endOfLine) {
		line, rest, ok := bytes.Cut(headers, endOfLine)
		headers = rest
		name, value, colon := bytes.Cut(line, []byte(":"))
		if !ok || !colon || len(name) == 0 {
			return false
		}
		for _, c := range name {
			if !isUnreserved(c) || c == '.' || c == '~' {
				return false
			}
		}
		for _, c := range value {
			if c < ' ' || c > '~' {
				return false
			}
		}
		if bytes.EqualFold(name, []byte("host")) {
			hosts++
			if !isPlainHost(bytes.TrimSpace(value)) {
				return false
			}
		}
	}
	return hosts == 1
}

func isPlainHost(host []byte) bool {
	for _, c := range host {
		if !isUnreserved(c) && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return len(host) > 0
}
