//go:build e2e

package purge_test

import (
	"testing"

	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/test/postgres"
)

var moreDatabases = []database{{"PostgreSQL", func(t *testing.T) (*ledger.Ledger, error) {
	server := postgres.New(t)
	name, err := server.MakeDatabase(t.Context())
	if err != nil {
		return nil, err
	}
	return ledger.OpenPostgres(t.Context(), ledger.Postgres{
		Host: "127.0.0.1", Port: uint16(server.Port), User: postgres.Role, Password: postgres.Password, Database: name, SSLMode: "disable",
	})
}}}
