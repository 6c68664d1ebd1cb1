package azure

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

const howToAuthenticate = "set " + connectionVariable + ", " + keyVariable + " or " + sasVariable +
	", or run with a service principal, a workload identity, a managed identity or the Azure CLI"

// explain says what went wrong where, and what to do about it. doing is such as "read"; name is relative to the prefix. An answer that
// the caller has a meaning for does not come here.
func (b *Bucket) explain(doing, name string, err error) error {
	what := fmt.Sprintf("%s %q in the Azure container %s of %s", doing, b.prefix+name, b.opts.Container, b.access.account)
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("%s: %w", what, b.explainAnswer(answer))
	}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		text := b.clean(failed.Error())
		if raw := failed.RawResponse; raw != nil && raw.StatusCode >= 400 && raw.StatusCode < 500 && raw.StatusCode != http.StatusTooManyRequests {
			return fmt.Errorf("%s: %w: no token is given: %s: look at the identity's credentials", what, bucket.ErrRefused, text)
		}
		return fmt.Errorf("%s: get a token: %s", what, text)
	}
	err = withoutURL(err)
	return fmt.Errorf("%s: %w", what, &cleaned{err, b.clean(err.Error())})
}

// cleaned is an error whose text holds no secret.
type cleaned struct {
	error
	text string
}

func (c *cleaned) Error() string { return c.text }
func (c *cleaned) Unwrap() error { return c.error }

// explainAnswer tells an answer by its code alone: the SDK's text of it is a page long.
func (b *Bucket) explainAnswer(answer *azcore.ResponseError) error {
	says := fmt.Sprintf("Azure answers %d %s", answer.StatusCode, b.clean(answer.ErrorCode))
	refused := func(todo string) error { return fmt.Errorf("%w: %s: %s", bucket.ErrRefused, says, todo) }
	code := bloberror.Code(answer.ErrorCode)
	switch {
	case code == bloberror.ContainerNotFound, code == bloberror.ContainerBeingDeleted, code == bloberror.ContainerDisabled:
		return refused("make the container, or correct its name")
	case answer.StatusCode == http.StatusNotFound:
		return bucket.ErrNotExist
	case code == bloberror.AuthorizationPermissionMismatch, code == bloberror.InsufficientAccountPermissions:
		return refused("give the identity the role \"Storage Blob Data Contributor\" on the container; a SAS needs the permissions to read, create, write, delete and list (rcwdl)")
	case code == bloberror.AuthorizationFailure:
		return refused("the account's firewall or a missing permission forbids it: allow this network, and give the identity the role \"Storage Blob Data Contributor\"")
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		return refused("the credentials are not accepted, or a SAS has run out, or this machine's clock is wrong, or the role \"Storage Blob Data Contributor\" is missing; " + howToAuthenticate)
	case code == bloberror.InvalidBlockList, code == bloberror.InvalidBlobOrBlock:
		return fmt.Errorf("%s: somebody else wrote the same blob meanwhile", says)
	case answer.ErrorCode == "FeatureNotSupported", answer.ErrorCode == "FeatureNotYetSupportedForHierarchicalNamespaceAccounts":
		return refused("the account or the emulator lacks a feature that the settings ask for, such as a customer's encryption key")
	case code == bloberror.BlobImmutableDueToPolicy:
		return refused("an immutability policy or a legal hold keeps it")
	case answer.StatusCode == http.StatusBadRequest, answer.StatusCode == http.StatusMethodNotAllowed, answer.StatusCode == http.StatusRequestEntityTooLarge,
		answer.StatusCode == http.StatusNotImplemented, code == bloberror.BlobUsesCustomerSpecifiedEncryption:
		return refused("look at the encryption key, the encryption scope and the access tier in the settings, and whether the endpoint is an Azure account's blob service")
	case answer.StatusCode >= 300 && answer.StatusCode < 400 && answer.StatusCode != http.StatusNotModified:
		return refused("the endpoint is not the service itself; correct it")
	default:
		return errors.New(says)
	}
}

// hasCode reports whether err is the service's answer with one of these codes.
func hasCode(err error, codes ...bloberror.Code) bool { return bloberror.HasCode(err, codes...) }

// clean makes a text fit for a log: one line, not long, without what must stay secret.
func (b *Bucket) clean(text string) string {
	const limit = 600
	for _, secret := range b.secrets {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

// withoutURL takes the URL out of an error of net/http: it may hold a signature, which is as good as a credential.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
