package gcs

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// scopes of tokens. What a token may do is decided by the roles of its account; the wide scope is for signing URLs by IAM.
var scopes = []string{"https://www.googleapis.com/auth/devstorage.read_write", "https://www.googleapis.com/auth/cloud-platform"}

// tokenTimeout bounds one request for a token.
const tokenTimeout = 30 * time.Second

const howToAuthenticate = "set GOOGLE_APPLICATION_CREDENTIALS to a key file or a workload identity configuration, " +
	"or run where there is a metadata server (GCE, GKE, Cloud Run), or log in with gcloud auth application-default login"

// credentials are application default credentials.
type credentials struct {
	client *http.Client // to those who give out tokens and sign
	iam    string       // where IAM signs
	source oauth2.TokenSource
	file   keyFile // zero: from the metadata server

	mu     sync.Mutex
	token  *oauth2.Token
	flight *flight // a request for a token, or nil
}

// keyFile is what is read of a file of credentials.
type keyFile struct {
	Type             string `json:"type"`
	ClientEmail      string `json:"client_email"`
	PrivateKey       string `json:"private_key"`
	ImpersonationURL string `json:"service_account_impersonation_url"`
	QuotaProject     string `json:"quota_project_id"`
}

type flight struct {
	done  chan struct{} // closed when token and err are set
	token *oauth2.Token
	err   error
}

func findCredentials(ctx context.Context, roots *x509.CertPool) (*credentials, error) {
	const setting = "GOOGLE_APPLICATION_CREDENTIALS"
	if file := os.Getenv(setting); file != "" {
		if _, err := os.Stat(file); err != nil && strings.ContainsAny(file, "{\n") {
			// Somebody put the key itself there: it must not be told.
			return nil, fmt.Errorf("%w: %s must be the path of a file, but is no path", bucket.ErrRefused, setting)
		}
	}
	client := newClient(roots)
	client.Timeout = tokenTimeout
	// The source asks for tokens as long as the bucket is used, so not under ctx.
	found, err := google.FindDefaultCredentials(context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, client), scopes...)
	if err != nil {
		return nil, fmt.Errorf("%w: no credentials for Google Cloud Storage (%w): %s", bucket.ErrRefused, err, howToAuthenticate)
	}
	c := &credentials{client: client, iam: iamEndpoint, source: found.TokenSource}
	if len(found.JSON) > 0 {
		if err := json.Unmarshal(found.JSON, &c.file); err != nil {
			return nil, fmt.Errorf("%w: the file of credentials for Google Cloud Storage is no JSON object", bucket.ErrRefused)
		}
	}
	return c, nil
}

// get returns a token. One request for a token serves all who wait, each as long as its ctx; it ends within a
// few [tokenTimeout] even if nobody waits any more.
func (c *credentials) get(ctx context.Context) (string, error) {
	c.mu.Lock()
	if c.token.Valid() {
		defer c.mu.Unlock()
		return c.token.AccessToken, nil
	}
	f := c.flight
	if f == nil {
		f = &flight{done: make(chan struct{})}
		c.flight = f
		go c.fetch(f)
	}
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case <-f.done:
	}
	if f.err != nil {
		return "", tokenTrouble(f.err)
	}
	return f.token.AccessToken, nil
}

func (c *credentials) fetch(f *flight) {
	f.token, f.err = c.source.Token()
	c.mu.Lock()
	c.token, c.flight = f.token, nil
	c.mu.Unlock()
	close(f.done)
}

// tokenTrouble says why there is no token, without what was sent.
func tokenTrouble(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		text := refused.ErrorCode
		if refused.ErrorDescription != "" {
			text += ": " + refused.ErrorDescription
		}
		if refused.Response == nil {
			return fmt.Errorf("get a token for Google Cloud Storage: %s", oneLine(text))
		}
		status := refused.Response.StatusCode
		if text == "" {
			text = http.StatusText(status)
		}
		if status >= 400 && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
			return fmt.Errorf("%w: no token for Google Cloud Storage is given (%d, %s): the key may be deleted, expired or of a disabled account", bucket.ErrRefused, status, oneLine(text))
		}
		return fmt.Errorf("get a token for Google Cloud Storage: %d, %s", status, oneLine(text))
	}
	return fmt.Errorf("get a token for Google Cloud Storage: %w", withoutURL(err))
}
