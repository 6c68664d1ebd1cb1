package azure

import (
	"net/http"
	"testing"
)

// TestClient: proxies are honoured, connecting is bounded, and whole requests are not.
func TestClient(t *testing.T) {
	client := newClient(nil)
	transport := client.Transport.(*http.Transport)
	if transport.Proxy == nil || transport.TLSHandshakeTimeout == 0 || transport.DialContext == nil {
		t.Error("it knows no proxy or waits for a connection without end")
	}
	if client.Timeout != 0 || transport.ResponseHeaderTimeout != 0 {
		t.Error("it bounds whole requests: a large body takes its time")
	}
}
