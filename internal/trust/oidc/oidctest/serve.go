package oidctest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
)

// Outage is a way not to answer.
type Outage int

// The ways.
const (
	Up      Outage = iota
	Refuses        // every request is answered with 503
	Resets         // every connection is cut
	Hangs          // no request is answered until it is given up or the outage ends
)

// ErrReset is what an offline issuer that resets connections answers.
var ErrReset = errors.New("connection reset by the issuer")

// SetDown starts or ends an outage: 503 to everything.
func (i *Issuer) SetDown(down bool) {
	if down {
		i.SetOutage(Refuses)
	} else {
		i.SetOutage(Up)
	}
}

// SetOutage says how to answer from now on. What hangs is let go.
func (i *Issuer) SetOutage(o Outage) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.outage = o
	close(i.release)
	i.release = make(chan struct{})
}

// Fetches is how often the key set was asked for, outages included.
func (i *Issuer) Fetches() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// Discoveries is how often the discovery document was asked for, outages included.
func (i *Issuer) Discoveries() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.discoveries
}

// Serve answers a path below the URL with a handler of the test's, such as [DiscoveryPath]; nil gives the path back.
func (i *Issuer) Serve(path string, h http.Handler) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if h == nil {
		delete(i.documents, path)
		return
	}
	i.documents[path] = h
}

// ServeJSON answers a path with a document.
func (i *Issuer) ServeJSON(path string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		i.tb.Fatalf("write the document: %v", err)
	}
	i.Serve(path, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data) // a reader that leaves has its reason
	}))
}

// Discovery returns what the discovery document says, as a value for [encoding/json].
func (i *Issuer) Discovery() map[string]any {
	return map[string]any{
		"issuer":                                i.URL,
		"jwks_uri":                              i.URL + KeysPath,
		"subject_types_supported":               []string{"public"},
		"response_types_supported":              []string{"id_token"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
}

// ServeHTTP is the issuer's server.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := i.below(r.URL.Path)
	i.mu.Lock()
	switch path {
	case KeysPath:
		i.fetches++
	case DiscoveryPath:
		i.discoveries++
	}
	outage, release, document := i.outage, i.release, i.documents[path]
	i.mu.Unlock()

	switch outage {
	case Refuses:
		http.Error(w, "the issuer is down", http.StatusServiceUnavailable)
		return
	case Resets:
		panic(http.ErrAbortHandler)
	case Hangs:
		select {
		case <-release:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case Up:
	}
	switch {
	case document != nil:
		document.ServeHTTP(w, r)
	case path == DiscoveryPath:
		i.answer(w, i.Discovery())
	case path == KeysPath:
		i.answer(w, i.KeySet())
	default:
		http.NotFound(w, r)
	}
}

// below returns the path without that of the issuer's own URL: an issuer may live under one.
func (i *Issuer) below(path string) string {
	u, err := url.Parse(i.URL)
	if err != nil || len(path) < len(u.Path) || path[:len(u.Path)] != u.Path {
		return path
	}
	return path[len(u.Path):]
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.tb.Logf("the client left before the document was written: %v", err)
	}
}

// RoundTrip answers without any socket. A request for another host fails the test.
func (i *Issuer) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if u, perr := url.Parse(i.URL); perr != nil || r.URL.Scheme != u.Scheme || r.URL.Host != u.Host {
		i.tb.Errorf("somebody asked %s, which is not the issuer %s", r.URL.Redacted(), i.URL)
		return nil, errors.New("no network but the issuer's")
	}
	defer func() {
		// As the server of net/http does with a handler that gives up.
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
				panic(p)
			}
			if resp, err = nil, r.Context().Err(); err == nil {
				err = ErrReset
			}
		}
	}()
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	resp = w.Result()
	resp.Request = r
	return resp, nil
}
