package azure

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

var _ bucket.Bucket = (*Bucket)(nil)

// Options of a [Bucket].
type Options struct {
	// Container is the container's name; it must exist.
	Container string
	// Prefix comes before the name of each blob, with a "/" between. Empty: none.
	Prefix string
	// Account is the name of the storage account. Empty: that of the credentials, or AZURE_STORAGE_ACCOUNT.
	Account string
	// Endpoint is the URL of the account's blob service, such as "https://acme.blob.core.windows.net", for an emulator with the account as
	// its path. Empty: that of the connection string, or made of Account.
	Endpoint string
	// EncryptionScope encrypts blobs with the key of a scope of the account. Empty: the container's default.
	EncryptionScope string
	// CustomerKey encrypts blobs with a key of 32 bytes that the service does not keep: who loses it loses the blobs. Not with EncryptionScope.
	CustomerKey []byte
	// AccessTier is that of new blobs: "Hot", "Cool" or "Cold". Empty: the account's default.
	AccessTier string
	// RootCAs are the authorities that vouch for the service and for those who give out tokens. Nil: those of the system.
	RootCAs *x509.CertPool
	// BlocksAt is the size in bytes above which a body is sent in blocks. Zero: [DefaultBlocksAt].
	BlocksAt int64
	// BlockSize is the size of a block in bytes; bodies of more than 50,000 of them are cut into larger ones. Zero: [DefaultBlockSize].
	BlockSize int64

	retryDelay time.Duration // before the second attempt; zero: 200 ms
}

// DefaultBlocksAt is 64 MiB: below, one request is the least that can fail.
const DefaultBlocksAt = 64 << 20

// DefaultBlockSize is 16 MiB: that much is sent again after a break.
const DefaultBlockSize = 16 << 20

// Bucket is a [bucket.Bucket].
type Bucket struct {
	opts   Options
	prefix string // empty, or with "/" at its end
	http   *http.Client
	access access
	// container has the credentials.
	container *container.Client
	cpk       *blob.CPKInfo
	scope     *blob.CPKScopeInfo
	keys      keyring
	secrets   []string // what no error may hold
}

// Open finds credentials in the environment (AZURE_STORAGE_CONNECTION_STRING; AZURE_STORAGE_KEY with the account's name;
// AZURE_STORAGE_SAS_TOKEN; else those of [azidentity.NewDefaultAzureCredential]: a service principal, a workload identity, a managed
// identity, the Azure CLI) and returns the bucket, which it does not ask for anything. The caller closes it.
func Open(_ context.Context, options Options) (*Bucket, error) {
	b := &Bucket{opts: options, prefix: strings.Trim(options.Prefix, "/"), keys: newKeyring()}
	if b.opts.BlocksAt == 0 {
		b.opts.BlocksAt = DefaultBlocksAt
	}
	if b.opts.BlockSize == 0 {
		b.opts.BlockSize = DefaultBlockSize
	}
	if b.opts.retryDelay == 0 {
		b.opts.retryDelay = 200 * time.Millisecond
	}
	switch {
	case options.Container == "" || strings.ContainsAny(options.Container, "/?#% "):
		return nil, fmt.Errorf("%q is no name of a container", options.Container)
	case strings.Contains(b.prefix, "//"):
		return nil, fmt.Errorf("the prefix %q has an empty part: write one \"/\" between parts", options.Prefix)
	case len(options.CustomerKey) != 0 && len(options.CustomerKey) != 32:
		return nil, fmt.Errorf("the customer's encryption key has %d bytes: it must have 32", len(options.CustomerKey))
	case len(options.CustomerKey) != 0 && options.EncryptionScope != "":
		return nil, errors.New("there is a customer's encryption key and an encryption scope: choose one")
	case strings.EqualFold(options.AccessTier, string(blob.AccessTierArchive)):
		return nil, errors.New("blobs of the access tier Archive cannot be read: choose Hot, Cool or Cold")
	}
	if b.prefix != "" {
		b.prefix += "/"
	}
	if len(options.CustomerKey) != 0 {
		key, sum := base64.StdEncoding.EncodeToString(options.CustomerKey), sha256.Sum256(options.CustomerKey)
		digest, algorithm := base64.StdEncoding.EncodeToString(sum[:]), blob.EncryptionAlgorithmTypeAES256
		b.cpk = &blob.CPKInfo{EncryptionKey: &key, EncryptionKeySHA256: &digest, EncryptionAlgorithm: &algorithm}
		b.secrets = append(b.secrets, key)
	}
	if options.EncryptionScope != "" {
		b.scope = &blob.CPKScopeInfo{EncryptionScope: &b.opts.EncryptionScope}
	}
	var err error
	if b.access, err = findAccess(options); err != nil {
		return nil, err
	}
	b.secrets = append(b.secrets, b.access.secrets()...)
	b.http = newClient(options.RootCAs)
	if b.container, err = b.access.open(options.Container, b.clientOptions()); err != nil {
		return nil, fmt.Errorf("open the Azure container %s of %s: %s", options.Container, b.access.account, b.clean(withoutURL(err).Error()))
	}
	return b, nil
}

// clientOptions are those of all clients: few and short attempts, because whoever calls has its own ways to go on.
func (b *Bucket) clientOptions() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: b.http,
		Retry:     b.retries(),
		Telemetry: policy.TelemetryOptions{ApplicationID: "bezoar"},
	}
}

func (b *Bucket) retries() policy.RetryOptions {
	return policy.RetryOptions{MaxRetries: 2, RetryDelay: b.opts.retryDelay, MaxRetryDelay: 2 * time.Second}
}

// URL implements [bucket.Bucket]: "azblob://CONTAINER/PREFIX?account=ACCOUNT".
func (b *Bucket) URL() string {
	return strings.TrimRight("azblob://"+b.opts.Container+"/"+b.prefix, "/") + "?account=" + b.access.account
}

// Close implements [bucket.Bucket].
func (b *Bucket) Close() error {
	b.http.CloseIdleConnections()
	return nil
}
