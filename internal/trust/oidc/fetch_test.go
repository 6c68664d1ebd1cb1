package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

func withHeader(name, value string, document any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if value != "" {
			w.Header().Set(name, value)
		}
		_ = json.NewEncoder(w).Encode(document)
	})
}

// TestWhatIssuersMayNotSay has discovery and key sets that lie, lead elsewhere or are none. The issuer's RoundTrip fails the test on any other host.
func TestWhatIssuersMayNotSay(t *testing.T) {
	c := &clock{start}
	iss := oidctest.NewOffline(t, theIssue)
	iss.Now = c.Now
	discovery := func(over object) http.Handler {
		d := iss.Discovery()
		maps.Copy(d, over)
		maps.DeleteFunc(d, func(_ string, v any) bool { return v == nil })
		return withHeader("", "", d)
	}
	to := func(location string, status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", location)
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(iss.KeySet()) // even if the body is what was asked for
		})
	}
	for _, tc := range []struct {
		name string
		path string
		with http.Handler
		says string
	}{
		{"another issuer", oidctest.DiscoveryPath, discovery(object{"issuer": "https://attacker.example.net"}), "another issuer"},
		{"the issuer with a slash", oidctest.DiscoveryPath, discovery(object{"issuer": theIssue + "/"}), "another issuer"},
		{"the issuer as a list", oidctest.DiscoveryPath, discovery(object{"issuer": []any{theIssue}}), "another issuer"},
		{"no issuer", oidctest.DiscoveryPath, discovery(object{"issuer": nil}), "another issuer"},
		{"keys on another host", oidctest.DiscoveryPath, discovery(object{"jwks_uri": elsewhere}), "another host"},
		{"keys on another port", oidctest.DiscoveryPath, discovery(object{"jwks_uri": theIssue + ":8443/jwks"}), "another host"},
		{"keys on a host below", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "https://a.ci.example.com/jwks"}), "another host"},
		{"keys on a host that begins so", oidctest.DiscoveryPath, discovery(object{"jwks_uri": theIssue + ".attacker.example.net/"}), "another host"},
		{"keys with the host as the user", oidctest.DiscoveryPath, discovery(object{"jwks_uri": theIssue + "@attacker.example.net/"}), "jwks_uri"},
		{"keys over http", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "http://ci.example.com/jwks"}), "jwks_uri"},
		{"keys on loopback", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "http://127.0.0.1:1/jwks"}), "another host"},
		{"keys on the inner network", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "http://169.254.169.254/"}), "jwks_uri"},
		{"keys in a file", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "file:///etc/passwd"}), "jwks_uri"},
		{"keys in the address", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "data:application/json,{}"}), "jwks_uri"},
		{"keys at a path alone", oidctest.DiscoveryPath, discovery(object{"jwks_uri": "/jwks"}), "jwks_uri"},
		{"keys at a long address", oidctest.DiscoveryPath, discovery(object{"jwks_uri": theIssue + "/" + strings.Repeat("x", 3000)}), "jwks_uri"},
		{"keys nowhere", oidctest.DiscoveryPath, discovery(object{"jwks_uri": nil}), "jwks_uri"},
		{"jwks_uri twice", oidctest.DiscoveryPath, answer(200, `{"issuer":"`+theIssue+`","jwks_uri":"`+theIssue+`/jwks","jwks_uri":"`+elsewhere+`"}`), "twice"},
		{"discovery redirects", oidctest.DiscoveryPath, to(elsewhere, http.StatusFound), "302, and redirects are not followed"},
		{"discovery redirects to itself", oidctest.DiscoveryPath, to(theIssue+oidctest.KeysPath, http.StatusMovedPermanently), "301, and redirects"},
		{"discovery is a page", oidctest.DiscoveryPath, answer(200, "<html>"+secret), "no JSON object"},
		{"discovery is missing", oidctest.DiscoveryPath, answer(404, secret), "status 404"},
		{"discovery is huge", oidctest.DiscoveryPath, answer(200, `{"issuer":"`+strings.Repeat("x", maxDiscovery)+`"}`), "larger than 64 KiB"},
		{"the key set redirects", oidctest.KeysPath, to("http://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect), "307, and redirects"},
		{"the key set is a page", oidctest.KeysPath, answer(200, "<html>"+secret), "no JSON object"},
		{"the key set is empty", oidctest.KeysPath, answer(200, `{"keys":[]}`), "no key"},
		{"the key set has status 500", oidctest.KeysPath, answer(500, secret), "status 500"},
		{"the key set has status 204", oidctest.KeysPath, answer(204, ""), "status 204"},
		{"the key set is huge", oidctest.KeysPath, answer(200, `{"keys":[`+strings.Repeat(" ", maxKeySetSize)+`]}`), "larger than 256 KiB"},
		{"the key set is garbage", oidctest.KeysPath, answer(200, string([]byte{0xff, 0xfe, 0, 1})), "UTF-8"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := new(logBook)
			v := newVerifier(t, iss, log)
			iss.Serve(tc.path, tc.with)
			defer iss.Serve(tc.path, nil)
			refused(t, v, iss.Sign(claims()), ErrUnavailable)
			wantDegraded(t, v, theIssue, tc.says)
			if strings.Contains(v.Degraded().Error(), "attacker") {
				t.Errorf("%q repeats an address that nobody asked for", v.Degraded())
			}
			wantLines(t, log, "cannot be fetched", 1)

			// The last good keys stay when the issuer goes bad later.
			iss.Serve(tc.path, nil)
			taken(t, v, iss.Sign(claims()))
			iss.Serve(tc.path, tc.with)
			refused(t, v, iss.SignHeader(object{"kid": "new"}, claims()), ErrUnavailable)
			taken(t, v, iss.Sign(claims()))
			wantDegraded(t, v, theIssue, tc.says)
		})
	}
}

func TestAddressesInTheConfigurationAreChecked(t *testing.T) {
	c := &clock{start}
	for _, issuer := range []Issuer{
		{URL: "http://ci.example.com"}, {URL: "https://user:" + secret + "@ci.example.com"}, {URL: theIssue + "?a=b"}, {URL: theIssue + "#a"}, {URL: "ci.example.com"},
		{URL: "file:///etc/passwd"}, {URL: theIssue, Keys: "http://ci.example.com/jwks"}, {URL: theIssue, Keys: "http://localhost.attacker.example.net/"},
	} {
		t.Run(issuer.URL+" "+issuer.Keys, func(t *testing.T) {
			iss := oidctest.NewOffline(t, issuer.URL)
			iss.Now = c.Now
			v := New(Options{Transport: iss, Now: iss.Now, Logger: new(logBook).logger()})
			v.Configure(ours, []Issuer{issuer})
			if _, err := v.Verify(t.Context(), iss.Sign(claims())); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			if n := iss.Discoveries() + iss.Fetches(); n != 0 {
				t.Errorf("%d requests", n)
			}
			wantDegraded(t, v, "no https address")
		})
	}
}

func TestIssuersWithAPathOrASlash(t *testing.T) {
	for _, url := range []string{"https://ci.example.com/org/1", "https://ci.example.com/org/1/", "https://ci.example.com/"} {
		t.Run(url, func(t *testing.T) {
			iss := oidctest.NewOffline(t, url)
			// What the issuer's server sees of a path is what comes after the URL.
			at := func(path string) string { return strings.TrimPrefix(strings.TrimSuffix(url, "/")+path, url) }
			iss.ServeJSON(at("/.well-known/openid-configuration"), with(iss.Discovery(), object{"jwks_uri": strings.TrimSuffix(url, "/") + "/keys.json"}))
			iss.ServeJSON(at("/keys.json"), iss.KeySet())
			v := newVerifier(t, iss, new(logBook))
			taken(t, v, iss.Sign(claims()))
		})
	}
}

// inner is a server of the inner network, that nobody may be led to.
func inner(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for", r.URL)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// overSockets makes a verifier with the transport of its own.
func overSockets(t *testing.T, iss *oidctest.Issuer) *Verifier {
	t.Helper()
	v := New(Options{Now: time.Now, Logger: new(logBook).logger()})
	v.Configure(ours, []Issuer{{URL: iss.URL}})
	run(t, v)
	return v
}

func TestRedirectsToInnerHostsAreNotFollowed(t *testing.T) {
	iss := oidctest.New(t)
	iss.Serve(oidctest.KeysPath, http.RedirectHandler(inner(t).URL, http.StatusFound))
	v := overSockets(t, iss)
	refused(t, v, iss.Sign(claims()), ErrUnavailable)
	wantDegraded(t, v, iss.URL, "redirects are not followed")
}

func TestDiscoveryLeadsToNoOtherPort(t *testing.T) {
	iss := oidctest.New(t)
	iss.ServeJSON(oidctest.DiscoveryPath, with(iss.Discovery(), object{"jwks_uri": inner(t).URL}))
	v := overSockets(t, iss)
	refused(t, v, iss.Sign(claims()), ErrUnavailable)
	wantDegraded(t, v, iss.URL, "another host")
}

func TestAKeySetWithoutEnd(t *testing.T) {
	iss := oidctest.New(t)
	iss.Serve(oidctest.KeysPath, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write([]byte(`{"keys":[` + strings.Repeat(" ", 64<<10))); err != nil {
				return // the reader has had enough
			}
		}
	}))
	v := overSockets(t, iss)
	refused(t, v, iss.Sign(claims()), ErrUnavailable)
	wantDegraded(t, v, iss.URL, "larger than 256 KiB")
}

// TestASlowKeySet has one that begins and never ends. The token is given up with its request, the fetch with the verifier.
func TestASlowKeySet(t *testing.T) {
	iss := oidctest.New(t)
	begun := make(chan struct{}, 10)
	iss.Serve(oidctest.KeysPath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"keys":[`))
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	v := overSockets(t, iss)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if _, err := v.Verify(ctx, iss.Sign(claims())); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestFetchesAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	iss := oidctest.NewOffline(t, theIssue)
	v := New(Options{Transport: iss, Now: iss.Now, Logger: new(logBook).logger(), Registerer: reg})
	v.Configure(ours, []Issuer{{URL: iss.URL}})
	taken(t, v, iss.Sign(claims()))
	for _, outage := range []oidctest.Outage{oidctest.Refuses, oidctest.Resets} {
		iss.SetOutage(outage)
		_, _ = v.Verify(t.Context(), iss.SignHeader(object{"kid": "new"}, claims()))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if len(m.GetLabel()) != 1 {
				t.Fatalf("labels %v", m.GetLabel())
			}
			got[m.GetLabel()[0].GetName()+"="+m.GetLabel()[0].GetValue()] = fmt.Sprint(family.GetName(), " ", m.GetCounter().GetValue())
		}
	}
	want := map[string]string{"result=ok": FetchesName + " 1", "result=bad_answer": FetchesName + " 1", "result=unreachable": FetchesName + " 1"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
