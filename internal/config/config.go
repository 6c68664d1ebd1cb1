// Package config is the strict, typed configuration of the server.
//
// Every setting is a field of [Config]. Its tags hold the one name under which it is a flag, an
// environment variable and a key of the file, with its default, its bounds and its help. Flags,
// decoding, the printed configuration, the JSON Schema and the table in the docs all come from
// these tags, so that a setting is written down once.
package config

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// Config is the whole configuration of a server, checked and with defaults filled in. [Load] makes it.
//
// Its String, JSON and log forms hold no secret.
//
// The tags of a field: name; help; default, in the form of an environment variable; shown, the default in words where it
// depends on the machine; enum, the only values; min and max, both allowed; example, for hints; needs, what it means nothing without: a
// bucket as the store, or another setting.
type Config struct {
	Listen []Listener `name:"listen" default:"127.0.0.1:8099" example:"127.0.0.1:8099" help:"Where to listen: host:port, unix:/path.sock or systemd (sockets handed over by systemd)"`
	Data   Path       `name:"data" shown:"the user's state directory" example:"/var/lib/bezoar" help:"Directory of the ledger and of the artifacts, unless --ledger and --store say otherwise"`
	Store  StoreURL   `name:"store" shown:"store in the data directory" example:"file:///var/lib/bezoar/store" help:"Where artifacts are kept, as a URL: file:///path, or a bucket with its parameters: s3://bucket/prefix?region=eu-central-1, gs://bucket/prefix, azblob://container/prefix?account=acme"`

	Ledger         LedgerURL `name:"ledger" default:"sqlite" example:"postgres://bezoar@db.example.com:5432/bezoar" help:"Where tokens, revocations and what is known of entries are kept: sqlite, in the data directory, or a database of PostgreSQL that servers share, as a URL without password: postgres://user@host:5432/database?sslmode=verify-full"`
	LedgerPassword Secret    `name:"ledger-password" needs:"ledger" help:"Password of the role in PostgreSQL, if PGPASSWORD and PGPASSFILE do not give it"`

	WriteWait   Wait          `name:"write-wait" default:"2s" min:"0s" max:"forever" needs:"bucket" help:"How long an upload waits for the bucket before it is acknowledged and sent from the spool; 0s: not at all; forever: until the bucket has it"`
	SpoolDir    Path          `name:"spool-dir" shown:"spool in the data directory" example:"/var/lib/bezoar/spool" needs:"bucket" help:"Directory of uploads under way, and of those that were acknowledged and wait for the bucket"`
	SpoolSize   Size          `name:"spool-size" default:"10GiB" min:"1MiB" max:"1PiB" needs:"bucket" help:"Most bytes of uploads that are under way or wait for the bucket, in bytes or with a unit"`
	SpoolAge    time.Duration `name:"spool-age" default:"24h" min:"1s" max:"720h" needs:"bucket" help:"How long an acknowledged upload may wait for the bucket before it is given up"`
	SpoolDrain  time.Duration `name:"spool-drain" default:"30s" min:"0s" max:"24h" needs:"bucket" help:"How long acknowledged uploads are still sent to the bucket at SIGTERM, after the last transfer; what is left stays in the spool"`
	TierDir     Path          `name:"tier-dir" example:"/var/cache/bezoar" needs:"bucket" help:"Directory of a local cache in front of the bucket"`
	TierSize    Size          `name:"tier-size" default:"20GiB" min:"1MiB" max:"1PiB" needs:"tier-dir" help:"Most bytes that the local cache keeps, in bytes or with a unit"`
	MemoryCache Size          `name:"memory-cache" default:"32MiB" min:"0" max:"1TiB" help:"Memory for small artifacts that were asked for lately, in bytes or with a unit; 0: none"`
	VerifyAhead UpTo          `name:"verify-ahead" default:"8MiB" min:"0" max:"all" needs:"bucket" help:"Artifacts from the bucket up to this size are verified whole before their first byte is sent; the end of larger ones waits until they are; all: every one"`
	Seal        string        `name:"seal" default:"record" enum:"record,aead" help:"How entries are protected in the store: record seals the record of each; aead encrypts artifacts and records in a bucket, too"`
	Redirect    string        `name:"redirect" default:"off" enum:"off,on" help:"Whether downloads are redirected to signed URLs of the bucket, where nothing verifies them on the way"`
	RedirectTTL time.Duration `name:"redirect-ttl" default:"5m" min:"1s" max:"1h" needs:"redirect" help:"How long the signed URL of a redirect is good for"`

	PurgeQuarantine time.Duration `name:"purge-quarantine" default:"168h" min:"1s" max:"8760h" help:"How long what a purge took can be brought back, before it is deleted for good"`

	ScrubRate  Size          `name:"scrub-rate" default:"4MiB" min:"0" max:"1TiB" help:"Most bytes in a second that are read in the background to find what the storage has damaged, in bytes or with a unit; 0: nothing is read"`
	ScrubEvery time.Duration `name:"scrub-every" default:"720h" min:"1s" max:"8760h" help:"Least time from the beginning of one reading of all that is stored to that of the next"`

	MaxStoreSize Size `name:"max-store-size" default:"0" min:"0" max:"1PiB" help:"Most bytes that all entries hold together, in bytes or with a unit; beyond it the least recently used go, untrusted ones first; 0: no bound"`
	MinFree      Size `name:"min-free" default:"1GiB" min:"0" max:"1PiB" needs:"directory" help:"How much room the disk of the store has to have, in bytes or with a unit; below it the least recently used entries go, untrusted ones first; 0: none"`

	PublicURL PublicURL `name:"public-url" example:"https://cache.example.com" help:"URL under which clients reach this server; printed at start"`
	TLSCert   Path      `name:"tls-cert" example:"/etc/bezoar/tls.crt" help:"File with the TLS certificate chain, PEM; needs --tls-key"`
	TLSKey    Path      `name:"tls-key" example:"/etc/bezoar/tls.key" help:"File with the key of the TLS certificate, PEM; needs --tls-cert"`
	Tokens    []Token   `name:"tokens" example:"name=ci;access=trusted;hash=sha256:..." help:"Static tokens by hash: name=ci;workspace=web;access=trusted;hash=sha256:...;expires=2027-01-01"`

	Policy      Path `name:"policy" example:"/etc/bezoar/policy.yaml" help:"File with the policy: which CI identities may read and write what"`
	SealKeyFile Path `name:"seal-key-file" shown:"seal.key in the data directory" example:"/etc/bezoar/seal.key" help:"File with the keys that seal entries and sign sessions; made at the first start if it is the default one"`

	AuditKeep time.Duration `name:"audit-keep" default:"9600h" min:"0s" max:"876000h" help:"How long events stay in the audit log; 0s: for good"`

	MetricsListen Address `name:"metrics-listen" example:"127.0.0.1:9099" help:"Second address, host:port, for metrics, health and profiles"`
	MetricsToken  Secret  `name:"metrics-token" help:"Bearer token that /metrics asks for"`

	LogFormat string     `name:"log-format" default:"text" enum:"text,json" help:"Form of log lines"`
	LogLevel  slog.Level `name:"log-level" default:"info" enum:"debug,info,warn,error" help:"Least level that is logged"`

	MaxArtifactSize Size   `name:"max-artifact-size" default:"2GiB" min:"1" max:"1PiB" help:"Largest artifact accepted, in bytes or with a unit"`
	MaxInflatedSize Size   `name:"max-inflated-size" default:"16GiB" min:"1" max:"1PiB" help:"Largest size of an artifact after decompression, in bytes or with a unit"`
	MaxInflateRatio int    `name:"max-inflate-ratio" default:"200" min:"1" max:"1000000" help:"Largest ratio of decompressed to compressed size; the first GiB is free"`
	MaxMembers      int    `name:"max-members" default:"250000" min:"1" max:"100000000" help:"Most files and directories in one artifact"`
	MaxPathLength   int    `name:"max-path-length" default:"4096" min:"16" max:"65536" help:"Longest path in an artifact, in bytes"`
	MaxCheckMemory  Size   `name:"max-check-memory" default:"128MiB" min:"1MiB" max:"1TiB" help:"Memory for the tables of large artifacts that are checked at once, in bytes or with a unit; half of it is for trusted uploads; beyond it they are not stored"`
	UnknownFormat   string `name:"unknown-format" default:"refuse" enum:"refuse,store" help:"What to do with an upload that is no gzip: refuse it, or store it unchecked"`

	MaxConnections int           `name:"max-connections" default:"4096" min:"1" max:"1000000" help:"Most connections of clients; a quarter more is taken for trusted requests alone"`
	MaxUploads     int           `name:"max-uploads" default:"128" min:"1" max:"100000" help:"Most uploads at once; a quarter is for trusted ones, and each other scope has at most a quarter of the rest"`
	MaxDownloads   int           `name:"max-downloads" default:"512" min:"1" max:"100000" help:"Most downloads at once, shared in the same way"`
	SlotWait       time.Duration `name:"slot-wait" default:"1s" min:"0s" max:"1m" help:"How long an upload or download waits for others to end before it is a refusal or a miss"`

	OnError string `name:"on-error" default:"open" enum:"open,strict" help:"What a request gets when the cache itself is ill: open, a miss or a refusal, and builds go on; strict, 503, and they fail"`

	HeaderTimeout   time.Duration `name:"header-timeout" default:"10s" min:"1ms" max:"24h" help:"How long a client may take for the headers of a request"`
	IdleTimeout     time.Duration `name:"idle-timeout" default:"2m" min:"1ms" max:"24h" help:"How long a connection stays open between requests"`
	StallTimeout    time.Duration `name:"stall-timeout" default:"30s" min:"1ms" max:"24h" help:"How long an upload or download may go without moving as much as min-rate asks for"`
	MinRate         Size          `name:"min-rate" default:"1KiB" min:"0" max:"1TiB" help:"Least that a body has to move per second, between client and server over stall-timeout, and between bucket and server over store-timeout; 0: any byte will do"`
	StoreTimeout    time.Duration `name:"store-timeout" default:"10s" min:"1ms" max:"24h" help:"How long the store may take for its first answer, or for a sign that it gets on"`
	BreakerFailures int           `name:"breaker-failures" default:"5" min:"0" max:"1000000" help:"How many failures of the store in a row until requests do not wait for it any more, but for probes; 0: they always do"`
	BreakerProbe    time.Duration `name:"breaker-probe" default:"5s" min:"1ms" max:"1h" help:"Pause between probes of a store that is left alone because it failed"`
	DrainTimeout    time.Duration `name:"drain-timeout" default:"10m" min:"0s" max:"24h" help:"How long in all a refused upload that does not stall is read before the answer; 0s: not at all"`
	DrainLimit      Size          `name:"drain-limit" default:"2GiB" min:"0" max:"1PiB" help:"How much of a refused upload is read before the answer; 0: nothing"`
	ShutdownDelay   time.Duration `name:"shutdown-delay" default:"0s" min:"0s" max:"24h" help:"How long requests are still taken at SIGTERM while /readyz says no, so that balancers notice"`
	ShutdownTimeout time.Duration `name:"shutdown-timeout" default:"30s" min:"0s" max:"24h" help:"How long running transfers may go on at SIGTERM"`
}

// Values of settings that are one of a few.
const (
	SealRecord = "record"
	SealAEAD   = "aead"

	RedirectOff = "off"
	RedirectOn  = "on"

	LogText = "text"
	LogJSON = "json"

	ErrorOpen   = "open"
	ErrorStrict = "strict"

	UnknownRefuse = "refuse"
	UnknownStore  = "store"
)

// DefaultSpoolDir is the directory of the spool unless another one is named.
func (c *Config) DefaultSpoolDir() Path { return Path(filepath.Join(string(c.Data), "spool")) }

// DefaultSealKeyFile is the path of the key file that a server makes for itself if it is missing.
func (c *Config) DefaultSealKeyFile() Path { return Path(filepath.Join(string(c.Data), "seal.key")) }

// String returns the configuration as one line of JSON, without secrets.
func (c Config) String() string {
	b, err := c.MarshalJSON()
	if err != nil {
		return "(configuration that has no JSON form)"
	}
	return string(b)
}

// GoString keeps secrets out of %#v.
func (c Config) GoString() string { return "config.Config(" + c.String() + ")" }

// MarshalJSON writes every setting in the order of the struct, as text or a list of texts. Secrets are redacted.
func (c Config) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, s := range settings() {
		if s.of != nil {
			continue
		}
		b.WriteByte("{,"[min(i, 1)])
		for j, v := range []any{s.name, s.plain(&c)} {
			text, err := json.Marshal(v)
			if err != nil {
				return nil, err
			}
			if j > 0 {
				b.WriteByte(':')
			}
			b.Write(text)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// LogValue gives each setting as an attribute. Secrets are redacted.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range settings() {
		if s.of == nil {
			attrs = append(attrs, slog.Any(s.name, s.plain(&c)))
		}
	}
	return slog.GroupValue(attrs...)
}

// plain returns the setting's value in c as a text or a list of texts, for logs.
func (s *setting) plain(c *Config) any {
	v := s.value(c)
	if !s.list {
		return format(v)
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = format(v.Index(i))
	}
	return texts
}

// value returns the setting's field in c, which can be set.
func (s *setting) value(c *Config) reflect.Value { return reflect.ValueOf(c).Elem().Field(s.field) }

// envName returns the name of the environment variable of the setting called name.
func envName(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

const (
	envPrefix  = "BEZOAR_"
	configName = "config" // a flag and an environment variable only
)
