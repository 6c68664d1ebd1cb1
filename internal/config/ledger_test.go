package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLedgerURL(t *testing.T) {
	for text, want := range map[string]struct {
		url     LedgerURL
		printed string // empty: as it was written
	}{
		"sqlite": {LedgerURL{}, ""},
		"postgres://bezoar@db.example.com/nx": {
			LedgerURL{Host: "db.example.com", Port: 5432, User: "bezoar", Database: "nx", SSLMode: "verify-full"}, "postgres://bezoar@db.example.com:5432/nx",
		},
		"postgresql://b%40c@[2001:db8::1]:6432/n%20x?sslmode=verify-ca&schema=cache_1&application_name=bezoar-2&connect_timeout=7": {
			LedgerURL{
				Host: "2001:db8::1", Port: 6432, User: "b@c", Database: "n x", SSLMode: "verify-ca", Schema: "cache_1", ApplicationName: "bezoar-2", ConnectTimeout: 7 * time.Second,
			}, "postgres://b%40c@[2001:db8::1]:6432/n%20x?schema=cache_1&sslmode=verify-ca&application_name=bezoar-2&connect_timeout=7",
		},
		"postgres://b@db:5432/nx?sslrootcert=/etc/ca.pem&sslcert=/etc/c.pem&sslkey=/etc/k.pem": {
			LedgerURL{Host: "db", Port: 5432, User: "b", Database: "nx", SSLMode: "verify-full", SSLRootCert: "/etc/ca.pem", SSLCert: "/etc/c.pem", SSLKey: "/etc/k.pem"}, "",
		},
		"postgres://b@127.0.0.1:5432/nx":                              {LedgerURL{Host: "127.0.0.1", Port: 5432, User: "b", Database: "nx", SSLMode: "disable"}, ""},
		"postgres://b@localhost:5432/nx?sslmode=require":              {LedgerURL{Host: "localhost", Port: 5432, User: "b", Database: "nx", SSLMode: "require"}, ""},
		"postgres://b@db:5432/nx?sslmode=disable":                     {LedgerURL{Host: "db", Port: 5432, User: "b", Database: "nx", SSLMode: "disable"}, ""},
		"postgres://b@/nx?host=/run/postgresql":                       {LedgerURL{Host: "/run/postgresql", Port: 5432, User: "b", Database: "nx", SSLMode: "disable"}, ""},
		"postgres://b@/nx?host=/run/postgresql/&port=6000&schema=bez": {LedgerURL{Host: "/run/postgresql", Port: 6000, User: "b", Database: "nx", Schema: "bez", SSLMode: "disable"}, "postgres://b@/nx?host=/run/postgresql&port=6000&schema=bez"},
	} {
		got, err := parseLedgerURL(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want.url, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if want.printed == "" {
			want.printed = text
		}
		printed := got.(LedgerURL).String()
		if printed != want.printed {
			t.Errorf("%s is printed as %s", text, printed)
		}
		if again, err := parseLedgerURL(printed); err != nil || again != got {
			t.Errorf("%s, printed as %s, is read as %v, %v", text, printed, again, err)
		}
	}
}

func TestLedgerURLRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"SQLite":                                    `"SQLite" is neither sqlite nor a URL`,
		"/var/lib/ledger.db":                        "is neither sqlite nor a URL",
		"mysql://u:hunter2@h/d":                     `begins with "mysql"`,
		"sqlite:///x":                               `begins with "sqlite"`,
		"postgres:x":                                "names no user",
		"postgres://u:hunter2@h/d":                  "holds a password (not shown); take it out, and give the password with ledger-password-file, or as PostgreSQL's own programs take it: in PGPASSWORD",
		"postgres://u:@h/d":                         "holds a password",
		"postgres://u:hunter2%zz@h/d":               "is not a URL (not shown",
		"postgres://u:hunter2/x@h/d":                "is not a URL (not shown",
		"postgres://u@h/d?password=hunter2":         "has the parameter password (its value is not shown); take it out, and give the password with ledger-password-file",
		"postgres://u@h/d?sslpassword=hunter2":      "PGPASSFILE",
		"postgres://u@h/d?sslmod=disable":           "did you mean sslmode",
		"postgres://u@h/d?hunter2%zz":               "not shown",
		"postgres://u@h/d?search_path=a,b":          "write schema=NAME",
		"postgres://u@h/d?schema=a,b":               `"a,b"`,
		"postgres://u@h/d?schema=a&schema=b":        "twice",
		"postgres://u@h/d?schema=":                  "is empty",
		"postgres://u@h/d?schema=%zz":               "wrong escape",
		"postgres://u@h/d?sslmode=prefer":           "those that fall back to plain text by themselves are not taken",
		"postgres://u@127.0.0.1/d?sslrootcert=/x":   "names files for TLS, which is off",
		"postgres://u@h/d?sslrootcert=x":            "no absolute path",
		"postgres://u@h/d?sslcert=/x":               "one of sslcert and sslkey",
		"postgres://u@h/d?connect_timeout=0":        "1 to 60",
		"postgres://u@h/d?application_name=%27":     "application_name",
		"postgres://u@h/d?host=/run":                "has the parameter host",
		"postgres://u@/d?host=run":                  "has the parameter host",
		"postgres://u@/d?port=1":                    "has the parameter port",
		"postgres://u@/d?host=/run&sslmode=require": "asks for TLS on a Unix socket",
		"postgres://u@/d":                           "names no host",
		"postgres://h/d":                            "names no user",
		"postgres://u@h":                            "names no database",
		"postgres://u@h/":                           "names no database",
		"postgres://u@h/a/b":                        "names no database",
		"postgres://u@h/d#x":                        "fragment",
		"postgres://u@h,i/d":                        "several hosts",
		"postgres://u@h:0/d":                        "wrong port",
		"postgres://u@h:70000/d":                    "wrong port",
		"postgres://u@h/bzr_hunter2hunter2hunter2":  "holds a secret",
	} {
		v, err := parseLedgerURL(text)
		if err == nil {
			t.Errorf("%s is taken as %v", text, v)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
		leaks(t, "the problem", err.Error())
	}
}

// The password has every way that other secrets have, and is of no use without PostgreSQL.
func TestLedgerPassword(t *testing.T) {
	const database = "--ledger=postgres://b@db/nx"
	c, sources, err := load(t, []string{database, "--ledger-password-file=/secret"}, nil, disk{"/secret": planted + "\n"})
	if err != nil || c.LedgerPassword.Reveal() != planted {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := c.WriteYAML(&out, sources); err != nil {
		t.Fatal(err)
	}
	leaks(t, "the printed configuration", out.String()+c.String())
	if !strings.Contains(out.String(), "ledger-password-file: /secret") {
		t.Errorf("printed as\n%s", out.String())
	}
	for _, args := range [][]string{{"--ledger-password-file=/secret"}, {"--ledger=sqlite", "--ledger-password=" + planted}} {
		_, _, err := load(t, args, nil, disk{"/secret": planted})
		if err == nil || !strings.Contains(err.Error(), "means something only with a ledger in PostgreSQL; take it out, or name a database with ledger") {
			t.Errorf("%v: %v", args, err)
		}
	}
}
