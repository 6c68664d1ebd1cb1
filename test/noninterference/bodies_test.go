package noninterference

import (
	"fmt"
	"strings"
	"sync"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
)

// bodyMaker makes the artifact of each step once: the histories have theirs in common. No two steps bring the same bytes, so that bytes
// tell who brought them.
type bodyMaker struct {
	mu   sync.Mutex
	made map[string][]byte
	of   map[string]int // which step's body it is
}

func newBodyMaker() *bodyMaker { return &bodyMaker{made: map[string][]byte{}, of: map[string]int{}} }

// body is what step i brings.
func (m *bodyMaker) body(i int, c content) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := fmt.Sprint(i, c)
	if b, ok := m.made[key]; ok {
		return b
	}
	file := artifacttest.File("dist/main.js", fmt.Sprintf("made in step %d, %s", i, c))
	var b []byte
	switch c {
	case escaping:
		b = artifacttest.Nx(file, artifacttest.File("../escape", "x"))
	case twoCodes:
		b = artifacttest.Nx(file, artifacttest.Code(1))
	case torn:
		b = artifacttest.Nx(file)
		b = b[:len(b)-9]
	default:
		b = artifacttest.Nx(file)
		m.of[string(b)] = i
	}
	m.made[key] = b
	return b
}

// step tells which step brought a body, and whether any did.
func (m *bodyMaker) step(body string) (int, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.of[body]
	return i, ok
}

// bodyName stands for bytes where people read.
func bodyName(body string) string {
	return fmt.Sprintf("%d bytes (…%x)", len(body), strings.TrimSpace(body[max(0, len(body)-8):]))
}
