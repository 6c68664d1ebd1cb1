package doctor

import (
	"context"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
)

type ctx = context.Context

func newCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// names is a name server that knows one answer.
type names struct {
	addrs []string
	err   error
}

func (n names) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	var list []netip.Addr
	for _, a := range n.addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	return list, n.err
}

// talker says one thing to everybody who connects and asks, and hangs up.
func talker(t *testing.T, greeting string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// Not before it was asked: net/http has another error for that, now and then.
			_, _ = conn.Read(make([]byte, 4096))
			io.WriteString(conn, greeting)
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func sorted(list string) string {
	words := strings.Fields(list)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// troubles are the texts of what is not well.
func troubles(r *Report) string {
	var b strings.Builder
	for _, f := range r.Findings {
		if f.Status == Warn || f.Status == Fail {
			b.WriteString(f.ID + ": " + f.Title + "\n  " + f.Means + "\n  " + f.Do + "\n")
		}
	}
	return b.String()
}

// refuse is a network in which nothing listens.
func refuse(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
