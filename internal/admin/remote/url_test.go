package remote

import (
	"strings"
	"testing"
)

func TestParseServer(t *testing.T) {
	for text, want := range map[string]string{
		"https://cache.example.com": "https://cache.example.com", "https://cache.example.com/": "https://cache.example.com", "https://proxy.example.com/nx/": "https://proxy.example.com/nx",
		"http://127.0.0.1:8099": "http://127.0.0.1:8099", "http://[::1]:8099": "http://[::1]:8099", "http://localhost": "http://localhost",
	} {
		if u, err := parseServer(text); err != nil || u.String() != want {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
	for _, text := range []string{"", "cache.example.com", "ftp://cache.example.com", "https://", "https:///x", "http://cache.example.com", "http://127.0.0.1.example.com",
		"http://10.0.0.1", "https://jo:secret@cache.example.com", "https://cache.example.com?secret", "https://cache.example.com#secret", "https://secret\x7f"} {
		if u, err := parseServer(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v", text, u, err)
		}
	}
}
