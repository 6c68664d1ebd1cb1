package s3

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// answer is what a service said that is no success.
type answer struct {
	status int
	// code is the service's word, such as "NoSuchKey". Where there is no room for one (HEAD), it is the SDK's guess.
	code, message, request string
}

func (a *answer) Error() string {
	text := fmt.Sprintf("S3 answers %d", a.status)
	if a.code != "" {
		text += " " + a.code
	}
	if a.message != "" && a.message != a.code {
		text += ": " + a.message
	}
	if a.request != "" {
		text += " (request " + a.request + ")"
	}
	return text
}

// answerOf returns what the service said, or nil if it said nothing: then the line or the body is at fault.
func (b *Bucket) answerOf(err error) *answer {
	response, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || response.ResponseError == nil || response.HTTPStatusCode() == 0 {
		return nil
	}
	a := &answer{status: response.HTTPStatusCode(), request: b.clean(response.RequestID)}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok && a.status/100 == 2 {
		return nil // a success that broke off
	}
	if ok {
		a.code, a.message = b.clean(api.ErrorCode()), b.clean(api.ErrorMessage())
	}
	return a
}

// clean makes a text of the service fit for a log, and takes out what must stay secret: a service may send back what it was sent.
func (b *Bucket) clean(text string) string {
	for _, secret := range append(b.creds.secrets(), aws.ToString(b.customer.key)) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return clean(text)
}

// maxText bounds what is quoted of others, in bytes.
const maxText = 400

// clean makes a text of others one line that is not long.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\uFFFD' }), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// action is what a request needs in an IAM policy.
type action string

const (
	getObject    action = "s3:GetObject"
	putObject    action = "s3:PutObject"
	deleteObject action = "s3:DeleteObject"
	listBucket   action = "s3:ListBucket"
)

// trouble says what could not be done, and where it is known, what to do about it.
func (b *Bucket) trouble(what string, needs action, err error) error {
	what = "s3: " + what
	a := b.answerOf(err)
	switch {
	case a != nil:
	case distrusted(err):
		return fmt.Errorf("%s: %w: set ?ca_file= or AWS_CA_BUNDLE to the authority that made the service's certificate", what, plainCause(err))
	default:
		return fmt.Errorf("%s: %w", what, plainCause(err))
	}
	if hint := b.hint(a, needs); hint != "" {
		return fmt.Errorf("%s: %w: %w: %s", what, bucket.ErrRefused, a, hint)
	}
	return fmt.Errorf("%s: %w", what, a)
}

// plainCause leaves out what the SDK and net/http wrap around an error of the line, save for what it is.
func plainCause(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	if c, ok := errors.AsType[*smithy.CanceledError](err); ok {
		return c.Err
	}
	return err
}

// hint says what to do about an answer that trying again does not change. Empty: it may be another one next time.
func (b *Bucket) hint(a *answer, needs action) string {
	switch a.code {
	case "InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException":
		return "the service does not know the access key: look at AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN, or at the profile or role in use, and whether they are of this service"
	case "SignatureDoesNotMatch":
		return "the secret key does not fit the access key: look at AWS_SECRET_ACCESS_KEY; else a proxy on the way changes requests"
	case "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired":
		return "the credentials have expired: renew them, or give the machine, container or service account a role"
	case "RequestTimeTooSkewed":
		return "the clock of this machine is wrong: set it"
	case "NoSuchBucket":
		return "there is no bucket " + b.opts.Bucket + ": create it, or correct its name, region or endpoint"
	case "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException":
		return "the bucket " + b.opts.Bucket + " is in another region: set ?region= to that one"
	case "InvalidObjectState":
		return "the object is archived and must be restored before it can be read: keep the bucket's lifecycle rules from archiving entries, or delete it"
	case "InvalidStorageClass":
		return "the service does not know the storage class " + b.opts.StorageClass
	case "NotImplemented", "MethodNotAllowed":
		return "the service lacks what this needs; if it refuses the checksums of the SDK, set ?checksums=off"
	case "InvalidRequest", "InvalidArgument", "InvalidDigest", "XAmzContentSHA256Mismatch", "MissingContentLength":
		return "the service does not take the request: look at the parameters of the store; if it refuses the checksums of the SDK, set ?checksums=off"
	}
	switch {
	case strings.HasPrefix(a.code, "KMS."):
		return "look at the key in KMS, " + b.opts.KMSKey + ", and whether it is enabled and in the bucket's region"
	case a.status == http.StatusForbidden:
		return b.permission(needs)
	case a.status == http.StatusMovedPermanently:
		return "the bucket " + b.opts.Bucket + " is in another region: set ?region= to that one"
	case a.status == http.StatusNotImplemented, a.status == http.StatusMethodNotAllowed:
		return "the service lacks what this needs"
	case a.status == http.StatusBadRequest && a.code == "BadRequest" && (a.message == "" || a.message == "Bad Request"):
		return "there is no reason given; it may be the region, expired credentials, or another customer's key than the one that the object was written with"
	}
	return ""
}

func (b *Bucket) permission(needs action) string {
	where := "arn:aws:s3:::" + b.opts.Bucket
	if needs != listBucket {
		where += "/" + b.prefix + "*"
	}
	text := fmt.Sprintf("the credentials need the permission %s on %s", needs, where)
	if needs == getObject {
		text += fmt.Sprintf("; or there is no such object, which S3 tells only those who have %s on arn:aws:s3:::%s", listBucket, b.opts.Bucket)
	}
	if b.opts.SSE == SSEKMS || b.opts.SSE == SSEKMSDSSE {
		text += "; or they may not use the key in KMS, which takes kms:GenerateDataKey and kms:Decrypt"
	}
	return text
}

// missing reports whether the answer is that there is no such object.
func (a *answer) missing() bool {
	return a != nil && a.status == http.StatusNotFound && a.code != "NoSuchBucket" && a.code != "NoSuchUpload"
}

// changed reports whether a condition on the object does not hold.
func (a *answer) changed() bool {
	return a != nil && (a.status == http.StatusPreconditionFailed || a.code == "PreconditionFailed")
}

// conflict reports whether another write or deletion of the object is under way. Services have several words for it: versitygw says
// ExistingObjectIsDirectory while a deletion clears directories away.
func (a *answer) conflict() bool { return a != nil && a.status == http.StatusConflict }

// unknown reports whether a request with the answer a, or with none, may have had an effect.
func (b *Bucket) unknown(a *answer, err error) bool {
	if _, ours := errors.AsType[*sourceError](err); ours || distrusted(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return a == nil || a.status >= http.StatusInternalServerError && a.status != http.StatusNotImplemented
}

// sourceError is one of the body that is to be written: no matter of the service's, and trying again at once does not help.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read what is to be stored: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// distrusted reports whether the service showed a certificate that nobody here vouches for. Nothing was sent then.
func distrusted(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// unlessHopeless keeps a request from being sent again for nothing.
func unlessHopeless(err error) aws.Ternary {
	if _, ours := errors.AsType[*sourceError](err); ours || distrusted(err) {
		return aws.FalseTernary
	}
	return aws.UnknownTernary
}
