package tracing

import (
	"strings"
	"testing"
)

// TestNothingIsSentUnlessConfigured: Start returns nothing that could send.
func TestNothingIsSentUnlessConfigured(t *testing.T) {
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"
	for _, environ := range [][]string{
		nil,
		{"HOME=/root", "OTEL_SERVICE_NAME=x", "OTEL_TRACES_SAMPLER=always_on", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT="}, {"OTEL_EXPORTER_OTLP_ENDPOINT= "},
		{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://127.0.0.1:1"},
		{endpoint, "OTEL_SDK_DISABLED=true"}, {endpoint, "OTEL_SDK_DISABLED=True"},
		{endpoint, "OTEL_TRACES_EXPORTER=none"},
	} {
		if tracing, err := Start(t.Context(), Options{Environ: environ}); tracing != nil || err != nil {
			t.Errorf("%q: %v %v", environ, tracing, err)
		}
	}
	for _, environ := range [][]string{
		{endpoint}, {endpoint, "OTEL_SDK_DISABLED=no"}, {"OTEL_TRACES_EXPORTER=otlp"}, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1"},
		{endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf"},
	} {
		s, err := readSettings(environ)
		if s == nil || err != nil {
			t.Errorf("%q: %v %v", environ, s, err)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for environ, want := range map[string]string{
		"OTEL_TRACES_EXPORTER=otlp":                                                                        "http://localhost:4318/v1/traces",
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example":                                                    "https://c.example/v1/traces",
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://c.example/a/?k=v":                                             "https://c.example/a/v1/traces?k=v",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://c.example:4318":                                         "http://c.example:4318/",
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://a.example OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://b.test/t": "http://b.test/t",
	} {
		s, err := readSettings(strings.Fields(environ))
		if err != nil || s.endpoint.String() != want {
			t.Errorf("%s: %v %v", environ, s, err)
		}
	}
}

func TestSettingsThatCannotBeFollowed(t *testing.T) {
	for bad, want := range map[string]string{
		"OTEL_EXPORTER_OTLP_PROTOCOL=grpc":                                          "not built in: set it to http/protobuf",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json":                              "not built in",
		"OTEL_TRACES_EXPORTER=zipkin":                                               `"zipkin"`,
		"OTEL_EXPORTER_OTLP_ENDPOINT=user:s3cret@collector:4318":                    "OTEL_EXPORTER_OTLP_ENDPOINT is no URL",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=grpc://collector:4317/s3cret":           "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL",
		"OTEL_EXPORTER_OTLP_HEADERS=s3cret":                                         "OTEL_EXPORTER_OTLP_HEADERS is no list",
		"OTEL_EXPORTER_OTLP_HEADERS=a=s3cret%0d%0ab":                                "OTEL_EXPORTER_OTLP_HEADERS is no list",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS=a b=s3cret":                              "OTEL_EXPORTER_OTLP_TRACES_HEADERS is no list",
		"OTEL_EXPORTER_OTLP_HEADERS=a=s3cret%zz":                                    "OTEL_EXPORTER_OTLP_HEADERS is no list",
		"OTEL_EXPORTER_OTLP_TIMEOUT=10s":                                            "number of milliseconds",
		"OTEL_EXPORTER_OTLP_TIMEOUT=-1":                                             "number of milliseconds",
		"OTEL_EXPORTER_OTLP_COMPRESSION=zstd":                                       "gzip or none",
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere":                                   "no such file",
		"OTEL_EXPORTER_OTLP_CERTIFICATE=settings_test.go":                           "no certificate in",
		"OTEL_EXPORTER_OTLP_CLIENT_KEY=/nowhere":                                    "set alone",
		"OTEL_EXPORTER_OTLP_CLIENT_KEY=/a OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE=/b": "no such file",
		"OTEL_TRACES_SAMPLER=jaeger_remote":                                         `"jaeger_remote"`,
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=NaN":              "from 0 to 1",
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=1.5":              "from 0 to 1",
		"OTEL_RESOURCE_ATTRIBUTES=a":                                                "OTEL_RESOURCE_ATTRIBUTES is no list",
	} {
		environ := append(strings.Fields(bad), "OTEL_EXPORTER_OTLP_METRICS_HEADERS=ignored")
		if strings.Contains(bad, "a b=") {
			environ = []string{bad}
		}
		environ = append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1")
		tracing, err := Start(t.Context(), Options{Environ: environ})
		if tracing != nil || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
