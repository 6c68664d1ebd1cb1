package ledger

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Bounds of the work with PostgreSQL. A server asks a few times a second and writes now and then: it needs few connections, of which the database has few.
const (
	postgresConnections = 4
	postgresIdle        = 5 * time.Minute
	postgresLifetime    = 30 * time.Minute // a new one finds the way anew when the database moved
	postgresConnect     = 5 * time.Second
	// A lock is waited for this long, as with SQLite.
	postgresLockTimeout = 5 * time.Second
	// The server ends what nobody waits for any more a little after the caller did.
	postgresStatementTimeout = DefaultTimeout + 2*time.Second
	// A peer that vanished is noticed after this time, by both sides.
	postgresPeerTimeout = 15 * time.Second
)

// Postgres says where a ledger in PostgreSQL is.
type Postgres struct {
	// Host is a name or an address; with a slash at its beginning, the directory of a Unix socket.
	Host string
	// Port is 5432 if it is 0.
	Port uint16
	// User is the role, and Database the database, which must be there.
	User, Database string
	// Schema holds the tables and must be there. Empty: the first of the role's search path, usually public.
	Schema string
	// Password may be empty: it is that of PGPASSWORD or of the password file then, if there is one.
	Password string
	// SSLMode is disable, require, verify-ca or verify-full.
	SSLMode string
	// SSLRootCert, SSLCert and SSLKey are paths of files, PEM, or empty.
	SSLRootCert, SSLCert, SSLKey string
	// ApplicationName is shown by pg_stat_activity; empty: bezoar.
	ApplicationName string
	// ConnectTimeout bounds the making of a connection; 0: 5 seconds.
	ConnectTimeout time.Duration
	// Directory is where a ledger in SQLite would be. A server that asked for credentials with that one is not open with this one.
	Directory string
}

// OpenPostgres opens the ledger in a database of PostgreSQL, 12 or later. Tables that are missing are made, and older ones brought up to date; several
// processes may do so at once. The errors of what it returns are those of [Open], and never hold the password.
func OpenPostgres(ctx context.Context, p Postgres) (*Ledger, error) {
	d := &postgresDatabase{url: p.url(url.Values{}), settings: p}
	if p.Schema != "" {
		d.url = p.url(url.Values{"schema": {p.Schema}})
	}
	config, err := p.config()
	if err != nil {
		return nil, d.explain(ctx, err)
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(postgresIdle)
	db.SetConnMaxLifetime(postgresLifetime)
	return newLedger(ctx, db, d)
}

// url is the database's, with these parameters.
func (p *Postgres) url(params url.Values) string {
	u := url.URL{Scheme: "postgres", User: url.User(p.User), Path: "/" + p.Database}
	if strings.HasPrefix(p.Host, "/") {
		params.Set("host", p.Host)
		if p.Port != 0 {
			params.Set("port", strconv.Itoa(int(p.Port)))
		}
	} else {
		u.Host = net.JoinHostPort(p.Host, strconv.Itoa(int(cmp.Or(p.Port, 5432))))
	}
	u.RawQuery = strings.ReplaceAll(params.Encode(), "%2F", "/")
	return u.String()
}

func (p *Postgres) config() (*pgx.ConnConfig, error) {
	params := url.Values{"sslmode": {p.SSLMode}}
	for name, file := range map[string]string{"sslrootcert": p.SSLRootCert, "sslcert": p.SSLCert, "sslkey": p.SSLKey} {
		if file != "" {
			params.Set(name, file)
		}
	}
	// Credentials that are not named come from where PostgreSQL's own programs look: PGPASSWORD, the password file, certificates in ~/.postgresql.
	config, err := pgx.ParseConfig(p.url(params))
	if err != nil {
		return nil, err
	}
	if p.Password != "" {
		config.Password = p.Password
	}
	config.ConnectTimeout = cmp.Or(p.ConnectTimeout, postgresConnect)
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: postgresPeerTimeout / 3, Interval: postgresPeerTimeout / 3, Count: 2},
		Control:         boundUnacknowledged,
	}
	config.DialFunc = dialer.DialContext
	// One round trip for a statement, and nothing that stays behind in a session of the server's.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	maps.Copy(config.RuntimeParams, map[string]string{
		"application_name":                    cmp.Or(p.ApplicationName, "bezoar"),
		"statement_timeout":                   ms(postgresStatementTimeout),
		"lock_timeout":                        ms(postgresLockTimeout),
		"idle_in_transaction_session_timeout": ms(postgresPeerTimeout),
		"tcp_user_timeout":                    ms(postgresPeerTimeout),
		"client_encoding":                     "UTF8",
	})
	if p.Schema != "" {
		config.RuntimeParams["search_path"] = pgx.Identifier{p.Schema}.Sanitize()
	}
	return config, nil
}

// postgresDatabase is the database of a ledger in PostgreSQL.
type postgresDatabase struct {
	url      string
	settings Postgres
}

func (p *postgresDatabase) place() string { return p.url }

// options keep a database that has another default from showing a transaction what was there before it waited for its lock.
func (*postgresDatabase) options() *sql.TxOptions {
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

// lock takes a lock that PostgreSQL gives back after what the transaction wrote became visible. So the numbers that a part gives become
// visible in their order: who asks for those after the last that he knows misses none.
func (*postgresDatabase) lock(ctx context.Context, tx *sql.Tx, p part) error {
	// Ledgers in several schemas of a database do not wait for each other, or hardly ever.
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1::int, hashtext(current_schema()))`, int32(p)+lockSpace)
	return err
}

// lockSpace keeps the locks away from those of other programs: the bytes "bzr" and a part.
const lockSpace = 0x627a7200

// inPlace: who works with the database works with the one.
func (*postgresDatabase) inPlace() error { return nil }

func (p *postgresDatabase) markClosed(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, `INSERT INTO marks (name, made) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`, markName, time.Now().UnixMilli())
	return p.explain(ctx, err)
}

func (p *postgresDatabase) wasClosed(ctx context.Context, db *sql.DB) error {
	var marks int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM marks WHERE name = $1`, markName).Scan(&marks); err != nil {
		return p.explain(ctx, err)
	}
	if marks > 0 {
		return fmt.Errorf("%w (the table marks in %s says so). Without them it would be open to everybody on its machine: name the policy again, or create "+
			"a token; or, if that is what you want, delete the row %q from that table", ErrWasClosed, p.url, markName)
	}
	if p.settings.Directory == "" {
		return nil
	}
	return directoryWasClosed(p.settings.Directory)
}
