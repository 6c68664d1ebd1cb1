package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// LedgerURL says where the records are kept: in SQLite in the data directory, which is the zero value, or in PostgreSQL. It holds no password.
type LedgerURL struct {
	// Host is a name or an address; with a slash at its beginning, the directory of a Unix socket. It is empty for SQLite alone.
	Host string
	// Port is that of PostgreSQL.
	Port uint16
	// User and Database are names in PostgreSQL.
	User, Database string
	// Schema is the one that holds the tables, or empty: the role's first.
	Schema string
	// SSLMode is disable, require, verify-ca or verify-full.
	SSLMode string
	// SSLRootCert, SSLCert and SSLKey are absolute paths, or empty.
	SSLRootCert, SSLCert, SSLKey string
	// ApplicationName is shown in PostgreSQL's list of connections; empty: bezoar.
	ApplicationName string
	// ConnectTimeout bounds the making of a connection; 0: it is left to the ledger.
	ConnectTimeout time.Duration
}

// ledgerSQLite is how the ledger in the data directory is written.
const ledgerSQLite = "sqlite"

const (
	postgresPort = 5432
	ledgerHint   = "write postgres://user@host:5432/database, or sqlite"
	passwordHint = "take it out, and give the password with ledger-password-file, or as PostgreSQL's own programs take it: in PGPASSWORD, or in the file that PGPASSFILE names (~/.pgpass)"
)

// IsPostgres says whether the ledger is in PostgreSQL.
func (l LedgerURL) IsPostgres() bool { return l.Host != "" }

// onSocket says whether the database is reached over a Unix socket.
func (l *LedgerURL) onSocket() bool { return strings.HasPrefix(l.Host, "/") }

// local says whether nothing goes over a network.
func (l *LedgerURL) local() bool {
	addr, err := netip.ParseAddr(l.Host)
	return l.onSocket() || l.Host == "localhost" || err == nil && addr.IsLoopback()
}

// defaultSSLMode verifies whom a password is sent to over a network.
func (l *LedgerURL) defaultSSLMode() string {
	if l.local() {
		return "disable"
	}
	return "verify-full"
}

// String returns the URL, escaped where it must be, or "sqlite". Parsed again it is the same.
func (l LedgerURL) String() string {
	if !l.IsPostgres() {
		return ledgerSQLite
	}
	u := url.URL{Scheme: "postgres", User: url.User(l.User), Path: "/" + l.Database}
	if !l.onSocket() {
		u.Host = net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
	}
	var params []string
	for _, p := range ledgerParams {
		if text := p.get(&l); text != "" {
			params = append(params, p.name+"="+queryEscape(text))
		}
	}
	u.RawQuery = strings.Join(params, "&")
	return u.String()
}

// ledgerParam is a parameter of the URL.
type ledgerParam struct {
	name string
	get  func(*LedgerURL) string // empty: it is left out
	set  func(l *LedgerURL, value string) *flaw
}

var (
	schemaForm      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)
	applicationForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._:/-]{0,62}$`)
	sslModes        = []string{"disable", "require", "verify-ca", "verify-full"}
)

var ledgerParams = []ledgerParam{
	{"host",
		func(l *LedgerURL) string {
			if l.onSocket() {
				return l.Host
			}
			return ""
		},
		func(l *LedgerURL, value string) *flaw {
			if l.Host != "" || !filepath.IsAbs(value) {
				return &flaw{"has the parameter host, which is for the directory of a Unix socket", "write postgres://user@/database?host=/run/postgresql, or the name of the host where it belongs"}
			}
			l.Host = filepath.Clean(value)
			return nil
		}},
	{"port",
		func(l *LedgerURL) string {
			if l.onSocket() && l.Port != postgresPort {
				return strconv.Itoa(int(l.Port))
			}
			return ""
		},
		func(l *LedgerURL, value string) *flaw {
			port, err := strconv.ParseUint(value, 10, 16)
			if !l.onSocket() || err != nil || port == 0 {
				return &flaw{"has the parameter port, which goes with the directory of a Unix socket (host before it)", "write the port behind the host, as in db.example.com:5432"}
			}
			l.Port = uint16(port)
			return nil
		}},
	{"schema", func(l *LedgerURL) string { return l.Schema },
		func(l *LedgerURL, value string) *flaw {
			l.Schema = value
			return ledgerForm("schema", value, schemaForm, "write letters, digits and underscores, for example schema=bezoar")
		}},
	{"sslmode",
		func(l *LedgerURL) string {
			if l.SSLMode == l.defaultSSLMode() {
				return ""
			}
			return l.SSLMode
		},
		func(l *LedgerURL, value string) *flaw {
			if !slices.Contains(sslModes, value) {
				return &flaw{"has the sslmode " + quoted(value), "write " + strings.Join(sslModes, ", ") + "; those that fall back to plain text by themselves are not taken"}
			}
			l.SSLMode = value
			return nil
		}},
	ledgerFile("sslrootcert", func(l *LedgerURL) *string { return &l.SSLRootCert }),
	ledgerFile("sslcert", func(l *LedgerURL) *string { return &l.SSLCert }),
	ledgerFile("sslkey", func(l *LedgerURL) *string { return &l.SSLKey }),
	{"application_name", func(l *LedgerURL) string { return l.ApplicationName },
		func(l *LedgerURL, value string) *flaw {
			l.ApplicationName = value
			return ledgerForm("application_name", value, applicationForm, "write up to 63 letters and digits, for example bezoar-1")
		}},
	{"connect_timeout",
		func(l *LedgerURL) string {
			if l.ConnectTimeout == 0 {
				return ""
			}
			return strconv.Itoa(int(l.ConnectTimeout / time.Second))
		},
		func(l *LedgerURL, value string) *flaw {
			seconds, err := strconv.ParseUint(value, 10, 8)
			if err != nil || seconds < 1 || seconds > 60 {
				return &flaw{"has the connect_timeout " + quoted(value), "write 1 to 60, in seconds"}
			}
			l.ConnectTimeout = time.Duration(seconds) * time.Second
			return nil
		}},
}

func ledgerFile(name string, field func(*LedgerURL) *string) ledgerParam {
	return ledgerParam{name, func(l *LedgerURL) string { return *field(l) }, func(l *LedgerURL, value string) *flaw {
		if !filepath.IsAbs(value) {
			return &flaw{"has no absolute path as " + name, "write for example " + name + "=/etc/bezoar/postgres.crt"}
		}
		*field(l) = filepath.Clean(value)
		return nil
	}}
}

func ledgerForm(name, value string, form *regexp.Regexp, hint string) *flaw {
	if form.MatchString(value) {
		return nil
	}
	return &flaw{"has a value of " + name + " that is none: " + quoted(value), hint}
}

// parseLedgerURL repeats nothing of what may be a password.
func parseLedgerURL(text string) (any, error) {
	if text == ledgerSQLite {
		return LedgerURL{}, nil
	}
	scheme, _, ok := strings.Cut(text, ":")
	if !ok {
		return nil, &flaw{quoted(text) + " is neither sqlite nor a URL", ledgerHint}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, &flaw{"is not a URL (not shown, it may hold a password)", ledgerHint + "; in names, write %40 for an @ and so on"}
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return nil, &flaw{"begins with " + quoted(scheme) + ", which is of an unknown kind", ledgerHint}
	}
	if _, has := u.User.Password(); has {
		return nil, &flaw{"holds a password (not shown)", passwordHint}
	}
	database := strings.TrimPrefix(u.Path, "/")
	switch {
	case u.Opaque != "" || u.User.Username() == "":
		return nil, &flaw{"names no user", ledgerHint}
	case database == "" || strings.Contains(database, "/"):
		return nil, &flaw{"names no database", ledgerHint}
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, &flaw{"has a fragment, which means nothing here", "write %23 for a number sign"}
	case strings.Contains(u.Host, ","):
		return nil, &flaw{"names several hosts", "name one, which follows the primary, such as that of a proxy or a service"}
	case plausible(u.User.Username(), false) != nil || plausible(database, false) != nil:
		return nil, &flaw{"has a name that holds a secret, or a character that cannot be printed (not shown)", ledgerHint}
	}
	l := LedgerURL{Host: u.Hostname(), User: u.User.Username(), Database: database, Port: postgresPort}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 || l.Host == "" {
			return nil, &flaw{"has a wrong port", "write 1 to 65535 behind a host, as in db.example.com:5432"}
		}
		l.Port = uint16(port)
	}
	if f := l.parseParams(u.RawQuery); f != nil {
		return nil, f
	}
	if l.Host == "" {
		return nil, &flaw{"names no host", ledgerHint + ", or postgres://user@/database?host=/run/postgresql for a Unix socket"}
	}
	l.SSLMode = cmp.Or(l.SSLMode, l.defaultSSLMode())
	if f := l.checkTLS(); f != nil {
		return nil, f
	}
	return l, nil
}

func (l *LedgerURL) parseParams(query string) *flaw {
	if query == "" {
		return nil
	}
	var names []string
	for _, p := range ledgerParams {
		names = append(names, p.name)
	}
	list := "its parameters are " + strings.Join(names, ", ")
	seen := map[string]bool{}
	for part := range strings.SplitSeq(query, "&") {
		name, raw, _ := strings.Cut(part, "=")
		i := slices.Index(names, name)
		switch {
		case i < 0 && credentialLike(name):
			return &flaw{"has the parameter " + shownParam(name) + " (its value is not shown)", passwordHint}
		case name == "search_path":
			return &flaw{"has the parameter search_path", "write schema=NAME, with the one schema that holds the tables"}
		case i < 0:
			return &flaw{"has an unknown parameter, " + shownParam(name), strictyaml.Suggest(name, names, list)}
		case seen[name]:
			return &flaw{"has the parameter " + name + " twice", "take one of them out"}
		}
		seen[name] = true
		value, err := url.PathUnescape(raw)
		if err != nil {
			return &flaw{"has a wrong escape in the parameter " + name, "write %25 for a per cent sign"}
		}
		if plausible(value, false) != nil {
			return &flaw{"has a value of " + name + " that is empty, holds a secret, or a character that cannot be printed (not shown)", "write another one, or take the parameter out"}
		}
		if f := ledgerParams[i].set(l, value); f != nil {
			return f
		}
	}
	return nil
}

// checkTLS refuses what would mean nothing.
func (l *LedgerURL) checkTLS() *flaw {
	files := l.SSLRootCert + l.SSLCert + l.SSLKey
	switch {
	case l.SSLMode == "disable" && files != "":
		return &flaw{"names files for TLS, which is off (sslmode is disable, the default on this machine)", "take them out, or write sslmode=verify-full"}
	case l.onSocket() && l.SSLMode != "disable":
		return &flaw{"asks for TLS on a Unix socket, where there is none", "take sslmode out"}
	case (l.SSLCert == "") != (l.SSLKey == ""):
		return &flaw{"has one of sslcert and sslkey", "give both, or none"}
	}
	return nil
}
