package gcs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

var _ bucket.Bucket = (*Bucket)(nil)

// Options of a [Bucket].
type Options struct {
	// Bucket is the bucket's name; it must exist.
	Bucket string
	// Prefix comes before the name of each object, with a "/" between. Empty: none.
	Prefix string
	// Endpoint is the URL of the service, without a path, such as "https://storage.europe-west3.rep.googleapis.com". Empty: that of
	// STORAGE_EMULATOR_HOST, which says that there is an emulator, else [DefaultEndpoint]. Credentials are used with https alone;
	// plain http is taken for an emulator and must be on this machine, unless STORAGE_EMULATOR_HOST names it.
	Endpoint string
	// KMSKey encrypts objects with a key in Cloud KMS (projects/P/locations/L/keyRings/R/cryptoKeys/K). Empty: the bucket's default.
	KMSKey string
	// CustomerKey encrypts objects with a key of 32 bytes that the service does not keep: who loses it loses the objects. Not with KMSKey.
	CustomerKey []byte
	// StorageClass is that of new objects, such as "STANDARD". Empty: the bucket's default.
	StorageClass string
	// RootCAs are the authorities that vouch for the service and for those who give out tokens. Nil: those of the system.
	RootCAs *x509.CertPool
	// ResumableAt is the size in bytes above which a body is sent in a resumable session. Zero: [DefaultResumableAt].
	ResumableAt int64
}

// DefaultEndpoint is where the service is.
const DefaultEndpoint = "https://storage.googleapis.com"

// DefaultResumableAt is 16 MiB: below, sending anew costs less than the request that begins a session.
const DefaultResumableAt = 16 << 20

// Bucket is a [bucket.Bucket].
type Bucket struct {
	opts     Options
	endpoint string // without "/" at its end
	prefix   string // empty, or with "/" at its end
	client   *http.Client
	creds    *credentials  // nil: nobody asks for any
	csek     http.Header   // what tells the customer's key; nil if there is none
	secrets  []string      // what no error may hold
	delay    time.Duration // [firstDelay], less in tests
}

// Open finds credentials (the application default ones: GOOGLE_APPLICATION_CREDENTIALS, gcloud's, the metadata server's) and
// returns the bucket, which it does not ask for anything. The caller closes it. Without credentials it is [bucket.ErrRefused].
func Open(ctx context.Context, options Options) (*Bucket, error) {
	b := &Bucket{opts: options, delay: firstDelay, prefix: strings.Trim(options.Prefix, "/")}
	if b.opts.ResumableAt == 0 {
		b.opts.ResumableAt = DefaultResumableAt
	}
	switch {
	case options.Bucket == "" || strings.ContainsAny(options.Bucket, "/?#% "):
		return nil, fmt.Errorf("%q is no name of a bucket", options.Bucket)
	case strings.Contains(b.prefix, "//"):
		return nil, fmt.Errorf("the prefix %q has an empty part: write one \"/\" between parts", options.Prefix)
	case len(options.CustomerKey) != 0 && len(options.CustomerKey) != 32:
		return nil, fmt.Errorf("the customer's encryption key has %d bytes: it must have 32", len(options.CustomerKey))
	case len(options.CustomerKey) != 0 && options.KMSKey != "":
		return nil, errors.New("there is a customer's encryption key and one in Cloud KMS: choose one")
	}
	if b.prefix != "" {
		b.prefix += "/"
	}
	if len(options.CustomerKey) != 0 {
		key, sum := base64.StdEncoding.EncodeToString(options.CustomerKey), sha256.Sum256(options.CustomerKey)
		b.csek = http.Header{
			"X-Goog-Encryption-Algorithm":  {"AES256"},
			"X-Goog-Encryption-Key":        {key},
			"X-Goog-Encryption-Key-Sha256": {base64.StdEncoding.EncodeToString(sum[:])},
		}
		b.secrets = append(b.secrets, key)
	}
	secure, err := b.findEndpoint()
	if err != nil {
		return nil, err
	}
	b.client = newClient(options.RootCAs)
	if secure {
		if b.creds, err = findCredentials(ctx, options.RootCAs); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// findEndpoint reports whether the service is to be asked with credentials.
func (b *Bucket) findEndpoint() (secure bool, err error) {
	text, emulator := b.opts.Endpoint, os.Getenv("STORAGE_EMULATOR_HOST")
	if emulator != "" && !strings.Contains(emulator, "://") {
		emulator = "http://" + emulator
	}
	if text == "" {
		text = emulator
	}
	if text == "" {
		text = DefaultEndpoint
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false, errors.New(`the endpoint of Google Cloud Storage is no URL such as "https://storage.googleapis.com"`) // it may hold a password
	}
	b.endpoint = u.Scheme + "://" + u.Host
	if u.Scheme == "https" {
		return true, nil
	}
	if b.endpoint != strings.TrimRight(emulator, "/") && !loopback(u.Hostname()) {
		return false, fmt.Errorf("the endpoint %s is plain http and not on this machine: use https, or name an emulator in STORAGE_EMULATOR_HOST", b.endpoint)
	}
	return false, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URL implements [bucket.Bucket]: "gs://BUCKET/PREFIX".
func (b *Bucket) URL() string {
	return strings.TrimRight("gs://"+b.opts.Bucket+"/"+b.prefix, "/")
}

// Close implements [bucket.Bucket].
func (b *Bucket) Close() error {
	b.client.CloseIdleConnections()
	if b.creds != nil {
		b.creds.client.CloseIdleConnections()
	}
	return nil
}
