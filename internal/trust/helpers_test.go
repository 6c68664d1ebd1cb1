package trust

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start is a time to begin at; tests that need no bubble let their clock stand there.
var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// made is a token together with its text.
type made struct {
	Token
	text string
}

func (m made) bearer() string { return "Bearer " + m.text }

func newMade(name string, workspace cache.Workspace, access Access) made {
	text, hash := NewToken()
	return made{Token{ID: hash.ID(), Name: name, Workspace: workspace, Access: access, Hash: hash, Created: start}, text}
}

// fakeSource is a source in memory that can fail, hang and count.
type fakeSource struct {
	mu          sync.Mutex
	tokens      []Token
	revocations []Revocation
	version     int64
	err         error
	hang        bool
	versions    int // calls of Version
	reads       int // calls of Tokens
}

func (s *fakeSource) Version(ctx context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions++
	if s.hang {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return 0, ctx.Err()
	}
	return s.version, s.err
}

func (s *fakeSource) Tokens(context.Context) ([]Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return append([]Token(nil), s.tokens...), s.err
}

func (s *fakeSource) Revocations(context.Context) ([]Revocation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Revocation(nil), s.revocations...), s.err
}

func (s *fakeSource) change(f func(s *fakeSource)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *fakeSource) create(t Token) {
	s.change(func(s *fakeSource) { s.tokens = append(s.tokens, t); s.version++ })
}

func (s *fakeSource) revoke(id string, now time.Time) {
	s.change(func(s *fakeSource) {
		for i := range s.tokens {
			if s.tokens[i].ID == id {
				s.tokens[i].Revoked = now
			}
		}
		s.version++
	})
}

// logBook collects what is logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newTestAuthenticator(t *testing.T, opts Options) *Authenticator {
	t.Helper()
	if opts.Now == nil {
		opts.Now = func() time.Time { return start }
	}
	if opts.Logger == nil {
		opts.Logger = new(logBook).logger()
	}
	a, err := NewAuthenticator(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantDenial checks the error of a judgement, and that it gives nothing away.
func wantDenial(t *testing.T, err, want error, secrets ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	denial, ok := errors.AsType[*DeniedError](err)
	if !ok || denial.Reason == "" {
		t.Fatalf("got %T %v, want a *DeniedError with a reason", err, err)
	}
	wantNoSecret(t, err.Error(), secrets...)
}

// wantNoSecret looks for tokens and for parts of them: any 12 characters of the random part in a row.
func wantNoSecret(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		body := strings.TrimPrefix(secret, TokenPrefix)
		for i := 0; i+12 <= len(body); i++ {
			if strings.Contains(text, body[i:i+12]) {
				t.Fatalf("%q gives away a part of what was presented", text)
			}
		}
	}
}
