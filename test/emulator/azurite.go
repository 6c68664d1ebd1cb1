package emulator

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
)

// The account that azurite knows. Its key stands in azurite's own documentation.
const (
	azuriteAccount = "devstoreaccount1"
	azuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// AzuriteServer is an azurite that serves blobs.
type AzuriteServer struct {
	*Server
	// Endpoint is the URL of the account, such as "http://127.0.0.1:40001/devstoreaccount1", without a slash at its end.
	Endpoint string
	// Account and Key are the account's name and shared key.
	Account, Key string
}

// Azurite starts an azurite over a directory.
func Azurite(tb testing.TB, list ...Option) AzuriteServer {
	tb.Helper()
	o := optionsOf(tb, list)
	if o.tls {
		tb.Fatal("azurite is not started with TLS here")
	}
	// Node itself and no wrapper: its process id is the server's.
	program := filepath.Join(install(tb, "azurite"), "node_modules", "azurite", "dist", "src", "blob", "main.js")
	home := tb.TempDir()
	s := &Server{
		Dir:  o.dir,
		name: "azurite",
		command: func(host, port string) *exec.Cmd {
			cmd := exec.Command("node", program, "--blobHost", host, "--blobPort", port, "--location", o.dir, "--silent", "--skipApiVersionCheck", "--disableTelemetry")
			cmd.Dir, cmd.Env = home, environment(home)
			return cmd
		},
		health: func(addr string) string { return "http://" + addr + "/" + azuriteAccount },
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	s.start(tb)
	return AzuriteServer{Server: s, Endpoint: "http://" + s.Addr + "/" + azuriteAccount, Account: azuriteAccount, Key: azuriteKey}
}

// NewContainer makes a container of the test's own and returns its name.
func (s AzuriteServer) NewContainer(tb testing.TB) string {
	tb.Helper()
	name := uniqueName()
	credential, err := azblob.NewSharedKeyCredential(s.Account, s.Key)
	if err != nil {
		tb.Fatal(err)
	}
	client, err := azblob.NewClientWithSharedKeyCredential(s.Endpoint, credential, &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.client}})
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := client.CreateContainer(tb.Context(), name, nil); err != nil {
		tb.Fatalf("azurite: make the container %s: %v", name, err)
	}
	return name
}
