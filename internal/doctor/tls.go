package doctor

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"net/http"
	"time"
)

// soon is when an expiry is worth a warning: long enough for a person, shorter than the renewal of ACME clients.
const soon = 7 * 24 * time.Hour

// errSeen ends a handshake whose certificates have been seen. Nothing is ever sent over it: the chain
// is not yet judged.
var errSeen = errors.New("the handshake was only looked at")

// sctList is the extension of Certificate Transparency (RFC 6962, section 3.3). Every public CA embeds it, as browsers ask for it;
// private ones do not.
var sctList = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}

// checkTLS looks at the chain as it is served and judges it as Nx's client does: that is rustls with the roots of the
// system's store (reqwest's feature rustls-tls-native-roots, in nrwl/nx packages/nx/Cargo.toml). Node's own store and
// NODE_EXTRA_CA_CERTS play no part.
func (e *exam) checkTLS(ctx context.Context) {
	if e.target.scheme != "https" {
		for _, id := range []string{IDTLSHandshake, IDTLSTrust, IDTLSName, IDTLSExpiry} {
			e.skip(id, "the URL is plain http")
		}
		return
	}
	state, err := e.handshake(ctx)
	if err != nil {
		f := e.fault("the TLS handshake", nil, err)
		f.ID = IDTLSHandshake
		e.add(f)
		e.blocked = "there is no TLS connection"
		return
	}
	if state.Version < tls.VersionTLS12 {
		e.add(Finding{ID: IDTLSHandshake, Status: Fail, Title: "the server speaks nothing newer than " + tls.VersionName(state.Version),
			Means: "Nx's client speaks TLS 1.2 and 1.3 only: every build fails.", Do: "Enable TLS 1.2 or 1.3 at the server or proxy."})
	} else {
		e.ok(IDTLSHandshake, Details{"version": tls.VersionName(state.Version), "chain": chainNames(state.PeerCertificates)},
			"%s, %s served", tls.VersionName(state.Version), plural(len(state.PeerCertificates), "certificate"))
	}
	leaf := state.PeerCertificates[0]
	e.privateCA = len(state.SignedCertificateTimestamps) == 0 && !hasExtension(leaf, sctList)
	e.checkTrust(state.PeerCertificates)
	e.checkName(leaf)
	e.checkExpiry(leaf)
	if e.report.failed(IDTLSHandshake, IDTLSTrust, IDTLSName, IDTLSExpiry) {
		// A credential goes to nobody whom Nx itself would not send it to.
		e.blocked = "Nx does not accept the server's TLS"
	}
}

// handshake goes the way that requests go, through a proxy if there is one, and sends nothing.
func (e *exam) handshake(ctx context.Context) (*tls.ConnectionState, error) {
	var seen *tls.ConnectionState
	t := newTransport(e)
	t.TLSClientConfig = &tls.Config{
		MinVersion:         tls.VersionTLS10, // To name an old server's version, not to use it.
		InsecureSkipVerify: true,             //nolint:gosec // The chain is judged afterwards; nothing is sent.
		VerifyConnection: func(s tls.ConnectionState) error {
			seen = &s
			return errSeen
		},
	}
	defer t.CloseIdleConnections()
	ctx, w := watch(ctx, e.opts.Answer)
	defer w.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.target.base, nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	if seen != nil && len(seen.PeerCertificates) > 0 {
		return seen, nil
	}
	if err == nil {
		err = errors.New("the server showed no certificate")
	}
	return nil, w.explain(err)
}

func (e *exam) checkTrust(chain []*x509.Certificate) {
	leaf := chain[0]
	details := Details{"issuer": leaf.Issuer.String(), "subject": leaf.Subject.String()}
	f := Finding{ID: IDTLSTrust, Status: Fail, Means: "Nx's client refuses the server: every build fails.", Details: details}
	extra := e.env.get("NODE_EXTRA_CA_CERTS")
	switch err := verify(chain, e.opts.Roots, e.opts.Now()); {
	case err == nil && leaf.BasicConstraintsValid && leaf.IsCA:
		// rustls-webpki: CaUsedAsEndEntity. Observed with nx 20.8.4 and 24.0.6; OpenSSL and Go let it pass, so curl is no witness.
		details["reason"] = "ca_as_leaf"
		f.Title = "the server's own certificate is a CA certificate"
		f.Do = "Make one with basicConstraints CA:FALSE. \"openssl req -x509\" makes CA certificates unless told otherwise."
	case err == nil:
		if e.insecure {
			e.add(Finding{ID: IDTLSTrust, Status: Warn, Title: "NODE_TLS_REJECT_UNAUTHORIZED=0 is set, without need",
				Means: "Nx checks no certificate: anybody on the way can read the token and replace artifacts.",
				Do:    "Unset it. The system's trust store knows this server's CA.", Details: details})
			return
		}
		e.ok(IDTLSTrust, details, "the system's trust store knows the CA: %s", printable(chain[len(chain)-1].Issuer.String(), 100))
		return
	case len(chain) == 1 && selfIssued(leaf):
		details["reason"] = "self_signed"
		f.Title = "the certificate is self-signed, and the system's trust store does not have it"
		f.Do = "Add a CA of your own to the system's trust store (on Debian: /usr/local/share/ca-certificates and update-ca-certificates) and let it sign the server's certificate, with CA:FALSE."
	case extra != "" && e.knownExtra(chain, extra):
		details["reason"] = "only_node_extra_ca_certs"
		f.Title = "only NODE_EXTRA_CA_CERTS knows the CA, the system's trust store does not"
		f.Means = "Nx's client is not Node: it does not read NODE_EXTRA_CA_CERTS. Every build fails."
		f.Do = "Add that CA to the system's trust store (on Debian: /usr/local/share/ca-certificates and update-ca-certificates), or set SSL_CERT_FILE to a bundle that has it."
	case len(chain) == 1:
		details["reason"] = "incomplete_chain"
		f.Title = "no trusted CA has signed the certificate, and the server sends no intermediate certificate"
		f.Do = "Let the server send the full chain (nginx: the \"fullchain\" file in ssl_certificate). If the CA is your own, add it to the system's trust store."
	default:
		details["reason"] = "unknown_authority"
		f.Title = "the system's trust store does not know the CA: " + printable(chain[len(chain)-1].Issuer.String(), 100)
		f.Do = "Add it to the system's trust store (on Debian: /usr/local/share/ca-certificates and update-ca-certificates), or set SSL_CERT_FILE to a bundle that has it."
	}
	if e.insecure {
		f.Status = Warn
		f.Means = "NODE_TLS_REJECT_UNAUTHORIZED=0 makes Nx accept it all the same: anybody on the way can read the token and replace artifacts."
	}
	e.add(f)
}

// verify asks for trust alone: names and the leaf's dates have findings of their own.
func verify(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	leaf, others := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	if now.After(leaf.NotAfter) || now.Before(leaf.NotBefore) {
		now = leaf.NotBefore.Add(time.Second)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: now})
	return err
}

func (e *exam) knownExtra(chain []*x509.Certificate, file string) bool {
	pem, err := readFileBounded(file, 4<<20)
	if err != nil {
		return false
	}
	pool := x509.NewCertPool()
	return pool.AppendCertsFromPEM(pem) && verify(chain, pool, e.opts.Now()) == nil
}

func (e *exam) checkName(leaf *x509.Certificate) {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	details := Details{"names": names[:min(len(names), 50)]}
	if leaf.VerifyHostname(e.target.host) == nil {
		e.ok(IDTLSName, details, "the certificate is for %s", e.target.host)
		return
	}
	title := "the certificate is not for " + e.target.host
	if len(names) == 0 {
		title = "the certificate names no host at all (its common name does not count)"
	}
	e.addTLS(Finding{ID: IDTLSName, Status: Fail, Title: title, Details: details,
		Do: "Use a name that the certificate has in " + ServerVariable + ", or issue a certificate for this one. A proxy without a rule for the name serves its default certificate."})
}

func (e *exam) checkExpiry(leaf *x509.Certificate) {
	now := e.opts.Now()
	left := leaf.NotAfter.Sub(now)
	details := Details{"not_before": leaf.NotBefore.UTC().Format(time.RFC3339), "not_after": leaf.NotAfter.UTC().Format(time.RFC3339)}
	day := leaf.NotAfter.UTC().Format(time.DateOnly)
	switch {
	case left < 0:
		e.addTLS(Finding{ID: IDTLSExpiry, Status: Fail, Title: "the certificate expired on " + day, Details: details,
			Do: "Renew it, and let the server load the new one. If it is not that old, check this machine's clock."})
	case now.Before(leaf.NotBefore):
		e.addTLS(Finding{ID: IDTLSExpiry, Status: Fail, Title: "the certificate is not valid before " + leaf.NotBefore.UTC().Format(time.DateOnly), Details: details,
			Do: "Check this machine's clock, and the one that issued the certificate."})
	case left < soon:
		e.add(Finding{ID: IDTLSExpiry, Status: Warn, Title: "the certificate expires on " + day + ", in " + plural(int(left.Hours()/24), "day"),
			Means: "From then on every build fails.", Do: "Renew it; check why nothing renewed it by itself.", Details: details})
	default:
		e.ok(IDTLSExpiry, details, "valid until %s (%s)", day, plural(int(left.Hours()/24), "day"))
	}
}

// addTLS adds a failure that Nx, told to check no certificates, would not see.
func (e *exam) addTLS(f Finding) {
	f.Means = "Nx's client refuses the server: every build fails."
	if e.insecure {
		f.Status, f.Means = Warn, "NODE_TLS_REJECT_UNAUTHORIZED=0 makes Nx accept it all the same."
	}
	e.add(f)
}

func (r *Report) failed(ids ...string) bool {
	for _, f := range r.Findings {
		for _, id := range ids {
			if f.ID == id && f.Status == Fail {
				return true
			}
		}
	}
	return false
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func hasExtension(c *x509.Certificate, id asn1.ObjectIdentifier) bool {
	for _, x := range c.Extensions {
		if x.Id.Equal(id) {
			return true
		}
	}
	return false
}

func chainNames(chain []*x509.Certificate) []string {
	var names []string
	for _, c := range chain[:min(len(chain), 10)] {
		names = append(names, c.Subject.String())
	}
	return names
}
