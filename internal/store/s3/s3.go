package s3

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"github.com/bezoar-cache/bezoar/internal/store/bucket"
)

var _ bucket.Bucket = (*Bucket)(nil)

// Options of a [Bucket]. Credentials are none of them: they are found as every tool for AWS finds them, in the environment, in the shared files (also by SSO, a
// process or a web identity) or from the container or machine.
type Options struct {
	// Bucket is the bucket's name, or the alias of an access point; it must exist.
	Bucket string
	// Prefix comes before the name of each object, with a "/" between. Empty: none.
	Prefix string
	// Region is where the bucket is. Empty: that of the environment or the profile; with an Endpoint us-east-1, which most other services ignore.
	Region string
	// Endpoint is the URL of the service, in place of Amazon's. Empty: that of AWS_ENDPOINT_URL_S3 or the profile, if there is one. Over
	// plain http anybody on the way can read objects; the credentials are not sent, only signatures.
	Endpoint string
	// PathStyle puts the bucket into the path of a request, not into the host's name, as most services but Amazon's need it.
	PathStyle bool
	// Profile names a profile of the shared configuration files. Empty: that of AWS_PROFILE, else "default".
	Profile string

	// SSE is how the service encrypts objects: one of the constants. Empty: as the bucket is set.
	SSE string
	// KMSKey is the id or ARN of the key for SSEKMS and SSEKMSDSSE. Empty: the account's key for S3.
	KMSKey string
	// BucketKey asks for an S3 Bucket Key, which saves requests to KMS. Only with SSEKMS.
	BucketKey bool
	// CustomerKey encrypts objects with a key of 32 bytes that the service does not keep (SSE-C): who loses it loses the objects. It is sent with each
	// request, so only over TLS. Not with SSE.
	CustomerKey []byte
	// StorageClass is that of new objects, such as "STANDARD_IA". Empty: the service's default.
	StorageClass string

	// RootCAs are the authorities that vouch for the service and for those who give out credentials; those of AWS_CA_BUNDLE come on top. Nil: those
	// of AWS_CA_BUNDLE if it is set, else those of the system.
	RootCAs *x509.CertPool
	// Checksums is empty for a trailing CRC-32 over TLS, or [ChecksumsOff].
	Checksums string
	// MultipartFrom is the size in bytes above which a body is sent in parts, at most 5 GiB. Zero: [DefaultMultipartFrom]. Both this and PartSize
	// are at most 16 MiB where checksums go to another service than Amazon's.
	MultipartFrom int64
	// PartSize is the size of a part in bytes, 5 MiB to 5 GiB. Bodies of more than 10,000 parts get larger ones. Zero: [DefaultPartSize].
	PartSize int64

	// Logger gets warnings; and at the level debug, what the SDK says. Nil: nobody.
	Logger *slog.Logger

	// maxBackoff bounds the pause of the SDK between two attempts. Zero: [defaultMaxBackoff].
	maxBackoff time.Duration
}

// Values of Options.
const (
	SSES3      = "AES256"
	SSEKMS     = "aws:kms"
	SSEKMSDSSE = "aws:kms:dsse"

	// ChecksumsOff sends no checksums, for services that refuse them.
	ChecksumsOff = "off"

	DefaultMultipartFrom = 64 << 20
	DefaultPartSize      = 16 << 20
)

// Limits of S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html.
const (
	minPart   = 5 << 20
	maxPart   = 5 << 30
	maxParts  = 10_000
	maxExpiry = 7 * 24 * time.Hour
)

// maxChunk is the most that is sent in one piece with a trailing checksum to another service than Amazon's: the SDK makes one chunk of it, and MinIO
// answers 400 "chunk too big: choose chunk size <= 16MiB".
const maxChunk = 16 << 20

// Bucket is a [bucket.Bucket].
type Bucket struct {
	opts      Options
	prefix    string // empty, or with "/" at its end
	client    *awss3.Client
	signer    *awss3.PresignClient
	transport *http.Transport
	customer  customerKey
	creds     *remembering
	log       *slog.Logger
	// careful makes requests that may take effect only once be sent again only if they certainly had none.
	careful aws.Retryer
	// pause waits before try n, counted from 1; tests do not wait.
	pause func(ctx context.Context, n int) error
}

// Open finds credentials and returns the bucket, which it does not ask for anything. The caller closes it. Without credentials it is [bucket.ErrRefused].
func Open(ctx context.Context, options Options) (*Bucket, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	b := &Bucket{opts: options, customer: newCustomerKey(options.CustomerKey), log: options.Logger, pause: pause}
	if b.prefix = strings.Trim(options.Prefix, "/"); b.prefix != "" {
		b.prefix += "/"
	}
	if b.opts.MultipartFrom == 0 {
		b.opts.MultipartFrom = DefaultMultipartFrom
	}
	if b.opts.PartSize == 0 {
		b.opts.PartSize = DefaultPartSize
	}
	if b.opts.maxBackoff == 0 {
		b.opts.maxBackoff = defaultMaxBackoff
	}
	b.careful = newRetryer(true, b.opts.maxBackoff)
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// connect makes the client.
func (b *Bucket) connect(ctx context.Context) error {
	log := logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
		b.log.Debug("the AWS SDK says", "text", clean(fmt.Sprintf(format, v...)))
	})
	load := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newHTTPClient(b.opts.RootCAs)),
		config.WithLogger(log),
		config.WithAppID("bezoar"),
	}
	if b.opts.Region != "" {
		load = append(load, config.WithRegion(b.opts.Region))
	}
	if b.opts.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(b.opts.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return fmt.Errorf("%s: the settings for AWS cannot be read (environment AWS_*, ~/.aws): %w", b.URL(), err)
	}
	b.creds = &remembering{inner: cfg.Credentials}
	cfg.Credentials = b.creds
	client, transport, err := freeze(cfg.HTTPClient)
	if err != nil {
		return err
	}
	b.transport = transport
	var settings awss3.Options
	b.client = awss3.NewFromConfig(cfg, func(o *awss3.Options) {
		b.adjust(o)
		o.HTTPClient = client
		settings = *o
	})
	b.signer = awss3.NewPresignClient(b.client)
	if err := b.checkSettings(settings); err != nil {
		return err
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: find credentials: %w", b.URL(), ctx.Err())
		}
		return fmt.Errorf("%s: %w: no usable credentials for AWS were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or give the machine, container or "+
			"service account a role: %s", b.URL(), bucket.ErrRefused, clean(err.Error()))
	}
	return nil
}

// adjust says how requests are made. It runs when what the environment says is known.
func (b *Bucket) adjust(o *awss3.Options) {
	if b.opts.Endpoint != "" {
		o.BaseEndpoint = aws.String(strings.TrimSuffix(b.opts.Endpoint, "/"))
	}
	if o.Region == "" && o.BaseEndpoint != nil {
		o.Region = "us-east-1"
	}
	o.UsePathStyle = b.opts.PathStyle
	o.Retryer = newRetryer(false, b.opts.maxBackoff)
	o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
	o.DisableLogOutputChecksumValidationSkipped = true
	if plain(o) || b.opts.Checksums == ChecksumsOff {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	if o.BaseEndpoint != nil && o.RequestChecksumCalculation != aws.RequestChecksumCalculationWhenRequired {
		b.opts.MultipartFrom, b.opts.PartSize = min(b.opts.MultipartFrom, maxChunk), min(b.opts.PartSize, maxChunk)
	}
}

// plain reports whether requests are made without TLS.
func plain(o *awss3.Options) bool {
	return o.BaseEndpoint != nil && strings.HasPrefix(strings.ToLower(*o.BaseEndpoint), "http://")
}

func (b *Bucket) checkSettings(o awss3.Options) error {
	if o.Region == "" {
		return fmt.Errorf("%s: the region is not known: add ?region=eu-central-1 or set AWS_REGION", b.URL())
	}
	if o.BaseEndpoint != nil {
		u, err := url.Parse(*o.BaseEndpoint)
		switch {
		case err != nil:
			return fmt.Errorf("%s: the endpoint is no URL", b.URL()) // the error would show what is in it
		case u.User != nil:
			return fmt.Errorf("%s: the endpoint has a user in it: credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", b.URL())
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
			return fmt.Errorf("%s: the endpoint must be https://HOST or http://HOST", b.URL())
		}
	}
	switch {
	case !plain(&o):
	case isLoopback(*o.BaseEndpoint) && b.customer.key == nil:
	case b.customer.key != nil:
		return fmt.Errorf("%s: the customer's key would cross the network readable for all: use https, not %s", b.URL(), *o.BaseEndpoint)
	default:
		b.log.Warn("objects cross the network unencrypted: use https where that is not this machine or a network of yours", "bucket", b.URL(), "endpoint", *o.BaseEndpoint)
	}
	return nil
}

func (o *Options) check() error {
	prefix := strings.Trim(o.Prefix, "/")
	kms := o.SSE == SSEKMS || o.SSE == SSEKMSDSSE
	switch {
	case o.Bucket == "" || strings.ContainsAny(o.Bucket, "/?#% "):
		return fmt.Errorf("%q is no name of a bucket", o.Bucket)
	case strings.Contains(prefix, "//"):
		return fmt.Errorf("the prefix %q has an empty part: write one \"/\" between parts", o.Prefix)
	case o.SSE != "" && o.SSE != SSES3 && !kms:
		return fmt.Errorf("the encryption %q is not known: %s, %s or %s", o.SSE, SSES3, SSEKMS, SSEKMSDSSE)
	case o.KMSKey != "" && !kms:
		return fmt.Errorf("there is a key in KMS, which needs the encryption %s or %s", SSEKMS, SSEKMSDSSE)
	case o.BucketKey && o.SSE != SSEKMS:
		return fmt.Errorf("a bucket key needs the encryption %s", SSEKMS)
	case len(o.CustomerKey) != 0 && len(o.CustomerKey) != 32:
		return fmt.Errorf("the customer's encryption key has %d bytes: it must have 32", len(o.CustomerKey))
	case len(o.CustomerKey) != 0 && o.SSE != "":
		return errors.New("there is a customer's encryption key and an encryption by the service: choose one")
	case o.Checksums != "" && o.Checksums != ChecksumsOff:
		return fmt.Errorf("the checksums %q are not known: leave them empty or say %q", o.Checksums, ChecksumsOff)
	case o.MultipartFrom < 0 || o.MultipartFrom > maxPart:
		return fmt.Errorf("bodies cannot be sent in one piece up to %d bytes: at most up to %d", o.MultipartFrom, int64(maxPart))
	case o.PartSize != 0 && (o.PartSize < minPart || o.PartSize > maxPart):
		return fmt.Errorf("parts cannot have %d bytes: %d to %d", o.PartSize, minPart, int64(maxPart))
	}
	return nil
}

// URL implements [bucket.Bucket].
func (b *Bucket) URL() string {
	return strings.TrimSuffix("s3://"+b.opts.Bucket+"/"+b.prefix, "/")
}

// Close implements [bucket.Bucket].
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

func (b *Bucket) key(name string) *string { return aws.String(b.prefix + name) }

func (b *Bucket) bucket() *string { return &b.opts.Bucket }

// optional is nil for an empty text.
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// isLoopback reports whether a URL that was checked names this machine.
func isLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
