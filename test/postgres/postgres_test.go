//go:build e2e

package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bezoar-cache/bezoar/test/postgres"
)

func TestServer(t *testing.T) {
	server := postgres.New(t)
	config, err := pgx.ParseConfig(server.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(password string, bound time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		config := config.Copy()
		config.Password = password
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return err
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(ctx, "CREATE TABLE IF NOT EXISTS t ()")
		return err
	}
	if err := ask(postgres.Password, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := ask("", time.Minute); err == nil {
		t.Fatal("let in without the password")
	}
	server.Pause(t)
	if err := ask(postgres.Password, 200*time.Millisecond); err == nil {
		t.Fatal("a paused server answers")
	}
	server.Resume(t)
	if err := ask(postgres.Password, time.Minute); err != nil {
		t.Fatal(err)
	}
	server.Stop(t)
	if err := ask(postgres.Password, time.Minute); err == nil {
		t.Fatal("a stopped server answers")
	}
	server.Restart(t)
	if err := ask(postgres.Password, time.Minute); err != nil {
		t.Fatal(err)
	}
}
