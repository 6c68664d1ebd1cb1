package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA of the test's own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate. Without a parent it signs itself.
func issue(t *testing.T, parent *authority, change func(*x509.Certificate)) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"},
	}
	change(template)
	a := &authority{key: key}
	if parent == nil {
		parent = &authority{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, &key.PublicKey, parent.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func ca(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.DNSNames, c.ExtKeyUsage = name, true, nil, nil
		c.KeyUsage = x509.KeyUsageCertSign
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	root := issue(t, nil, ca("Test Root"))
	middle := issue(t, root, ca("Test Intermediate"))
	leaf := issue(t, root, func(*x509.Certificate) {})
	expired := issue(t, root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
	early := issue(t, root, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) })
	soon := issue(t, root, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(49 * time.Hour) })
	other := issue(t, root, func(c *x509.Certificate) { c.DNSNames = []string{"other.example.com"} })
	nameless := issue(t, root, func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, "localhost" })
	below := issue(t, middle, func(*x509.Certificate) {})
	self := issue(t, nil, func(*x509.Certificate) {})
	selfCA := issue(t, nil, func(c *x509.Certificate) { c.IsCA = true })
	trust := x509.NewCertPool()
	trust.AddCert(root.cert)
	trust.AddCert(selfCA.cert)
	extra := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(extra, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	rest := " cache.miss=skip" + nothing
	tests := []struct {
		name    string
		chain   []*authority
		roots   *x509.CertPool
		env     []string
		version uint16
		outcome string
		reason  string
	}{
		{name: "healthy", chain: []*authority{leaf}},
		{name: "healthy, with an intermediate", chain: []*authority{below, middle}},
		{name: "missing intermediate", chain: []*authority{below}, outcome: "tls.trust=fail" + rest, reason: "incomplete_chain"},
		{name: "self-signed", chain: []*authority{self}, outcome: "tls.trust=fail" + rest, reason: "self_signed"},
		{name: "unknown CA", chain: []*authority{below, middle}, roots: x509.NewCertPool(), outcome: "tls.trust=fail" + rest, reason: "unknown_authority"},
		{name: "known to NODE_EXTRA_CA_CERTS only", chain: []*authority{leaf}, roots: x509.NewCertPool(), env: []string{"NODE_EXTRA_CA_CERTS=" + extra},
			outcome: "tls.trust=fail" + rest, reason: "only_node_extra_ca_certs"},
		{name: "a CA certificate as the server's own", chain: []*authority{selfCA}, outcome: "tls.trust=fail" + rest, reason: "ca_as_leaf"},
		{name: "expired", chain: []*authority{expired}, outcome: "tls.expiry=fail" + rest},
		{name: "not yet valid", chain: []*authority{early}, outcome: "tls.expiry=fail" + rest},
		{name: "expires soon", chain: []*authority{soon}, outcome: "tls.expiry=warn"},
		{name: "another name", chain: []*authority{other}, outcome: "tls.name=fail" + rest},
		{name: "common name only", chain: []*authority{nameless}, outcome: "tls.name=fail" + rest},
		{name: "verification turned off", chain: []*authority{other}, roots: x509.NewCertPool(), env: []string{"NODE_TLS_REJECT_UNAUTHORIZED=0"},
			outcome: "tls.trust=warn tls.name=warn", reason: "incomplete_chain"},
		{name: "verification turned off without need", chain: []*authority{leaf}, env: []string{"NODE_TLS_REJECT_UNAUTHORIZED=0"}, outcome: "tls.trust=warn"},
		{name: "only 0 turns it off", chain: []*authority{self}, env: []string{"NODE_TLS_REJECT_UNAUTHORIZED=false"}, outcome: "tls.trust=fail" + rest, reason: "self_signed"},
		{name: "TLS 1.1", chain: []*authority{leaf}, version: tls.VersionTLS11, outcome: "tls.handshake=fail" + rest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(&fake{})
			var chain tls.Certificate
			for _, a := range test.chain {
				chain.Certificate = append(chain.Certificate, a.cert.Raw)
			}
			chain.PrivateKey = test.chain[0].key
			s.TLS = &tls.Config{Certificates: []tls.Certificate{chain}, MinVersion: tls.VersionTLS10, MaxVersion: test.version}
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			s.StartTLS()
			defer s.Close()
			_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
			roots := test.roots
			if roots == nil {
				roots = trust
			}
			r := examine(t, Options{Server: server("https://localhost:" + port), Roots: roots, Environ: test.env, Size: testSize,
				Resolver: names{addrs: []string{"127.0.0.1"}}})
			if got := sorted(outcome(r)); got != sorted(test.outcome) {
				t.Errorf("findings\n got %s\nwant %s\n%s", got, test.outcome, troubles(r))
			}
			if got, _ := finding(t, r, IDTLSTrust).Details["reason"].(string); got != test.reason {
				t.Errorf("reason %q, want %q", got, test.reason)
			}
		})
	}
}

func TestMixedUpSchemes(t *testing.T) {
	t.Parallel()
	plain := httptest.NewUnstartedServer(&fake{})
	plain.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	plain.Start()
	defer plain.Close()
	r := examine(t, Options{Server: server("https://" + plain.Listener.Addr().String())})
	if got := outcome(r); got != "tls.handshake=fail tls.trust=skip tls.name=skip tls.expiry=skip cache.miss=skip"+nothing {
		t.Errorf("https at an http port: %s", got)
	}
	if !strings.Contains(troubles(r), "Write http://") {
		t.Error(troubles(r))
	}
	secure := httptest.NewUnstartedServer(&fake{})
	secure.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	secure.StartTLS()
	defer secure.Close()
	r = examine(t, Options{Server: server("http://" + secure.Listener.Addr().String())})
	if got := outcome(r); got != "cache.miss=fail"+nothing {
		t.Errorf("http at an https port: %s", got)
	}
	if !strings.Contains(troubles(r), "write https://") {
		t.Error(troubles(r))
	}
}
