package server

import (
	"bufio"
	"bytes"
	"net/http"
)

// newHeadReader reads what is in memory.
func newHeadReader(head []byte) *bufio.Reader {
	return bufio.NewReaderSize(bytes.NewReader(head), len(head))
}

var (
	endOfLine = []byte("\r\n")
	endOfHead = []byte("\r\n\r\n")
	version11 = []byte(" HTTP/1.1")
)

// cutRequest takes a head apart that is whole, ends with the bytes, and asks for a path of unreserved characters by GET or HEAD. The headers
// are what comes after the first line.
func cutRequest(head []byte) (method, path string, headers []byte, ok bool) {
	if !bytes.HasSuffix(head, endOfHead) || bytes.Index(head, endOfHead) != len(head)-len(endOfHead) {
		return "", "", nil, false
	}
	line, headers, _ := bytes.Cut(head, endOfLine)
	switch {
	case bytes.HasPrefix(line, []byte("GET /")):
		method, line = http.MethodGet, line[len("GET "):]
	case bytes.HasPrefix(line, []byte("HEAD /")):
		method, line = http.MethodHead, line[len("HEAD "):]
	default:
		return "", "", nil, false
	}
	line, ok = bytes.CutSuffix(line, version11)
	if !ok {
		return "", "", nil, false
	}
	for _, c := range line {
		if !isUnreserved(c) && c != '/' {
			return "", "", nil, false
		}
	}
	return method, string(line), headers, true
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
