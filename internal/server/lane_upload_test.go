package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// TestUploadsStayOnTheLane, however their bytes come.
func TestUploadsStayOnTheLane(t *testing.T) {
	f := newFixture(t)
	conn, err := net.Dial("tcp", f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	small, large := artifacttest.Typical(1), artifacttest.Nx(artifacttest.File("a", string(artifacttest.Random(300<<10, 1))))
	hash := 0
	for name, cut := range map[string]func(head, body []byte) [][]byte{
		"in one piece":  func(head, body []byte) [][]byte { return [][]byte{append(head, body...)} },
		"head and body": func(head, body []byte) [][]byte { return [][]byte{head, body} },
		"some with the head": func(head, body []byte) [][]byte {
			return [][]byte{append(head, body[:100]...), body[100:200], body[200:]}
		},
		"and the next begun": func(head, body []byte) [][]byte {
			return [][]byte{append(append(head, body...), "GET /v1/cache/none"+plainHead...)}
		},
	} {
		for _, body := range [][]byte{small, large} {
			hash++
			for _, piece := range cut(fmt.Appendf(nil, "PUT /v1/cache/%d%s", hash, bodyHead(len(body))), body) {
				if _, err := conn.Write(piece); err != nil {
					t.Fatal(err)
				}
				<-time.After(time.Millisecond) // so that it mostly comes by itself
			}
			wants := []int{200}
			if name == "and the next begun" {
				wants = append(wants, 404)
			}
			for _, want := range wants {
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != want || resp.Close {
					t.Fatalf("%s: %v, %v, want %d", name, resp, err, want)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
			}
			if got := f.want(200, "GET", fmt.Sprintf("/v1/cache/%d", hash), nil); !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes came back of %d", name, len(got), len(body))
			}
			f.server.lane.mu.Lock()
			on := len(f.server.lane.conns)
			f.server.lane.mu.Unlock()
			// The large one with a request behind it does not fit in what is read at once.
			if on != 2 && (name != "and the next begun" || len(body) < 4096) {
				t.Fatalf("%s: %d connections are on the lane, want this and the fixture's", name, on)
			}
		}
	}
}

// TestTheEndOfTheServerCutsUploads that do not end in time, whether they wait for the client or for the store, and leaves no trace of them.
func TestTheEndOfTheServerCutsUploads(t *testing.T) {
	body := artifacttest.Typical(1)
	for name, sent := range map[string]int{"the client sends no more": len(body) / 2, "the store hangs": len(body)} {
		t.Run(name, func(t *testing.T) {
			store := &hangingStore{Store: mem.New(), created: make(chan struct{})}
			f := newFixture(t, func(o *Options) {
				o.Cache = cache.New(store, cache.Options{MaxSize: 8 << 20, Limits: artifact.DefaultLimits(), Now: time.Now})
			})
			conn, err := net.Dial("tcp", f.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(append([]byte("PUT /v1/cache/1"+bodyHead(len(body))), body[:sent]...)); err != nil {
				t.Fatal(err)
			}
			<-store.created
			f.server.lane.mu.Lock()
			on := len(f.server.lane.conns)
			f.server.lane.mu.Unlock()
			if on != 1 {
				t.Error("the upload is not on the lane")
			}
			if err := f.server.Shutdown(context.Background(), 0, 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("shutdown: %v", err)
			}
			f.waitForLog(1, `"result":"error"`)
			for range store.List(t.Context(), "") {
				t.Error("an entry was stored")
			}
		})
	}
}

// hangingStore commits nothing before it is told to give up.
type hangingStore struct {
	cache.Store
	created chan struct{}
}

func (s *hangingStore) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	draft, err := s.Store.Create(ctx, key)
	close(s.created)
	return hangingDraft{draft}, err
}

type hangingDraft struct{ cache.Draft }

func (d hangingDraft) Commit(ctx context.Context, _ cache.Record) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Minute):
		return errors.New("nobody told the store to give up")
	}
}

// TestAClientThatIsStillSendingSeesTheAnswer: the connection ends because more is to come than the server reads of a refused upload, but not before the client
// had time to read why.
func TestAClientThatIsStillSendingSeesTheAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, _ cache.Store, dial func() net.Conn) {
		conn := dial()
		defer conn.Close()
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, "PUT /v1/cache/a.b"+bodyHead(2<<30))
			for piece, i := make([]byte, 1<<20), 0; err == nil && i < 1<<10+10; i++ { // a little more than the server drains
				_, err = conn.Write(piece)
			}
			sent <- err
		}()
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 403 || !resp.Close {
			t.Errorf("%v, %v; want 403 and a close", resp, err)
		}
		if err := <-sent; err != nil {
			t.Errorf("the server hung up on what was on its way: %v", err)
		}
		if took := ends(t, conn); took != lingerTime {
			t.Errorf("the connection is read for %s, want %s", took, lingerTime)
		}
	})
}

// TestALaneBodyEndsWhereItWasAnnounced, with its last byte, and not before.
func TestALaneBodyEndsWhereItWasAnnounced(t *testing.T) {
	for _, c := range []struct {
		ahead, sent, want string
		left              int64
		err               error
	}{
		{"abc", "", "abc", 3, nil},
		{"ab", "cde", "abc", 3, nil},
		{"", "abcde", "abc", 3, nil},
		{"ab", "", "ab", 3, io.ErrUnexpectedEOF},
		{"", "ab", "ab", 3, io.ErrUnexpectedEOF},
	} {
		client, end := net.Pipe()
		go func() {
			_, _ = io.WriteString(client, c.sent)
			_ = client.Close()
		}()
		b := &laneBody{conn: &laneConn{Conn: end}, ahead: []byte(c.ahead), left: c.left}
		got, err := io.ReadAll(b)
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
		if _, again := b.Read(make([]byte, 1)); c.err == nil && !errors.Is(again, io.EOF) || c.err != nil && !errors.Is(again, c.err) {
			t.Errorf("%+v: then %v", c, again)
		}
		_ = end.Close()
	}
}

// TestAnUnreadBodyEndsTheConnection, whatever a handler forgets: its bytes are no request.
func TestAnUnreadBodyEndsTheConnection(t *testing.T) {
	s := New(Options{Log: discardLog(), Registry: newTestRegistry()})
	conn := &memoryConn{}
	q := laneRequest{conn: &laneConn{Conn: conn, lane: &s.lane}, r: new(http.Request), body: laneBody{left: 1}}
	q.writer.reset(&q)
	writeText(&q.writer, http.StatusOK, "")
	if q.writer.finish() || !bytes.Contains(conn.answer, []byte("\r\nConnection: close\r\n")) {
		t.Errorf("it goes on behind %q", conn.answer)
	}
}
