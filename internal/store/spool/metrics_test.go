package spool

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func count(t testing.TB, s *Store, result string) float64 {
	t.Helper()
	return testutil.ToFloat64(s.metrics.sends.WithLabelValues(result))
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		r := newRemote()
		r.put = fail
		s := open(t, r, mem.New(), Options{MaxBytes: 1000, Registerer: reg, Backoff: time.Hour, MaxBackoff: time.Hour})
		put(t, s, key, storetest.Body(1, 600))
		pass(90 * time.Second)
		put(t, s, storetest.Key("2"), storetest.Body(1, 100))
		if err := storetest.Put(t.Context(), s, storetest.Key("3"), storetest.Body(1, 600)); err == nil {
			t.Error("more was taken than fits")
		}
		pass(10 * time.Second)
		golden := `
# HELP bezoar_spool_bytes Bytes of acknowledged entries that the bucket lacks.
# TYPE bezoar_spool_bytes gauge
bezoar_spool_bytes 700
# HELP bezoar_spool_entries Acknowledged entries that the bucket lacks.
# TYPE bezoar_spool_entries gauge
bezoar_spool_entries 2
# HELP bezoar_spool_oldest_seconds Age of the oldest acknowledged entry that the bucket lacks, in seconds.
# TYPE bezoar_spool_oldest_seconds gauge
bezoar_spool_oldest_seconds 100
# HELP bezoar_spool_refused_total Uploads that were refused because the spool was full.
# TYPE bezoar_spool_refused_total counter
bezoar_spool_refused_total 1
# HELP bezoar_spool_sends_total Sends of entries to the bucket, by result.
# TYPE bezoar_spool_sends_total counter
bezoar_spool_sends_total{result="damaged"} 0
bezoar_spool_sends_total{result="failed"} 0
bezoar_spool_sends_total{result="given_up"} 0
bezoar_spool_sends_total{result="lost_race"} 0
bezoar_spool_sends_total{result="retried"} 2
bezoar_spool_sends_total{result="sent"} 0
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(golden)); err != nil {
			t.Error(err)
		}
		if _, err := Open(r, mem.New(), Options{Registerer: reg}); err == nil {
			t.Error("a second spool took the same registry")
		}
	})
}
