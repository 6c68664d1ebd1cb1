package emulator

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// The credentials of every S3 server here. They are no secret: the servers listen on 127.0.0.1 and hold what tests put there.
const (
	accessKey = "emulatorkey"
	secretKey = "emulatorsecret"
	region    = "us-east-1"
)

// S3 is a server that speaks S3.
type S3 struct {
	*Server
	// Endpoint is its URL, without a slash at its end.
	Endpoint string
	// Key and Secret are its credentials, Region is the one that requests are signed for.
	Key, Secret, Region string
	// CA is the certificate authority of a server with [TLS]; CAFile holds it as PEM.
	CA     *x509.CertPool
	CAFile string
}

// Option changes how a server is started.
type Option func(*options)

type options struct {
	dir string
	tls bool
}

// Over makes the server keep its data in dir. Two gateways over one directory are two ways to the same objects.
func Over(dir string) Option { return func(o *options) { o.dir = dir } }

// TLS makes the server speak TLS, with a certificate of an authority that nobody knows.
func TLS() Option { return func(o *options) { o.tls = true } }

func optionsOf(tb testing.TB, list []Option) options {
	tb.Helper()
	var o options
	for _, option := range list {
		option(&o)
	}
	if o.dir == "" {
		o.dir = tb.TempDir()
	}
	o.dir = absolute(tb, o.dir)
	return o
}

// Versity starts a versitygw over a directory, which has to be on a file system with extended attributes.
func Versity(tb testing.TB, list ...Option) S3 {
	tb.Helper()
	o := optionsOf(tb, list)
	binary := build(tb, "versitygw", "github.com/versity/versitygw/cmd/versitygw", "github.com/versity/versitygw")
	home := tb.TempDir()
	pki := certificates(tb, o.tls)
	return startS3(tb, "versitygw", o, pki, "/", func(host, port string) *exec.Cmd {
		args := []string{"--port", host + ":" + port, "-a", accessKey, "-s", secretKey, "--quiet", "--keep-alive"}
		if o.tls {
			args = append(args, "--cert", pki.certFile, "--key", pki.keyFile)
		}
		cmd := exec.Command(binary, append(args, "posix", o.dir)...)
		cmd.Dir, cmd.Env = home, environment(home)
		return cmd
	})
}

// MinIO starts a MinIO over a directory.
func MinIO(tb testing.TB, list ...Option) S3 {
	tb.Helper()
	o := optionsOf(tb, list)
	binary := build(tb, "minio", "github.com/minio/minio", "github.com/minio/minio")
	home := tb.TempDir()
	pki := certificates(tb, o.tls)
	return startS3(tb, "minio", o, pki, "/minio/health/ready", func(host, port string) *exec.Cmd {
		args := []string{"server", "--address", host + ":" + port}
		if o.tls {
			args = append(args, "--certs-dir", filepath.Dir(pki.certFile))
		}
		cmd := exec.Command(binary, append(args, o.dir)...)
		cmd.Dir, cmd.Env = home, environment(home, "MINIO_ROOT_USER="+accessKey, "MINIO_ROOT_PASSWORD="+secretKey, "MINIO_BROWSER=off", "MINIO_UPDATE=off")
		return cmd
	})
}

func startS3(tb testing.TB, name string, o options, pki pki, health string, command func(host, port string) *exec.Cmd) S3 {
	tb.Helper()
	scheme := "http://"
	if o.tls {
		scheme = "https://"
	}
	s := &Server{
		Dir:     o.dir,
		name:    name,
		command: command,
		health:  func(addr string) string { return scheme + addr + health },
		client:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pki.pool}, DisableKeepAlives: true}},
	}
	s.start(tb)
	return S3{Server: s, Endpoint: scheme + s.Addr, Key: accessKey, Secret: secretKey, Region: region, CA: pki.pool, CAFile: pki.caFile}
}

// NewBucket makes a bucket of the test's own and returns its name.
func (s S3) NewBucket(tb testing.TB) string {
	tb.Helper()
	name := uniqueName()
	client := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint,
		Region:       s.Region,
		UsePathStyle: true,
		HTTPClient:   s.client,
		Credentials:  credentials.NewStaticCredentialsProvider(s.Key, s.Secret, ""),
	})
	if _, err := client.CreateBucket(tb.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		tb.Fatalf("%s: make the bucket %s: %v", s.name, name, err)
	}
	return name
}

// Setenv sets the variables in which every S3 client looks for credentials, and keeps it from looking anywhere else, until the test ends.
func (s S3) Setenv(tb testing.TB) {
	tb.Helper()
	for _, pair := range s.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		tb.Setenv(name, value)
	}
}

// Environ is the same for a child process.
func (s S3) Environ() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s.Key, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_SESSION_TOKEN=",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/nonexistent", "AWS_SHARED_CREDENTIALS_FILE=/nonexistent", "AWS_PROFILE=",
	}
}
