package s3

import "testing"

// TestClient: proxies are honoured, connecting is bounded, and whole requests are not.
func TestClient(t *testing.T) {
	client := newHTTPClient(nil)
	transport := client.GetTransport()
	if dialer := client.GetDialer(); dialer.Timeout != dialTimeout || transport.Proxy == nil || transport.TLSHandshakeTimeout == 0 {
		t.Errorf("it knows no proxy or waits for a connection without end: %s to dial", dialer.Timeout)
	}
	if client.GetTimeout() != 0 || transport.ResponseHeaderTimeout != 0 {
		t.Error("it bounds whole requests: a large body takes its time")
	}
}
