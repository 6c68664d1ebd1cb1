package oidctest_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/trust/oidc/oidctest"
)

func TestAnybodyCanCheckATokenWithWhatIsPublished(t *testing.T) {
	iss := oidctest.New(t)
	var discovery struct {
		Issuer string
		Keys   string `json:"jwks_uri"`
	}
	get(t, http.DefaultClient, iss.URL+oidctest.DiscoveryPath, &discovery)
	if discovery.Issuer != iss.URL {
		t.Errorf("discovery names %q", discovery.Issuer)
	}
	var set struct{ Keys []struct{ Kid, N, E string } }
	get(t, http.DefaultClient, discovery.Keys, &set)
	if n := iss.Fetches(); n != 1 {
		t.Errorf("one fetch was counted as %d", n)
	}

	token := iss.Sign(map[string]any{"aud": "somebody", "jti": nil})
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(t, set.Keys[0].N)), E: int(new(big.Int).SetBytes(decode(t, set.Keys[0].E)).Int64())}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], decode(t, parts[2])); err != nil {
		t.Error(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(decode(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != iss.URL || claims["aud"] != "somebody" || claims["exp"].(float64)-claims["iat"].(float64) != 300 {
		t.Errorf("claims %v", claims)
	}
	if _, ok := claims["jti"]; ok {
		t.Error("a claim that is nil was written")
	}

	iss.Rotate()
	old := set.Keys[0].Kid
	get(t, http.DefaultClient, discovery.Keys, &set)
	if len(set.Keys) != 1 || set.Keys[0].Kid == old {
		t.Errorf("after a rotation the set is %v", set.Keys)
	}
	iss.RotateKeeping()
	get(t, http.DefaultClient, discovery.Keys, &set)
	if len(set.Keys) != 2 {
		t.Errorf("after a rotation that keeps, the set is %v", set.Keys)
	}
}

func TestAnIssuerWithoutSocketsInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		iss := oidctest.NewOffline(t, "https://issuer.example.com/group")
		client := &http.Client{Transport: iss, Timeout: time.Second}
		var set struct{ Keys []any }
		get(t, client, iss.URL+oidctest.KeysPath, &set)
		if len(set.Keys) != 1 {
			t.Errorf("keys %v", set.Keys)
		}
		iss.SetOutage(oidctest.Resets)
		if _, err := client.Get(iss.URL + oidctest.KeysPath); !errors.Is(err, oidctest.ErrReset) {
			t.Errorf("a reset: %v", err)
		}
		iss.SetOutage(oidctest.Hangs)
		start := time.Now()
		if _, err := client.Get(iss.URL + oidctest.KeysPath); err == nil || time.Since(start) != time.Second {
			t.Errorf("hung for %v: %v", time.Since(start), err)
		}
		iss.SetDown(true)
		resp, err := client.Get(iss.URL + oidctest.KeysPath)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("down: %s", resp.Status)
		}
		iss.SetDown(false)
		get(t, client, iss.URL+oidctest.KeysPath, &set)
		if n := iss.Fetches(); n != 5 {
			t.Errorf("five fetches were counted as %d", n)
		}
	})
}

func get(t *testing.T, client *http.Client, url string, into any) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v in %q", url, err, data)
	}
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
