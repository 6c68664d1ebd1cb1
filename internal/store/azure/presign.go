package azure

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const (
	// maxTTL is the service's bound for a key that signs for a token's owner.
	maxTTL = 7 * 24 * time.Hour
	// keyLife is how much longer such a key lives than it has to, so that it serves many URLs.
	keyLife = time.Hour
	// skew is by how much clocks may differ.
	skew = 5 * time.Minute
)

// keyring keeps the key that signs for a token's owner. Whoever asks the service for one holds the place in turn.
type keyring struct {
	turn   chan struct{} // holds one
	signer *service.UserDelegationCredential
	until  time.Time
}

func newKeyring() keyring { return keyring{turn: make(chan struct{}, 1)} }

// Presign implements [bucket.Bucket], by a service SAS signed with the account's key, or by a user delegation SAS where credentials are tokens (which
// takes a request about once an hour).
func (b *Bucket) Presign(ctx context.Context, name string, ttl time.Duration) (string, error) {
	text, err := b.presign(ctx, name, ttl, time.Now().UTC())
	if err != nil {
		return "", b.explain("sign a URL of", name, err)
	}
	return text, nil
}

func (b *Bucket) presign(ctx context.Context, name string, ttl time.Duration, now time.Time) (string, error) {
	switch {
	case b.cpk != nil:
		return "", fmt.Errorf("%w: with a customer's encryption key, whoever reads needs the key, so a URL is not enough; use an encryption scope instead", bucket.ErrRefused)
	case b.access.sas != "":
		return "", fmt.Errorf("%w: a SAS cannot sign URLs: use the account's key, or an identity with the role \"Storage Blob Data Contributor\"", bucket.ErrRefused)
	case ttl < time.Second || ttl > maxTTL:
		return "", fmt.Errorf("a URL can be valid for 1 s to %v, not for %v", maxTTL, ttl)
	}
	permissions := sas.BlobPermissions{Read: true}
	values := sas.BlobSignatureValues{
		ContainerName: b.opts.Container, BlobName: b.prefix + name, Permissions: permissions.String(),
		StartTime: now.Add(-skew), ExpiryTime: now.Add(ttl), Protocol: sas.ProtocolHTTPS,
	}
	if strings.HasPrefix(b.access.endpoint, "http://") {
		values.Protocol = sas.ProtocolHTTPSandHTTP // an emulator
	}
	var query sas.QueryParameters
	if b.access.key != "" {
		credential, err := container.NewSharedKeyCredential(b.access.account, b.access.key)
		if err != nil {
			return "", err
		}
		if query, err = values.SignWithSharedKey(credential); err != nil {
			return "", err
		}
	} else {
		signer, err := b.delegated(ctx, now, now.Add(ttl))
		if err != nil {
			return "", err
		}
		if query, err = values.SignWithUserDelegation(signer); err != nil {
			return "", err
		}
	}
	return b.container.NewBlobClient(b.prefix+name).URL() + "?" + query.Encode(), nil
}

// delegated returns a key that is valid until a time.
func (b *Bucket) delegated(ctx context.Context, now, until time.Time) (*service.UserDelegationCredential, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case b.keys.turn <- struct{}{}:
	}
	defer func() { <-b.keys.turn }()
	if b.keys.signer != nil && !b.keys.until.Before(until) {
		return b.keys.signer, nil
	}
	end := until.Add(keyLife)
	if latest := now.Add(maxTTL); end.After(latest) {
		end = latest
	}
	from, to := now.Add(-skew).Format(sas.TimeFormat), end.Format(sas.TimeFormat)
	signer, err := b.access.service.GetUserDelegationCredential(ctx, service.KeyInfo{Start: &from, Expiry: &to}, nil)
	if err != nil {
		return nil, err
	}
	b.keys.signer, b.keys.until = signer, end
	return signer, nil
}
