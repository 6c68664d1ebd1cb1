package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of requests for artifacts and sessions. Labels have few values: never a workspace's name, a hash or a path.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	bytes    *prometheus.CounterVec
	inFlight *prometheus.GaugeVec
	sessions *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bezoar_requests_total",
			Help: "Requests for artifacts by method, result (hit, miss, stored, exists, refused, denied, error) and the cause of those that did not go well.",
		}, []string{"method", "result", "cause"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bezoar_request_seconds",
			Help:    "Time from a request's headers to the end of its answer, in seconds, by method and result.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, []string{"method", "result"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bezoar_artifact_bytes_total",
			Help: "Bytes of artifacts sent to clients (out) and received from them (in), refused uploads included.",
		}, []string{"direction"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bezoar_requests_in_flight",
			Help: "Requests for artifacts that are being answered, by method.",
		}, []string{"method"}),
		sessions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bezoar_sessions_total",
			Help: "Requests for sessions by result (issued, refused, denied, error) and the cause of those that did not go well.",
		}, []string{"result", "cause"}),
	}
	reg.MustRegister(m.requests, m.seconds, m.bytes, m.inFlight, m.sessions)
	m.sessions.WithLabelValues(resultIssued, "") // so that the first one is an increase
	return m
}

// begin counts a request in; what it returns counts it out.
func (m *metrics) begin(method string) func(*exchange) {
	inFlight := m.inFlight.WithLabelValues(method)
	inFlight.Inc()
	return func(x *exchange) {
		inFlight.Dec()
		m.requests.WithLabelValues(method, x.outcome.result, x.outcome.cause).Inc()
		m.seconds.WithLabelValues(method, x.outcome.result).Observe(time.Since(x.started).Seconds())
		direction := "out"
		if method == http.MethodPut {
			direction = "in"
		}
		m.bytes.WithLabelValues(direction).Add(float64(x.bytes))
	}
}
