package azure

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// The variables of the environment that are read here; azidentity reads more.
const (
	connectionVariable = "AZURE_STORAGE_CONNECTION_STRING"
	accountVariable    = "AZURE_STORAGE_ACCOUNT"
	keyVariable        = "AZURE_STORAGE_KEY"
	sasVariable        = "AZURE_STORAGE_SAS_TOKEN"
)

// access is where the account is and by which right it is used: by key, by sas, or else by a token.
type access struct {
	account  string
	endpoint string // without "/" at its end
	key      string
	sas      string // a query, without "?"
	// service asks for keys that sign for a token's owner; nil with key or sas.
	service *service.Client
}

func findAccess(options Options) (access, error) {
	a := access{account: options.Account, endpoint: strings.TrimRight(options.Endpoint, "/")}
	switch connection, key, sas := os.Getenv(connectionVariable), os.Getenv(keyVariable), os.Getenv(sasVariable); {
	case connection != "":
		if err := a.connect(connection); err != nil {
			return access{}, err
		}
	case key != "":
		a.key = key
	case sas != "":
		a.sas = strings.TrimPrefix(sas, "?")
	}
	if a.account == "" {
		a.account = os.Getenv(accountVariable)
	}
	if a.account == "" && a.endpoint == "" {
		return access{}, fmt.Errorf("the name of the Azure storage account is missing: set it, or %s, or %s", accountVariable, connectionVariable)
	}
	if a.endpoint == "" {
		a.endpoint = "https://" + a.account + ".blob.core.windows.net"
	}
	return a, a.check()
}

// connect reads a connection string. Errors do not tell it.
func (a *access) connect(text string) error {
	values := make(map[string]string)
	for pair := range strings.SplitSeq(strings.TrimRight(text, ";"), ";") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("%s is no list of NAME=VALUE with \";\" between: copy it anew", connectionVariable)
		}
		values[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	account := values["accountname"]
	if a.account != "" && account != "" && a.account != account {
		return fmt.Errorf("the settings name the Azure storage account %q, %s is of %q: correct one", a.account, connectionVariable, account)
	}
	if account != "" {
		a.account = account
	}
	a.key, a.sas = values["accountkey"], strings.TrimPrefix(values["sharedaccesssignature"], "?")
	if a.key == "" && a.sas == "" {
		return fmt.Errorf("%s has neither AccountKey nor SharedAccessSignature", connectionVariable)
	}
	if a.endpoint == "" {
		a.endpoint = strings.TrimRight(values["blobendpoint"], "/")
	}
	if suffix := values["endpointsuffix"]; a.endpoint == "" && suffix != "" && a.account != "" {
		scheme := values["defaultendpointsprotocol"]
		if scheme == "" {
			scheme = "https"
		}
		a.endpoint = scheme + "://" + a.account + ".blob." + suffix
	}
	return nil
}

func (a *access) check() error {
	u, err := url.Parse(a.endpoint)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New(`the endpoint of the Azure storage account is no URL such as "https://acme.blob.core.windows.net"`) // it may hold a signature
	}
	if a.account == "" {
		a.account, _, _ = strings.Cut(u.Hostname(), ".")
	}
	if _, err := base64.StdEncoding.DecodeString(a.key); err != nil {
		return fmt.Errorf("%w: the key of the Azure storage account is no Base64: copy it anew", bucket.ErrRefused)
	}
	// A key only signs requests; the other two could be read and used by whoever listens.
	if u.Scheme == "http" && a.key == "" && !loopback(u.Hostname()) {
		return fmt.Errorf("the endpoint %s://%s is plain http and not on this machine: use https", u.Scheme, u.Host)
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// open makes the client of a container.
func (a *access) open(name string, options azcore.ClientOptions) (*container.Client, error) {
	target := a.endpoint + "/" + name
	switch {
	case a.key != "":
		credential, err := container.NewSharedKeyCredential(a.account, a.key)
		if err != nil {
			return nil, err
		}
		return container.NewClientWithSharedKeyCredential(target, credential, &container.ClientOptions{ClientOptions: options})
	case a.sas != "":
		return container.NewClientWithNoCredential(target+"?"+a.sas, &container.ClientOptions{ClientOptions: options})
	}
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: options})
	if err != nil {
		return nil, err
	}
	if a.service, err = service.NewClient(a.endpoint, credential, &service.ClientOptions{ClientOptions: options}); err != nil {
		return nil, err
	}
	return container.NewClient(target, credential, &container.ClientOptions{ClientOptions: options})
}

// secrets are the texts that no error may hold.
func (a *access) secrets() []string {
	var list []string
	if a.key != "" {
		list = append(list, a.key)
	}
	if a.sas != "" {
		list = append(list, a.sas)
		if values, err := url.ParseQuery(a.sas); err == nil && values.Get("sig") != "" {
			list = append(list, values.Get("sig"), url.QueryEscape(values.Get("sig")))
		}
	}
	for _, name := range []string{"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD", "IDENTITY_HEADER"} {
		if secret := os.Getenv(name); secret != "" {
			list = append(list, secret)
		}
	}
	return list
}
