package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// firstPause is that after the first failure; it doubles. All tries together have the settings' timeout.
	firstPause = 500 * time.Millisecond
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 64 << 10
)

// client sends spans to a collector. It is an [otlptrace.Client].
type client struct {
	settings *settings
	http     *http.Client
	life     context.Context //nolint:containedctx // ends exports that nobody waits for any more
	end      context.CancelFunc
	last     atomic.Pointer[error] // of the last export, nil if it went well
}

func newClient(s *settings) *client {
	life, end := context.WithCancel(context.Background())
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &client{
		settings: s, life: life, end: end,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: s.tls, TLSHandshakeTimeout: 10 * time.Second,
				ForceAttemptHTTP2: true, MaxIdleConns: 1, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute,
			},
			// The headers hold credentials, which are not for another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

func (c *client) Start(context.Context) error { return nil }

func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// place names the collector: the rest of its URL may hold secrets.
func (c *client) place() string {
	return (&url.URL{Scheme: c.settings.endpoint.Scheme, Host: c.settings.endpoint.Host}).String()
}

func (c *client) degraded() error {
	if err := c.last.Load(); err != nil {
		return *err
	}
	return nil
}

// UploadTraces sends spans, with retries. Its error is nil: trouble is told by degraded, and what is returned would be written to standard error by
// the library, for each export.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	ctx, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	err := c.upload(ctx, spans)
	if err == nil {
		c.last.Store(nil)
		return nil
	}
	err = fmt.Errorf("spans cannot be exported to %s: %w", c.place(), err)
	c.last.Store(&err)
	return nil
}

func (c *client) upload(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// The same bytes as ExportTraceServiceRequest, whose package needs gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if c.settings.gzip {
		if body, err = compress(body); err != nil {
			return err
		}
	}
	for pause := firstPause; ; pause *= 2 {
		again, err := c.send(ctx, body)
		if again == never {
			return err
		}
		select {
		case <-time.After(max(pause, again)):
		case <-ctx.Done():
			return err
		}
	}
}

// never is a pause that has no end.
const never time.Duration = -1

// send tries once. After an error that may pass, it says how long to wait at least.
func (c *client) send(ctx context.Context, body []byte) (again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return never, errors.New("its URL cannot be used")
	}
	req.Header = c.settings.headers.Clone()
	req.Header.Set("Content-Type", "application/x-protobuf")
	if c.settings.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err // without the URL
		}
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		if err != nil {
			return never, nil // they have arrived
		}
		return never, rejected(answer)
	case slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, resp.StatusCode):
		return retryAfter(resp.Header), fmt.Errorf("the collector answers %d", resp.StatusCode)
	}
	return never, fmt.Errorf("the collector answers %d", resp.StatusCode)
}

// retryAfter reads the header of that name. A date is not taken for one: collectors send seconds.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
