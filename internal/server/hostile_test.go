package server

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// exchangeRaw sends bytes over one connection and returns the statuses of all answers until the server ends it.
func (f *fixture) exchangeRaw(request string) []int {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	go io.WriteString(conn, request) // the server may hang up before its end
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		f.t.Fatal(err)
	}
	var statuses []int
	for r := bufio.NewReader(conn); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				f.t.Errorf("the connection stays open behind %q", request[:min(len(request), 200)])
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || len(statuses) > 0 || strings.Contains(err.Error(), "reset") {
				return statuses
			}
			f.t.Fatalf("%q: %v", request[:min(len(request), 200)], err)
		}
		io.Copy(io.Discard, resp.Body)
		statuses = append(statuses, resp.StatusCode)
	}
}

// TestSmuggling: a request whose end two servers could see in two places is answered once, the connection ends, and what is hidden in it is never
// taken for a request: it makes no entry.
func TestSmuggling(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.IdleTimeout = time.Hour })
	hidden := artifacttest.Typical(1)
	inner := fmt.Sprintf("PUT /v1/cache/hidden HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(hidden), hidden)
	head := "PUT /v1/cache/outer HTTP/1.1\r\nHost: localhost\r\n"
	get := "GET /v1/cache/outer HTTP/1.1\r\nHost: localhost\r\n"
	for name, c := range map[string]struct {
		request string
		want    string // the statuses
	}{
		"both lengths, chunked last":      {head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "[403]"},
		"both lengths, chunked first":     {head + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + inner, "[403]"},
		"both lengths, of a GET":          {get + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "[404]"},
		"two lengths that differ":         {head + "Content-Length: 0\r\nContent-Length: 500\r\n\r\n" + inner, "[400]"},
		"a list of lengths":               {head + "Content-Length: 0, 500\r\n\r\n" + inner, "[400]"},
		"a length with a sign":            {head + "Content-Length: +0\r\n\r\n" + inner, "[400]"},
		"a negative length":               {head + "Content-Length: -1\r\n\r\n" + inner, "[400]"},
		"a length in hexadecimal":         {head + "Content-Length: 0x0\r\n\r\n" + inner, "[400]"},
		"a length that overflows":         {head + "Content-Length: 18446744073709551616\r\n\r\n" + inner, "[400]"},
		"an empty length":                 {head + "Content-Length:\r\n\r\n" + inner, "[400]"},
		"a space before the colon":        {head + "Content-Length : 0\r\n\r\n" + inner, "[400]"},
		"chunked, misspelt":               {head + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + inner, "[501]"},
		"chunked, and something else":     {head + "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + inner, "[501]"},
		"chunked twice":                   {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "[501]"},
		"chunked with a vertical tab":     {head + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + inner, "[400]"},
		"a header that is folded":         {head + "X: a\r\n Content-Length: 0\r\n\r\n" + inner, "[403]"},
		"a chunk's length in two ways":    {head + "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + inner, "[403]"},
		"a chunk that ends in a bare LF":  {head + "Transfer-Encoding: chunked\r\n\r\n0\n\r\n" + inner, "[403]"},
		"a NUL in a header":               {head + "X: a\x00b\r\nContent-Length: 0\r\n\r\n" + inner, "[400]"},
		"a bare CR in a header":           {head + "X: a\rContent-Length: 0\r\n\r\n" + inner, "[400]"},
		"no host":                         {"PUT /v1/cache/outer HTTP/1.1\r\nContent-Length: 0\r\n\r\n" + inner, "[400]"},
		"two hosts":                       {head + "Host: localhost\r\nContent-Length: 0\r\n\r\n" + inner, "[400]"},
		"a version that there is not":     {"PUT /v1/cache/outer HTTP/1.9\r\nHost: localhost\r\n\r\n" + inner, "[403]"},
		"an upgrade to HTTP/2":            {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner, "[404]"},
		"headers without an end":          {head + "X: " + strings.Repeat("y", 2*maxHeaderBytes) + "\r\n\r\n" + inner, "[431]"},
		"many headers":                    {head + strings.Repeat("X: y\r\n", maxHeaderBytes) + "\r\n" + inner, "[431]"},
		"a request line without an end":   {"PUT /" + strings.Repeat("y", 2*maxHeaderBytes) + " HTTP/1.1\r\n\r\n" + inner, "[431]"},
		"a body of a GET that holds more": {get + fmt.Sprintf("Connection: close\r\nContent-Length: %d\r\n\r\n%s", len(inner), inner), "[404]"},
	} {
		if got := fmt.Sprint(f.exchangeRaw(c.request)); got != c.want {
			t.Errorf("%s: answered %s, want %s", name, got, c.want)
		}
		if n := f.stored(); n != 0 {
			t.Fatalf("%s: made %d entries", name, n)
		}
	}
}

// TestBareLineFeeds end lines of headers, as RFC 9112 (section 2.2) allows a server to take them: the request is one and its body what it says.
func TestBareLineFeeds(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.IdleTimeout = time.Hour })
	body := artifacttest.Typical(1)
	request := fmt.Sprintf("PUT /v1/cache/1 HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: %d\n\n%s", len(body), body)
	if got := fmt.Sprint(f.exchangeRaw(request)); got != "[200]" {
		t.Errorf("answered %s", got)
	}
	if got := f.want(200, "GET", "/v1/cache/1", nil); string(got) != string(body) {
		t.Errorf("stored %d bytes of %d", len(got), len(body))
	}
}

// TestPipelining: requests that come without waiting for answers are answered in order, each with its own.
func TestPipelining(t *testing.T) {
	f := newFixture(t, func(o *Options) { o.IdleTimeout = time.Hour })
	one, two := artifacttest.Typical(1), artifacttest.Typical(2)
	put := func(hash string, body []byte) string {
		return fmt.Sprintf("PUT /v1/cache/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", hash, len(body), body)
	}
	get := func(hash string) string {
		return fmt.Sprintf("GET /v1/cache/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", hash)
	}
	all := put("1", one) + get("1") + put("1", two) + put("2", two) + get("3") + put("a.b", one) + strings.Replace(get("2"), "Host", "Connection: close\r\nHost", 1)
	if got := fmt.Sprint(f.exchangeRaw(all)); got != "[200 200 409 200 404 403 200]" {
		t.Errorf("answered %s", got)
	}
	for hash, body := range map[string][]byte{"1": one, "2": two} {
		if got := f.want(200, "GET", "/v1/cache/"+hash, nil); string(got) != string(body) {
			t.Errorf("the entry %s has another one's body", hash)
		}
	}
	if n := f.stored(); n != 2 {
		t.Errorf("%d entries", n)
	}
	// A body that is longer than announced is the beginning of a next request, which is none, and ends the connection.
	long := strings.Replace(put("4", one), fmt.Sprintf("Content-Length: %d", len(one)), fmt.Sprintf("Content-Length: %d", len(one)-1), 1)
	if got := f.exchangeRaw(long + get("1")); len(got) == 0 || got[0] != 403 || len(got) > 2 || len(got) == 2 && got[1] != 400 {
		t.Errorf("a body longer than announced: answered %v", got)
	}
	if n := f.stored(); n != 2 {
		t.Errorf("it made an entry: %d", n)
	}
}
