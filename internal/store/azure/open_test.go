package azure

import (
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	const box, key, sas = "box", "AccountKey=" + testKey, "SharedAccessSignature=sv=1&sig=SECRET"
	for _, c := range []struct {
		what     string
		options  Options
		env      []string
		want     string // what the error says; empty: it opens
		url      string
		endpoint string
	}{
		{"a connection string", Options{Container: box}, []string{connectionVariable, "DefaultEndpointsProtocol=https;AccountName=acme;" + key + ";EndpointSuffix=core.chinacloudapi.cn"}, "", "azblob://box?account=acme", "https://acme.blob.core.chinacloudapi.cn"},
		{"a connection string of an emulator", Options{Container: box, Prefix: "/a/b/"}, []string{connectionVariable, "AccountName=acme;" + key + ";BlobEndpoint=http://emulator:1/acme;"}, "", "azblob://box/a/b?account=acme", "http://emulator:1/acme"},
		{"a connection string with a SAS", Options{Container: box}, []string{connectionVariable, "BlobEndpoint=https://acme.blob.core.windows.net;" + sas}, "", "azblob://box?account=acme", "https://acme.blob.core.windows.net"},
		{"a key", Options{Container: box}, []string{accountVariable, "acme", keyVariable, testKey}, "", "azblob://box?account=acme", "https://acme.blob.core.windows.net"},
		{"a SAS", Options{Container: box, Account: "acme"}, []string{sasVariable, "?sv=1&sig=SECRET"}, "", "azblob://box?account=acme", "https://acme.blob.core.windows.net"},
		{"an identity", Options{Container: box, Account: "acme"}, nil, "", "azblob://box?account=acme", "https://acme.blob.core.windows.net"},
		{"the endpoint of the settings", Options{Container: box, Endpoint: "https://acme.privatelink.example.com/"}, []string{connectionVariable, "AccountName=acme;" + key}, "", "azblob://box?account=acme", "https://acme.privatelink.example.com"},
		{"no account", Options{Container: box}, nil, "is missing", "", ""},
		{"two accounts", Options{Container: box, Account: "other"}, []string{connectionVariable, "AccountName=acme;" + key}, "correct one", "", ""},
		{"no list", Options{Container: box}, []string{connectionVariable, "SECRET"}, "no list", "", ""},
		{"no right", Options{Container: box}, []string{connectionVariable, "AccountName=acme"}, "neither", "", ""},
		{"no Base64", Options{Container: box, Account: "acme"}, []string{keyVariable, "SECRET!"}, "no Base64", "", ""},
		{"a signature in the endpoint", Options{Container: box, Endpoint: "https://acme.blob.core.windows.net?sig=SECRET"}, []string{keyVariable, testKey}, "no URL", "", ""},
		{"a SAS over plain http", Options{Container: box, Endpoint: "http://10.0.0.1/acme"}, []string{sasVariable, "sig=SECRET"}, "plain http", "", ""},
		{"an unknown kind of credentials", Options{Container: box, Account: "acme"}, []string{"AZURE_TOKEN_CREDENTIALS", "magic"}, "magic", "", ""},
		{"no container", Options{Account: "acme"}, []string{keyVariable, testKey}, "no name of a container", "", ""},
		{"an empty part", Options{Container: box, Account: "acme", Prefix: "a//b"}, []string{keyVariable, testKey}, "empty part", "", ""},
		{"a short key", Options{Container: box, Account: "acme", CustomerKey: []byte("short")}, []string{keyVariable, testKey}, "must have 32", "", ""},
		{"two keys", Options{Container: box, Account: "acme", CustomerKey: make([]byte, 32), EncryptionScope: "s"}, []string{keyVariable, testKey}, "choose one", "", ""},
		{"an archive", Options{Container: box, Account: "acme", AccessTier: "archive"}, []string{keyVariable, testKey}, "Archive", "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			environment(t, c.env...)
			b, err := Open(t.Context(), c.options)
			if err == nil {
				defer b.Close()
			}
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && (b.URL() != c.url || b.access.endpoint != c.endpoint):
				t.Errorf("it is %s at %s, want %s at %s", b.URL(), b.access.endpoint, c.url, c.endpoint)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want one that says %q", err, c.want)
			case err != nil && strings.Contains(err.Error(), "SECRET"):
				t.Errorf("it tells the secret: %v", err)
			}
		})
	}
}
