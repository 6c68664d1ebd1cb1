package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // S3 asks for the MD5 of a customer's key, to find a mangled one
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	dialTimeout = 10 * time.Second
	// idleConnections are kept open: as many as requests may well be under way at once.
	idleConnections = 128
	// attempts is how often a request is sent in all.
	attempts = 3
	// defaultMaxBackoff bounds the pause between two attempts.
	defaultMaxBackoff = 5 * time.Second
	// firstPause is waited before a conditional write is sent again; each further one doubles it.
	firstPause = 100 * time.Millisecond
)

// newHTTPClient returns a client without a limit on whole requests, which take as long as their caller waits. It is of a kind to which the SDK can
// add the authorities of AWS_CA_BUNDLE.
//
// It speaks HTTP/1.1: with one connection for each request, one that hangs or is slow holds up no other.
func newHTTPClient(roots *x509.CertPool) *awshttp.BuildableClient {
	return awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout, d.KeepAlive = dialTimeout, 15*time.Second }).
		WithTransportOptions(func(t *http.Transport) {
			t.Proxy = http.ProxyFromEnvironment
			t.TLSHandshakeTimeout = 10 * time.Second
			t.ExpectContinueTimeout = time.Second
			t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, idleConnections
			t.MaxConnsPerHost = 0
			t.IdleConnTimeout = 90 * time.Second
			t.ReadBufferSize, t.WriteBufferSize = 32<<10, 32<<10
			t.DisableCompression = true // a body comes as it was stored, or not at all
			t.ForceAttemptHTTP2 = false
			t.Protocols = new(http.Protocols)
			t.Protocols.SetHTTP1(true)
			if t.TLSClientConfig == nil {
				t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
			}
			if roots != nil {
				t.TLSClientConfig.RootCAs = roots.Clone()
			}
		})
}

// freeze takes the transport out of the client that came back from the SDK, so that its idle connections can be closed.
func freeze(client aws.HTTPClient) (*http.Client, *http.Transport, error) {
	buildable, ok := client.(*awshttp.BuildableClient)
	if !ok {
		return nil, nil, fmt.Errorf("the AWS SDK replaced the HTTP client by a %T", client)
	}
	transport := buildable.GetTransport()
	return &http.Client{
		Transport: transport,
		// A redirect would take objects elsewhere; the SDK makes an error of it.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, transport, nil
}

// newRetryer returns the rule by which a request is sent again. A careful one does so only if the request certainly had no effect.
func newRetryer(careful bool, maxBackoff time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = attempts, maxBackoff
		list := []retry.IsErrorRetryable{retry.IsErrorRetryableFunc(unlessHopeless)}
		if careful {
			o.Retryables = append(list, retry.NoRetryCanceledError{}, retry.RetryableError{},
				retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}, retry.RetryableErrorCode{Codes: retry.DefaultRetryableErrorCodes})
		} else {
			o.Retryables = append(list, o.Retryables...)
		}
	})
}

// pause waits before try n, with a part of chance: those who collide once do not collide again.
func pause(ctx context.Context, n int) error {
	wait := firstPause << (n - 1)
	timer := time.NewTimer(wait/2 + rand.N(wait))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// customerKey is an SSE-C key as headers want it. All nil: there is none.
type customerKey struct {
	algorithm, key, sum *string
}

func newCustomerKey(key []byte) customerKey {
	if len(key) == 0 {
		return customerKey{}
	}
	sum := md5.Sum(key) //nolint:gosec // see the import
	return customerKey{
		algorithm: aws.String("AES256"),
		key:       aws.String(base64.StdEncoding.EncodeToString(key)),
		sum:       aws.String(base64.StdEncoding.EncodeToString(sum[:])),
	}
}

// remembering keeps the credentials that were used last, to take them out of what a service sends back.
type remembering struct {
	inner aws.CredentialsProvider
	last  atomic.Pointer[aws.Credentials]
}

// Retrieve implements [aws.CredentialsProvider].
func (r *remembering) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := r.inner.Retrieve(ctx)
	if err == nil {
		r.last.Store(&credentials)
	}
	return credentials, err
}

// secrets are what no log may hold.
func (r *remembering) secrets() []string {
	if last := r.last.Load(); last != nil {
		return []string{last.SecretAccessKey, last.SessionToken}
	}
	return nil
}
