package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits of a fetch.
const (
	// fetchTimeout bounds a fetch, discovery and key set together.
	fetchTimeout  = 10 * time.Second
	maxDiscovery  = 64 << 10  // bytes
	maxKeySetSize = 256 << 10 // bytes; ten keys with their certificates have 20 KiB
	maxAddress    = 2 << 10   // bytes
	// minFresh and maxFresh bound what an issuer says in Cache-Control.
	minFresh = 5 * time.Minute
	maxFresh = time.Hour
)

var discoveryLimits = limits{depth: 8, members: 1024}

// FetchesName is the counter of fetches of issuers' keys, by "result": ok, unreachable (no answer in time), bad_answer (one that is no key set, or that this server
// does not take).
const FetchesName = "bezoar_issuer_fetches_total"

// The issuers have no label: who asks needs to know that something is wrong, and [Verifier.Degraded] says where.
func newFetches(reg prometheus.Registerer) *prometheus.CounterVec {
	fetches := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: FetchesName,
		Help: "Fetches of the key sets of CI identity issuers.",
	}, []string{"result"})
	for _, result := range []string{"ok", "unreachable", "bad_answer"} {
		fetches.WithLabelValues(result)
	}
	if reg != nil {
		reg.MustRegister(fetches)
	}
	return fetches
}

// badAnswer is an answer that cannot be used, as opposed to none.
type badAnswer struct{ error }

func (b badAnswer) Unwrap() error { return b.error }

func fetchResult(err error) string {
	if err == nil {
		return "ok"
	}
	if _, ok := errors.AsType[badAnswer](err); ok {
		return "bad_answer"
	}
	return "unreachable"
}

// newClient makes a client that goes where it is told and nowhere else.
func newClient(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    5 * time.Second,
			ResponseHeaderTimeout:  fetchTimeout,
			MaxResponseHeaderBytes: 32 << 10,
			MaxConnsPerHost:        2,
			IdleConnTimeout:        10 * time.Second,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		}
	}
	return &http.Client{
		Transport: transport,
		// A redirect is an answer like any other that is not the document.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fetch gets an issuer's key set.
func (v *Verifier) fetch(ctx context.Context, issuer Issuer) (*keySet, error) {
	asOf := v.now()
	address := issuer.Keys
	if address == "" {
		var err error
		if address, err = v.discover(ctx, issuer.URL); err != nil {
			return nil, err
		}
	}
	if _, err := checkAddress(address); err != nil {
		return nil, badAnswer{fmt.Errorf("the address of its key set %w", err)}
	}
	data, header, err := v.get(ctx, address, maxKeySetSize)
	if err != nil {
		return nil, fmt.Errorf("fetch its key set: %w", err)
	}
	keys, err := parseKeySet(data)
	if err != nil {
		return nil, badAnswer{fmt.Errorf("the key set at %s %w", address, err)}
	}
	return &keySet{keys: keys, asOf: asOf, fresh: freshness(header)}, nil
}

// discover asks the issuer where its key set is (OpenID Connect Discovery 1.0, section 4). The document has to name this very issuer, and an address on its own host: one
// that publishes its keys elsewhere is believed only if the configuration says so.
func (v *Verifier) discover(ctx context.Context, issuer string) (string, error) {
	own, err := checkAddress(issuer)
	if err != nil {
		return "", badAnswer{fmt.Errorf("the issuer's address %w", err)}
	}
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	data, _, err := v.get(ctx, address, maxDiscovery)
	if err != nil {
		return "", fmt.Errorf("fetch its discovery document: %w", err)
	}
	document, err := decodeObject(data, discoveryLimits)
	if err != nil {
		return "", badAnswer{fmt.Errorf("the discovery document at %s %w", address, err)}
	}
	if document["issuer"] != issuer {
		return "", badAnswer{fmt.Errorf("the discovery document at %s is that of another issuer: write the issuer in the policy exactly as the document does", address)}
	}
	keys, _ := document["jwks_uri"].(string)
	there, err := checkAddress(keys)
	if err != nil {
		return "", badAnswer{fmt.Errorf("the jwks_uri in the discovery document at %s %w", address, err)}
	}
	if there.Scheme != own.Scheme || !strings.EqualFold(there.Host, own.Host) {
		return "", badAnswer{fmt.Errorf("the discovery document at %s has its jwks_uri on another host: "+
			"if that is right, write the address of the key set into the policy", address)}
	}
	return keys, nil
}

// get fetches a document of at most limit bytes.
func (v *Verifier) get(ctx context.Context, address string, limit int64) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, badAnswer{errAddress}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "bezoar")
	resp, err := v.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		err := fmt.Errorf("%s answered with status %d", address, resp.StatusCode)
		if resp.StatusCode/100 == 3 {
			err = fmt.Errorf("%w, and redirects are not followed", err)
		}
		return nil, nil, badAnswer{err}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s: %w", address, err)
	}
	if int64(len(data)) > limit {
		return nil, nil, badAnswer{fmt.Errorf("the answer of %s is larger than %d KiB", address, limit>>10)}
	}
	return data, resp.Header, nil
}

var errAddress = errors.New("is no https address without query, fragment and user (http is taken on loopback alone)")

// checkAddress takes https, and http where nobody is in between.
func checkAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxAddress || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, errAddress // url.Parse would quote it, and what comes from a document is not for our logs
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, errAddress
	}
	return u, nil
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// freshness reads max-age (RFC 9111, section 5.2.2.1), within bounds: an issuer that forbids caching is asked every 5 minutes, one that says nothing every hour.
func freshness(header http.Header) time.Duration {
	fresh := maxFresh
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(strings.ToLower(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return minFresh
			case "max-age":
				if seconds, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32); err == nil {
					fresh = min(fresh, max(minFresh, time.Duration(seconds)*time.Second))
				}
			}
		}
	}
	return fresh
}
