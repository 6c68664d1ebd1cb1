package gcs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

// maxTTL is the service's bound for a signed URL.
const maxTTL = 7 * 24 * time.Hour

// iamEndpoint signs for accounts whose keys are with Google.
const iamEndpoint = "https://iamcredentials.googleapis.com"

// Presign implements [bucket.Bucket], by a V4 signature: with the key of a service account, or by IAM (which takes a
// request) where the account's key is with Google.
func (b *Bucket) Presign(ctx context.Context, name string, ttl time.Duration) (string, error) {
	text, err := b.presign(ctx, name, ttl, time.Now().UTC())
	if err != nil {
		return "", b.explain("sign a URL of", name, err)
	}
	return text, nil
}

func (b *Bucket) presign(ctx context.Context, name string, ttl time.Duration, now time.Time) (string, error) {
	seconds := int64(ttl / time.Second)
	switch {
	case b.creds == nil:
		return "", fmt.Errorf("%w: without credentials no URL can be signed", bucket.ErrRefused)
	case b.csek != nil:
		return "", fmt.Errorf("%w: with a customer's encryption key, whoever reads needs the key, so a URL is not enough; use a key in Cloud KMS instead", bucket.ErrRefused)
	case seconds < 1 || ttl > maxTTL:
		return "", fmt.Errorf("a URL can be valid for 1 s to %v, not for %v", maxTTL, ttl)
	}
	email, err := b.creds.email(ctx)
	if err != nil {
		return "", err
	}
	date := now.Format("20060102")
	scope := date + "/auto/storage/goog4_request"
	host := strings.TrimPrefix(b.endpoint, "https://")
	query := url.Values{
		"X-Goog-Algorithm":     {"GOOG4-RSA-SHA256"},
		"X-Goog-Credential":    {email + "/" + scope},
		"X-Goog-Date":          {now.Format("20060102T150405Z")},
		"X-Goog-Expires":       {strconv.FormatInt(seconds, 10)},
		"X-Goog-SignedHeaders": {"host"},
	}.Encode()
	canonical := sha256.Sum256([]byte(strings.Join([]string{http.MethodGet, b.path(name), query, "host:" + host, "", "host", "UNSIGNED-PAYLOAD"}, "\n")))
	toSign := strings.Join([]string{"GOOG4-RSA-SHA256", now.Format("20060102T150405Z"), scope, hex.EncodeToString(canonical[:])}, "\n")
	signature, err := b.creds.sign(ctx, email, []byte(toSign))
	if err != nil {
		return "", err
	}
	return b.endpoint + b.path(name) + "?" + query + "&X-Goog-Signature=" + hex.EncodeToString(signature), nil
}

// email names the service account that signs.
func (c *credentials) email(ctx context.Context) (string, error) {
	switch {
	case c.file.PrivateKey != "" && c.file.ClientEmail != "":
		return c.file.ClientEmail, nil
	case c.file.ImpersonationURL != "": // https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/EMAIL:generateAccessToken
		_, account, _ := strings.Cut(c.file.ImpersonationURL, "/serviceAccounts/")
		if email, ok := strings.CutSuffix(account, ":generateAccessToken"); ok && strings.Contains(email, "@") {
			return email, nil
		}
		return "", fmt.Errorf("%w: the credentials name no service account in service_account_impersonation_url", bucket.ErrRefused)
	case c.file.Type == "":
		email, err := metadata.EmailWithContext(ctx, "default")
		if err != nil {
			return "", fmt.Errorf("ask the metadata server which service account this is: %w", withoutURL(err))
		}
		return email, nil
	default:
		return "", fmt.Errorf("%w: credentials of the type %q cannot sign URLs: use those of a service account", bucket.ErrRefused, c.file.Type)
	}
}

func (c *credentials) sign(ctx context.Context, email string, text []byte) ([]byte, error) {
	if c.file.PrivateKey == "" {
		return c.signByIAM(ctx, email, text)
	}
	block, _ := pem.Decode([]byte(c.file.PrivateKey))
	if block == nil {
		return nil, fmt.Errorf("%w: the private key of the credentials is no PEM", bucket.ErrRefused)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, fmt.Errorf("%w: the private key of the credentials is no RSA key", bucket.ErrRefused)
	}
	digest := sha256.Sum256(text)
	return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
}

// signByIAM has Google sign: https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signBlob.
func (c *credentials) signByIAM(ctx context.Context, email string, text []byte) ([]byte, error) {
	token, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	request, err := json.Marshal(map[string]string{"payload": base64.StdEncoding.EncodeToString(text)})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.iam+"/v1/projects/-/serviceAccounts/"+url.PathEscape(email)+":signBlob", bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("have IAM sign: %w", withoutURL(err))
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusForbidden, http.StatusNotFound, http.StatusUnauthorized:
		_, _ = io.CopyN(io.Discard, resp.Body, maxFailure) // for the sake of the connection
		return nil, fmt.Errorf("%w: IAM does not sign for %s (%d): enable the IAM Service Account Credentials API and give the account "+
			"roles/iam.serviceAccountTokenCreator on itself", bucket.ErrRefused, email, resp.StatusCode)
	default:
		return nil, fmt.Errorf("have IAM sign: it answers %d", resp.StatusCode)
	}
	var answer struct {
		SignedBlob []byte `json:"signedBlob"`
	}
	if err := decode(resp.Body, maxFailure, &answer); err != nil {
		return nil, err
	}
	if len(answer.SignedBlob) == 0 {
		return nil, errors.New("have IAM sign: its answer holds no signature")
	}
	return answer.SignedBlob, nil
}
