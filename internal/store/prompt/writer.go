package prompt

import (
	"fmt"
	"io"
	"time"
)

// writer writes to a draft one piece after the other in a goroutine of its own, so that a piece costs no new one.
type writer struct {
	gate  *Gate
	wait  time.Duration
	inner io.Writer
	work  chan []byte // closed when there is no more
	came  chan answer[struct{}]
	timer *time.Timer
}

func newWriter(g *Gate, wait time.Duration, inner io.Writer) *writer {
	w := &writer{gate: g, wait: wait, inner: inner, work: make(chan []byte, 1), came: make(chan answer[struct{}], 1), timer: time.NewTimer(wait)}
	w.timer.Stop()
	go w.run()
	return w
}

func (w *writer) run() {
	var piece []byte
	do := func(func()) (struct{}, error) { return struct{}{}, write(w.inner, piece) }
	for piece = range w.work {
		w.came <- protect(do, nil)
	}
}

// write returns when piece is written, or with [ErrHangs]. If that is for a write that has not returned, left is true, and late is called when it does; the writer
// has ended then.
func (w *writer) write(piece []byte, late func()) (left bool, err error) {
	if err := w.gate.enter(); err != nil {
		return false, err
	}
	w.work <- piece
	w.timer.Reset(w.wait)
	defer w.timer.Stop()
	select {
	case a := <-w.came:
		_, err := a.hear()
		return false, err
	case <-w.timer.C:
	}
	back := w.gate.left()
	w.end()
	go func() {
		<-w.came
		late()
		back()
	}()
	return true, fmt.Errorf("%w: no answer within %s", ErrHangs, w.wait)
}

// end lets the goroutine go. It must be called once.
func (w *writer) end() { close(w.work) }
