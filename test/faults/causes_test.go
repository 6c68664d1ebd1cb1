//go:build faults || e2e

package faults_test

import (
	"time"

	"github.com/bezoar-cache/bezoar/test/disk/faulty"
	"github.com/bezoar-cache/bezoar/test/emulator"
)

// side is where moments are seen.
type side int

const (
	atGate   side = iota // between Nx and the server
	atBucket             // between the server and the bucket
)

// cause is something that breaks.
type cause struct {
	name  string
	kind  kind
	side  side
	apply func(w *world) (faulty.Mend, error)
	// lasts bounds it; 0: until the build has ended.
	lasts time.Duration
	// moments are those at which it is tried; nil: all but fromStart.
	moments []moment
	// token is what the build under fault sends, in place of the session.
	token func(w *world) string
	// spoils says that the server has to be set up anew afterwards.
	spoils bool
	// huge says that the largest artifact is larger than verify-ahead.
	huge bool
	// helpless says why no server can help at a moment.
	helpless map[moment]string
}

var allMoments = []moment{beforeMiss, beforeHit, midBody, midUpload, between}

// Of what breaks in front of a build or behind it, these are the moments that differ.
var (
	askedAndStored = []moment{beforeMiss, beforeHit, midUpload, between}
	twice          = []moment{beforeMiss, beforeHit}
)

// answers makes the bucket ill.
func answers(name string, how ill, requests int64) cause {
	return cause{name: name, side: atBucket, kind: plain, apply: func(w *world) (faulty.Mend, error) {
		w.bucket.injector.fall(how, requests)
		return func() error { w.bucket.injector.mend(); return nil }, nil
	}}
}

// spoils makes the way to the bucket ill.
func spoils(name string, toxics ...emulator.Toxic) cause {
	return cause{name: name, side: atBucket, kind: plain, apply: func(w *world) (faulty.Mend, error) {
		for _, toxic := range toxics {
			if err := w.bucket.tcp.Spoil(toxic); err != nil {
				return nil, err
			}
		}
		return w.bucket.tcp.Mend, nil
	}}
}

// bucketCauses are those of a bucket and of the way to it.
func bucketCauses() []cause {
	return []cause{
		answers("bucket answers 500", "500", 0),
		answers("bucket answers 503", "503", 0),
		answers("bucket answers 503 twice", "503", 2),
		answers("bucket answers 403", "403", 0),
		answers("bucket answers garbage", garbage, 0),
		answers("bucket sends half bodies", half, 0),
		answers("bucket resets", resets, 0),
		answers("bucket stalls", stalls, 0),
		answers("bucket throttles to bytes", slow, 0),
		{name: "bucket's process paused", side: atBucket, kind: plain, apply: func(w *world) (faulty.Mend, error) {
			w.bucket.storage.Pause(w.t)
			return func() error { w.bucket.storage.Resume(w.t); return nil }, nil
		}},
		{name: "way to the bucket refuses", side: atBucket, kind: plain, apply: func(w *world) (faulty.Mend, error) {
			return w.bucket.tcp.Mend, w.bucket.tcp.Refuse()
		}},
		spoils("way to the bucket is a black hole", emulator.Toxic{Type: "timeout", Attributes: map[string]int{"timeout": 0}}),
		spoils("way to the bucket takes 2 s", emulator.Toxic{Type: "latency", Attributes: map[string]int{"latency": 2000, "jitter": 500}}),
		spoils("way to the bucket cuts after 100 KB", emulator.Toxic{Type: "limit_data", Attributes: map[string]int{"bytes": 100_000}},
			emulator.Toxic{Type: "limit_data", Upstream: true, Attributes: map[string]int{"bytes": 100_000}}),
	}
}

const sentAsItComes = "what is larger than `verify-ahead` is sent as it comes"

// hugeCauses break the bucket in the middle of an artifact that is larger than verify-ahead.
func hugeCauses() []cause {
	of := func(name string, how ill, requests int64, kind kind) cause {
		c := answers(name, how, requests)
		c.moments, c.huge, c.kind = []moment{midBody}, true, kind
		return c
	}
	lost := of("bucket answers 503, 12 MB", "503", 0, plain)
	lost.helpless = map[moment]string{midBody: sentAsItComes}
	return []cause{
		lost,
		of("bucket resets once, 12 MB", resets, 1, plain),
		of("bucket answers 503, 12 MB, verify-ahead: all", "503", 0, ahead),
		of("bucket sends half bodies, 12 MB, verify-ahead: all", half, 0, ahead),
	}
}

// ofDisk breaks one of the server's file systems.
func ofDisk(name string, dir func(w *world) string, breaks func(dir string) (faulty.Mend, error), moments []moment) cause {
	return cause{name: name, kind: plain, moments: moments, apply: func(w *world) (faulty.Mend, error) { return breaks(dir(w)) }}
}

func theDisk(w *world) string { return w.disk }
func theData(w *world) string { return w.data }

// diskCauses are those of the disk with the artifacts: the store, or spool and tier.
func diskCauses() []cause {
	return []cause{
		ofDisk("disk full", theDisk, faulty.Full, nil),
		ofDisk("disk without inodes", theDisk, faulty.NoInodes, nil),
		ofDisk("disk read-only", theDisk, faulty.ReadOnly, nil),
		ofDisk("disk gone", theDisk, faulty.Gone, nil),
	}
}

// ledgerCauses are those of the ledger in SQLite, and of its disk.
func ledgerCauses() []cause {
	return []cause{
		{name: "ledger locked (SQLite)", kind: plain, apply: func(w *world) (faulty.Mend, error) { return lockLedger(w.data) }},
		{name: "ledger slow (SQLite)", kind: plain, apply: func(w *world) (faulty.Mend, error) { return slowLedger(w.data) }},
		{name: "ledger gone (SQLite)", kind: plain, apply: func(w *world) (faulty.Mend, error) { return hideLedger(w.data) }},
		ofDisk("ledger's disk full", theData, faulty.Full, askedAndStored),
		ofDisk("ledger's disk read-only", theData, faulty.ReadOnly, askedAndStored),
		{name: "ledger overwritten (SQLite)", kind: plain, moments: twice, spoils: true,
			apply: func(w *world) (faulty.Mend, error) { return overwriteLedger(w.data) }},
	}
}

// postgresCauses are those of the ledger in PostgreSQL.
func postgresCauses() []cause {
	of := func(name string, moments []moment, apply func(w *world) (faulty.Mend, error)) cause {
		return cause{name: name, kind: database, moments: moments, apply: apply}
	}
	return []cause{
		of("ledger hangs (PostgreSQL stopped by SIGSTOP)", nil, func(w *world) (faulty.Mend, error) {
			w.ledger.Pause(w.t)
			return func() error { w.ledger.Resume(w.t); return nil }, nil
		}),
		of("ledger locked (PostgreSQL, LOCK TABLE)", askedAndStored, lockTables),
		of("ledger gone (PostgreSQL ended)", askedAndStored, func(w *world) (faulty.Mend, error) {
			w.ledger.Stop(w.t)
			return func() error { w.ledger.Restart(w.t); return nil }, nil
		}),
		of("ledger slow (PostgreSQL, 1 s each way)", askedAndStored, func(w *world) (faulty.Mend, error) {
			return w.wire.Mend, w.wire.Spoil(emulator.Toxic{Type: "latency", Attributes: map[string]int{"latency": 1000}})
		}),
		of("way to the ledger resets (PostgreSQL)", twice, func(w *world) (faulty.Mend, error) {
			return w.wire.Mend, w.wire.Spoil(emulator.Toxic{Type: "reset_peer", Attributes: map[string]int{"timeout": 0}})
		}),
	}
}
