package ledger

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	pgUniqueViolation   = "23505"
	pgReadOnly          = "25006"
	pgInvalidRole       = "28000"
	pgInvalidPassword   = "28P01"
	pgNoDatabase        = "3D000"
	pgNoPrivilege       = "42501"
	pgNoTable           = "42P01"
	pgDiskFull          = "53100"
	pgTooManyClients    = "53300"
	pgNoLock            = "55P03"
	pgDeadlock          = "40P01"
	pgStatementTimedOut = "57014"
	pgShutdown          = "57P01"
	pgCrashShutdown     = "57P02"
	pgNotReady          = "57P03"
)

// explain repeats what the driver says, in which there are hosts, roles and databases, and no passwords.
func (p *postgresDatabase) explain(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrNewer) || errors.Is(err, ErrForeign) || errors.Is(err, errNoSchema) {
		return err // it says all
	}
	if advice := p.advice(err); advice != "" {
		return fmt.Errorf("ledger %s: %s: %w", p.url, advice, err)
	}
	if code := postgresCode(err); code == pgNoLock || code == pgDeadlock || code == pgStatementTimedOut {
		return fmt.Errorf("%w: somebody else has held a lock in %s for too long: pg_stat_activity shows who; try again (%w)", ErrLocked, p.url, err)
	}
	if ctx.Err() != nil {
		return fmt.Errorf("ledger %s: no answer in time: %w", p.url, errors.Join(ctx.Err(), err))
	}
	return fmt.Errorf("ledger %s: %w", p.url, err)
}

// advice says what to do about an error, or nothing.
func (p *postgresDatabase) advice(err error) string {
	s := &p.settings
	switch postgresCode(err) {
	case pgInvalidPassword, pgInvalidRole:
		if s.Password == "" {
			return "the database does not let the role " + s.User + " in: give its password with ledger-password-file, PGPASSWORD or PGPASSFILE, and look at pg_hba.conf"
		}
		return "the database does not let the role " + s.User + " in: correct its password, and look at pg_hba.conf"
	case pgNoDatabase:
		return fmt.Sprintf("there is no such database: as an administrator of the server, CREATE DATABASE %q OWNER %q", s.Database, s.User)
	case pgNoPrivilege:
		return fmt.Sprintf("the role lacks a privilege: it has to own the tables, and to make them it needs a schema of its own: CREATE SCHEMA bezoar AUTHORIZATION %q, and ?schema=bezoar",
			s.User)
	case pgReadOnly:
		return "the database takes no writes: name the primary, not a standby"
	case pgNoTable:
		return "a table is gone, or the search path is not the one with which the ledger was made: restore the database, or name the schema (?schema=bezoar)"
	case pgDiskFull:
		return "the disk of the database is full"
	case pgTooManyClients:
		return fmt.Sprintf("the database has no connection left: each server needs up to %d; raise max_connections", postgresConnections)
	case pgNotReady, pgShutdown, pgCrashShutdown:
		return "the database is starting or ending: try again"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return "no such host: correct the name, or the name server of this machine"
	}
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &hostname):
		return "the certificate of the database is not for that host: name it as the certificate does"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return "the certificate of the database is not trusted: name its authority with ?sslrootcert=/path"
	case errors.As(err, &record), strings.Contains(err.Error(), "server refused TLS connection"):
		return "the database speaks no TLS: turn it on there (ssl = on), or, on a network that you trust, say ?sslmode=disable"
	case errors.Is(err, syscall.ECONNREFUSED), strings.HasPrefix(s.Host, "/") && errors.Is(err, os.ErrNotExist):
		return "nothing listens there: is the database running, and is it that host and port?"
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok && pgconn.Timeout(err) {
		return "no answer in time: does the database hang, or is there a firewall on the way?"
	}
	return ""
}

func (*postgresDatabase) isDuplicate(err error) bool { return postgresCode(err) == pgUniqueViolation }

func postgresCode(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}
