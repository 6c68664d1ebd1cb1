package tracing

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/net/http/httpguts"
)

// settings are what the variables say:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and https://opentelemetry.io/docs/specs/otel/protocol/exporter/.
type settings struct {
	endpoint *url.URL
	headers  http.Header
	timeout  time.Duration
	gzip     bool
	tls      *tls.Config
	sampler  sdktrace.Sampler
	resource []attribute.KeyValue
}

// defaultEndpoint and defaultTimeout are those of the specification.
const (
	defaultEndpoint = "http://localhost:4318"
	defaultTimeout  = 10 * time.Second
)

// variables are those of the environment that are not empty, which counts as not set.
type variables map[string]string

// otlp returns a variable of the exporter and its name: that for traces alone goes first.
func (v variables) otlp(suffix string) (value, name string) {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_" + suffix, "OTEL_EXPORTER_OTLP_" + suffix} {
		if value := v[name]; value != "" {
			return value, name
		}
	}
	return "", ""
}

// readSettings returns nil if no traces are asked for.
func readSettings(environ []string) (*settings, error) {
	vars := variables{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") && vars[name] == "" {
			vars[name] = strings.TrimSpace(value)
		}
	}
	if wanted, err := vars.wanted(); err != nil || !wanted {
		return nil, err
	}
	s := &settings{headers: http.Header{}, timeout: defaultTimeout}
	for _, read := range []func(*settings) error{
		vars.readProtocol, vars.readEndpoint, vars.readHeaders, vars.readTimeout, vars.readCompression, vars.readTLS, vars.readSampler, vars.readResource,
	} {
		if err := read(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// wanted: the specification would have traces sent to this machine unless that is turned off. A server that nobody configured for it sends none.
func (v variables) wanted() (bool, error) {
	if strings.EqualFold(v["OTEL_SDK_DISABLED"], "true") {
		return false, nil
	}
	switch exporter := v["OTEL_TRACES_EXPORTER"]; exporter {
	case "otlp":
		return true, nil
	case "none":
		return false, nil
	case "":
		endpoint, _ := v.otlp("ENDPOINT")
		return endpoint != "", nil
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q, and there is otlp or none", exporter)
	}
}

func (v variables) readProtocol(*settings) error {
	switch value, name := v.otlp("PROTOCOL"); value {
	case "", "http/protobuf":
		return nil
	default:
		return fmt.Errorf("%s is %q, which is not built in: set it to http/protobuf, and the endpoint to the collector's for HTTP (port 4318, not 4317)", name, value)
	}
}

func (v variables) readEndpoint(s *settings) error {
	text, name := v.otlp("ENDPOINT")
	if text == "" {
		text = defaultEndpoint
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%s is no URL with http:// or https:// and a host (not shown)", name) // there may be a password in it
	}
	if name != "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" {
		u = u.JoinPath("v1/traces")
	} else if u.Path == "" {
		u.Path = "/"
	}
	s.endpoint = u
	return nil
}

func (v variables) readHeaders(s *settings) error {
	// Those for traces are added to those for all, and replace their like.
	for _, name := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"} {
		err := eachPair(v[name], func(key, value string) bool {
			if !httpguts.ValidHeaderFieldName(key) || !httpguts.ValidHeaderFieldValue(value) {
				return false
			}
			s.headers.Set(key, value)
			return true
		})
		if err != nil {
			return fmt.Errorf("%s is no list of name=value with commas between them (not shown)", name)
		}
	}
	return nil
}

func (v variables) readTimeout(s *settings) error {
	text, name := v.otlp("TIMEOUT")
	if text == "" {
		return nil
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	if err != nil || ms <= 0 {
		return fmt.Errorf("%s is %q, and not a number of milliseconds above 0", name, text)
	}
	s.timeout = time.Duration(ms) * time.Millisecond
	return nil
}

func (v variables) readCompression(s *settings) error {
	switch text, name := v.otlp("COMPRESSION"); text {
	case "", "none":
	case "gzip":
		s.gzip = true
	default:
		return fmt.Errorf("%s is %q, and there is gzip or none", name, text)
	}
	return nil
}

func (v variables) readTLS(s *settings) error {
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	if path, name := v.otlp("CERTIFICATE"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s: there is no certificate in %s", name, path)
		}
	}
	cert, name := v.otlp("CLIENT_CERTIFICATE")
	key, keyName := v.otlp("CLIENT_KEY")
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "" || key == "":
		return fmt.Errorf("%s%s is set alone: a certificate of a client has a key, and a key its certificate", name, keyName)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", name, keyName, err)
	}
	s.tls.Certificates = []tls.Certificate{pair}
	return nil
}

// readSampler: no span has a parent of another process, so that "parentbased" makes no difference.
func (v variables) readSampler(s *settings) error {
	const name, arg = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
	switch sampler := strings.TrimPrefix(v[name], "parentbased_"); sampler {
	case "", "always_on":
		s.sampler = sdktrace.AlwaysSample()
	case "always_off":
		s.sampler = sdktrace.NeverSample()
	case "traceidratio":
		ratio := 1.0
		if text := v[arg]; text != "" {
			var err error
			if ratio, err = strconv.ParseFloat(text, 64); err != nil || !(ratio >= 0 && ratio <= 1) {
				return fmt.Errorf("%s is %q, and not a number from 0 to 1", arg, text)
			}
		}
		s.sampler = sdktrace.TraceIDRatioBased(ratio)
	default:
		return fmt.Errorf("%s is %q, and there is always_on, always_off, traceidratio, and each of them with parentbased_ before it", name, v[name])
	}
	// Spans inside of a request go with it.
	s.sampler = sdktrace.ParentBased(s.sampler)
	return nil
}

func (v variables) readResource(s *settings) error {
	const name = "OTEL_RESOURCE_ATTRIBUTES"
	if err := eachPair(v[name], func(key, value string) bool {
		s.resource = append(s.resource, attribute.String(key, value))
		return key != ""
	}); err != nil {
		return fmt.Errorf("%s is no list of name=value with commas between them", name)
	}
	if service := v["OTEL_SERVICE_NAME"]; service != "" {
		s.resource = append(s.resource, attribute.String("service.name", service))
	}
	return nil
}

// eachPair splits a list of name=value, with values in percent-encoding. The error is for a pair that is none, or that use refuses.
func eachPair(list string, use func(key, value string) bool) error {
	for pair := range strings.SplitSeq(list, ",") {
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		key, text, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(text))
		if !ok || err != nil || !use(strings.TrimSpace(key), value) {
			return strconv.ErrSyntax
		}
	}
	return nil
}
