package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/server"
)

// newLogger makes the server's log. The function that comes with it writes what is left, at the end.
func newLogger(cfg *config.Config, w io.Writer) (*slog.Logger, func()) {
	lines := &logWriter{w: w}
	opts := &slog.HandlerOptions{Level: cfg.LogLevel}
	var h slog.Handler = slog.NewTextHandler(lines, opts)
	if cfg.LogFormat == config.LogJSON {
		h = slog.NewJSONHandler(lines, opts)
	}
	return slog.New(&logHandler{h, lines}), lines.flush
}

const (
	// lineDelay is how long a line may wait to be written with others. Nobody reads faster, and thousands of lines a second cost a tenth of what they
	// did one by one.
	lineDelay = 20 * time.Millisecond
	// lineBuffer is how many bytes may wait.
	lineBuffer = 32 << 10
)

// logHandler has all lines written at once, with those that came before them, but for those of requests that went well: of these there are thousands
// a second, and a warning may be the last that the process says.
type logHandler struct {
	slog.Handler
	lines *logWriter
}

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn || r.Message != server.RequestLine {
		h.lines.flush()
	}
	return err
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.Handler.WithAttrs(attrs), h.lines}
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.Handler.WithGroup(name), h.lines}
}

// logWriter writes lines together, in their order.
type logWriter struct {
	mu      sync.Mutex
	w       io.Writer
	waiting []byte
}

// Write takes one line, which the handler uses again. Trouble in writing is nobody's: there is nowhere to tell of it.
func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		time.AfterFunc(lineDelay, l.flush)
	}
	l.waiting = append(l.waiting, line...)
	if len(l.waiting) >= lineBuffer {
		l.write()
	}
	return len(line), nil
}

func (l *logWriter) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write()
}

func (l *logWriter) write() {
	if len(l.waiting) > 0 {
		_, _ = l.w.Write(l.waiting)
		l.waiting = l.waiting[:0]
	}
}
