package gcs

import (
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// failure is an answer of the service that is no success.
type failure struct {
	status int
	// reason is a word of the service's: "notFound" (JSON), "NoSuchKey" (XML). It may be empty.
	reason string
	// message is for people.
	message string
}

func (f *failure) Error() string {
	text := fmt.Sprintf("Google Cloud Storage answers %d", f.status)
	if f.reason != "" {
		text += " " + f.reason
	}
	if f.message != "" {
		text += ": " + f.message
	}
	return text
}

// maxFailure bounds what is read of an answer that is no success.
const maxFailure = 16 << 10

func (b *Bucket) readFailure(resp *http.Response) *failure {
	f := &failure{status: resp.StatusCode}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxFailure))
	if err != nil {
		return f // the status says enough
	}
	var inJSON struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	var inXML struct {
		Code    string `xml:"Code"`
		Message string `xml:"Message"`
		Details string `xml:"Details"`
	}
	switch {
	case json.Unmarshal(text, &inJSON) == nil:
		f.message = inJSON.Error.Message
		if len(inJSON.Error.Errors) > 0 {
			f.reason = inJSON.Error.Errors[0].Reason
		}
	case xml.Unmarshal(text, &inXML) == nil:
		f.reason, f.message = inXML.Code, inXML.Message
		if f.status == http.StatusForbidden && inXML.Details != "" {
			f.message = inXML.Details // names who lacks which permission
		}
	}
	session := resp.Request.URL.Query().Get("upload_id")
	f.reason, f.message = b.clean(f.reason, session), b.clean(f.message, session)
	return f
}

// clean makes a text of the service fit for a log: one line, not long, without what must stay secret.
func (b *Bucket) clean(text string, more ...string) string {
	for _, secret := range append(more, b.secrets...) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	if b.creds != nil {
		b.creds.mu.Lock()
		if token := b.creds.token; token != nil {
			text = strings.ReplaceAll(text, token.AccessToken, "[secret]")
		}
		b.creds.mu.Unlock()
	}
	return oneLine(text)
}

func oneLine(text string) string {
	const limit = 300
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

// withoutURL takes the URL out of an error of net/http: it may hold the id of a session, which is as good as a credential.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// lineError says that a request got no answer: the way to the service broke, or there was no token to be had.
type lineError struct {
	err error
	// sent says that the service may have got the request.
	sent bool
}

func (e *lineError) Error() string { return e.err.Error() }
func (e *lineError) Unwrap() error { return e.err }

// again reports whether a call that failed with err may succeed at another attempt. A careful one is not made again if it may have been done.
func again(err error, careful bool) bool {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.passing()
	}
	if _, certificate := errors.AsType[*tls.CertificateVerificationError](err); certificate {
		return false
	}
	line, ok := errors.AsType[*lineError](err)
	return ok && (!line.sent || !careful) && !errors.Is(err, bucket.ErrRefused)
}

// passing says that the service asks to try again.
func (f *failure) passing() bool {
	switch f.status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusForbidden:
		return f.overQuota()
	default:
		return false
	}
}

func (f *failure) overQuota() bool {
	switch f.reason {
	case "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded":
		return true
	default:
		return false
	}
}

// noBucket says that what is missing is the bucket.
func (f *failure) noBucket() bool {
	return f.status == http.StatusNotFound && (f.reason == "NoSuchBucket" || f.message == "The specified bucket does not exist.")
}

// explain says what went wrong where, and what to do about it. doing is such as "read"; name is relative to the prefix.
func (b *Bucket) explain(doing, name string, err error) error {
	what := fmt.Sprintf("%s %q in gs://%s", doing, b.prefix+name, b.opts.Bucket)
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	refused := func(todo string) error { return fmt.Errorf("%s: %w: %w: %s", what, bucket.ErrRefused, f, todo) }
	switch {
	case f.noBucket():
		return refused("make the bucket, or correct its name")
	case f.status == http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, bucket.ErrNotExist)
	case f.status == http.StatusUnauthorized:
		return refused("the credentials are not accepted; " + howToAuthenticate)
	case f.status == http.StatusForbidden && !f.overQuota():
		return refused("give the account roles/storage.objectUser on the bucket (storage.objects.create, get, list and delete); " +
			"for a key in Cloud KMS, the bucket's service agent needs roles/cloudkms.cryptoKeyEncrypterDecrypter; VPC Service Controls refuse in this way, too")
	case f.status == http.StatusBadRequest, f.status == http.StatusMethodNotAllowed, f.status == http.StatusLengthRequired,
		f.status == http.StatusRequestEntityTooLarge, f.status == http.StatusNotImplemented:
		return refused("look at the encryption key and the storage class in the settings, and whether the endpoint is Google Cloud Storage")
	case f.status >= 300 && f.status < 400:
		return refused("the endpoint is not the service itself; correct it")
	default:
		return fmt.Errorf("%s: %w", what, f)
	}
}
