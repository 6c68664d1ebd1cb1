package tier

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// The metrics.
const (
	// HeldBytes and HeldEntries are what the tier keeps; the bytes have in them what is reserved for downloads under way.
	HeldBytes   = "bezoar_tier_bytes"
	HeldEntries = "bezoar_tier_entries"
	// Reads counts by "result": hit, miss (it began a download), joined (another's download), apart (an entry that is not to be
	// shared, that only one reader wanted, or for which there was no file: inner's own).
	Reads = "bezoar_tier_reads_total"
	// FetchedBytes counts what came from the storage behind in downloads.
	FetchedBytes = "bezoar_tier_fetched_bytes_total"
	// Evictions and EvictedBytes count what made room.
	Evictions    = "bezoar_tier_evictions_total"
	EvictedBytes = "bezoar_tier_evicted_bytes_total"
	// NotKept counts downloads that were complete and not kept, by "reason": no_room, too_large, scanning, deleted (meanwhile, or a copy is about
	// to go), trouble.
	NotKept = "bezoar_tier_not_kept_total"
	// Damaged counts entries that did not have the SHA-256 of their record, by "where": local, inner.
	Damaged = "bezoar_tier_damaged_total"
	// Downloads is how many are under way, with those that wait for their turn.
	Downloads = "bezoar_tier_downloads"
	// LocalErrors counts trouble of the local disk by "op": read, write, temp.
	LocalErrors = "bezoar_tier_local_errors_total"
)

type metrics struct {
	bytes, entries, downloads        prometheus.Gauge
	hits, misses, joined, apart      prometheus.Counter
	fetched, evictions, evictedBytes prometheus.Counter
	notKept, damaged, localErrors    *prometheus.CounterVec
}

// Why a download is not kept.
const (
	noRoom   = "no_room"
	tooLarge = "too_large"
	scanning = "scanning"
	deleted  = "deleted"
	troubled = "trouble"
)

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return register(reg, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
	}
	counter := func(name, help string) prometheus.Counter {
		return register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help}))
	}
	vector := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label}))
		for _, value := range values {
			v.WithLabelValues(value) // so that the first one is an increase
		}
		return v
	}
	reads := vector(Reads, "Entries that were asked of the tier, by result.", "result", "hit", "miss", "joined", "apart")
	return &metrics{
		bytes:        gauge(HeldBytes, "Bytes of disk that the tier keeps or has reserved for downloads under way."),
		entries:      gauge(HeldEntries, "Entries that the tier keeps."),
		downloads:    gauge(Downloads, "Downloads from the storage behind that are under way or wait for their turn."),
		hits:         reads.WithLabelValues("hit"),
		misses:       reads.WithLabelValues("miss"),
		joined:       reads.WithLabelValues("joined"),
		apart:        reads.WithLabelValues("apart"),
		fetched:      counter(FetchedBytes, "Bytes that downloads brought from the storage behind."),
		evictions:    counter(Evictions, "Entries that were removed to make room."),
		evictedBytes: counter(EvictedBytes, "Bytes of disk of the entries that were removed to make room."),
		notKept:      vector(NotKept, "Downloads that were complete and not kept, by reason.", "reason", noRoom, tooLarge, scanning, deleted, troubled),
		damaged:      vector(Damaged, "Entries that did not have the SHA-256 of their record, by where they were. Those of inner are worth a page.", "where", "local", "inner"),
		localErrors:  vector(LocalErrors, "Operations on the local disk that failed, by kind.", "op", "read", "write", "temp"),
	}
}

func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		registered, ok := errors.AsType[prometheus.AlreadyRegisteredError](err)
		if !ok {
			panic(err) // another metric has taken the name: a bug
		}
		return registered.ExistingCollector.(C)
	}
	return c
}
