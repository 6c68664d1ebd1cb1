package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certCheckInterval is how often, at the most, handshakes look whether the certificate's files changed.
const certCheckInterval = time.Second

// Certificate is a certificate and key in files, taken up anew when the files change. Whoever renews them (an ACME
// client, Kubernetes) need not tell the server.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
	state   [2]fileState
	checked time.Time
}

// fileState tells whether a file is still the one that was read.
type fileState struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads the files, which must be a certificate (with its chain) and its key in PEM.
func LoadCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log, now: now}
	c.state = c.fileStates()
	cert, err := c.load()
	if err != nil {
		return nil, err
	}
	c.current, c.checked = cert, now()
	return c, nil
}

// Config is a TLS configuration that serves the certificate. Beyond it the defaults of crypto/tls hold: TLS 1.2 or newer, its
// choice of ciphers, session tickets whose keys it rotates.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

// get looks for new files now and then. A pair that does not load (a renewal that is half written, say) leaves the one
// in use where it is, and is tried again when the files change once more.
func (c *Certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if now.Sub(c.checked) < certCheckInterval {
		return c.current
	}
	c.checked = now
	state := c.fileStates()
	if state == c.state {
		return c.current
	}
	c.state = state
	cert, err := c.load()
	if err != nil {
		c.log.Error("the new TLS certificate cannot be used; the one before stays in use", "error", err)
		return c.current
	}
	c.log.Info("took up a new TLS certificate", "file", c.certFile, "expires", cert.Leaf.NotAfter)
	c.current = cert
	return cert
}

func (c *Certificate) load() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", c.certFile, c.keyFile, err)
	}
	return &cert, nil
}

func (c *Certificate) fileStates() (states [2]fileState) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			states[i] = fileState{info.ModTime(), info.Size()}
		}
	}
	return states
}
