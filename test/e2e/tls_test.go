//go:build e2e

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/nx"
)

// certificates: a server with a certificate of a company's own authority.
//
// Nx looks the system's authorities up where OpenSSL would, and SSL_CERT_FILE says where that is, so no test has to touch
// the machine's own. Nx 20 does not look at all: it carries a list of public authorities and knows no others.
func certificates(t *testing.T, h house) {
	authority, cert, key := issue(t)
	server := h.serve(t, "--tls-cert", cert, "--tls-key", key)
	ws := nx.NewWorkspace(t, h.release, written("one"))
	one := []string{"one"}

	insecure := nx.Run{Server: server.URL, Env: []string{"NODE_TLS_REJECT_UNAUTHORIZED=0"}}
	wantGreen(t, "unchecked, cold", ws.Run(t, insecure), one, nil)
	ws.Forget(t)
	wantGreen(t, "unchecked, warm", ws.Run(t, insecure), nil, one)

	ws.Forget(t)
	known := ws.Run(t, nx.Run{Server: server.URL, Env: []string{"SSL_CERT_FILE=" + authority}})
	if h.release.Major > 20 {
		wantGreen(t, "known to the system", known, nil, one)
	} else {
		wantUntrusted(t, "known to the system", known, server.URL)
	}
	for _, run := range []struct {
		name string
		env  []string
	}{
		{"unknown", nil},
		{"known to Node.js alone", []string{"NODE_EXTRA_CA_CERTS=" + authority}},
	} {
		ws.Forget(t)
		wantUntrusted(t, run.name, ws.Run(t, nx.Run{Server: server.URL, Env: run.env}), server.URL)
	}
}

// wantUntrusted checks a build that cannot reach the server: Nx fails it, with no more of a reason than the address.
func wantUntrusted(t *testing.T, run string, got nx.Result, url string) {
	t.Helper()
	wantExit(t, run, got, 1)
	if remote := got.Remote(); len(remote) > 0 {
		t.Errorf("%s: nx reports %q as from the remote cache", run, remote)
	}
	if want := "Failed to send request: error sending request for url (" + url; !strings.Contains(got.Output, want) {
		t.Errorf("%s: nx does not say %q", run, want)
	}
}

// issue makes an authority and a certificate of it for 127.0.0.1, as files.
func issue(t *testing.T) (authority, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "A company's own authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "cache"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, leafKey := newKey(t), newKey(t)
	authority = writePEM(t, filepath.Join(dir, "authority.pem"), "CERTIFICATE", sign(t, ca, ca, caKey, caKey))
	cert = writePEM(t, filepath.Join(dir, "cert.pem"), "CERTIFICATE", sign(t, leaf, ca, leafKey, caKey))
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return authority, cert, writePEM(t, filepath.Join(dir, "key.pem"), "PRIVATE KEY", der)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
