// Package postgrestest gives each test a migrated database of its own, on a
// real Postgres.
//
// # Usage
//
//	func TestTotals(t *testing.T) {
//		pool := postgrestest.Pool(t, `CREATE TABLE totals (...)`)
//		db := postgres.New(pool)
//		...
//	}
//
// The server is the one that the environment variable DATABASE_URL names (its
// user must have the right to create databases), else a throw-away server that
// the first test of the process starts from the machine's Postgres binaries and
// that ends with the process. It keeps nothing safe from a crash of its own, so
// commits are fast.
//
// Annals' migrations and the given SQL run once into a template database, named
// by a hash of them; each test gets a clone of it, within tens of milliseconds,
// and the clone is dropped when the test ends. On the server of DATABASE_URL the
// templates, annals_template_*, stay for the next run; drop them as you like.
//
// # Failure
//
// When no server can be had the test fails, with a line that says what to
// install or set. It is never skipped: a skipped database test proves nothing.
package postgrestest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/postgres"
)

// server is shared by the tests of a process. It ends with the process: devenv
// promises that.
var server = sync.OnceValues(func() (*devenv.Server, error) {
	return devenv.Postgres(context.Background(), devenv.WithoutFsync())
})

// Pool returns a pool on a fresh database that has Annals' schema and then the
// given SQL, such as a service's own tables. The pool is closed and the
// database dropped when the test ends. It is safe to call from parallel tests.
func Pool(t testing.TB, sql ...string) *pgxpool.Pool {
	t.Helper()
	return open(t, URL(t, sql...))
}

// URL is Pool for tests that connect by themselves, such as those of a command.
func URL(t testing.TB, sql ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	s, err := server()
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	name := fmt.Sprintf("annals_test_%d_%s", time.Now().Unix(), rand.Text()[:10])
	name = strings.ToLower(name)
	err = admin(ctx, s.URL, func(conn *pgx.Conn) error {
		template, err := ensureTemplate(ctx, s.URL, conn, sql)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, `CREATE DATABASE `+name+` TEMPLATE `+template)
		return err
	})
	if err != nil {
		t.Fatalf("postgrestest: create database: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		err := admin(ctx, s.URL, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`)
			return err
		})
		if err != nil {
			t.Errorf("postgrestest: drop database: %v", err)
		}
	})
	url, err := withDatabase(s.URL, name)
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	return url
}

func open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func admin(ctx context.Context, url string, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return fn(conn)
}

// templateLock makes template builders of all processes take turns. It is held
// on the administration connection and ends with it.
const templateLock = 0x616e6e616c73 // "annals"

// ensureTemplate builds the template database unless it is there. One that a
// killed process left half-built has another name, so it is never cloned.
func ensureTemplate(ctx context.Context, url string, conn *pgx.Conn, sql []string) (string, error) {
	hash, err := fingerprint(sql)
	if err != nil {
		return "", err
	}
	name := "annals_template_" + hash
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, templateLock); err != nil {
		return "", err
	}
	defer func() { _, _ = conn.Exec(ctx, `SELECT pg_advisory_unlock($1)`, templateLock) }()
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil || exists {
		return name, err
	}
	if err := dropStale(ctx, conn); err != nil {
		return "", err
	}
	building := name + "_building"
	for _, statement := range []string{`DROP DATABASE IF EXISTS ` + building + ` WITH (FORCE)`, `CREATE DATABASE ` + building} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return "", err
		}
	}
	if err := build(ctx, url, building, sql); err != nil {
		return "", fmt.Errorf("build template: %w", err)
	}
	_, err = conn.Exec(ctx, `ALTER DATABASE `+building+` RENAME TO `+name)
	return name, err
}

func build(ctx context.Context, url, name string, sql []string) error {
	url, err := withDatabase(url, name)
	if err != nil {
		return err
	}
	return admin(ctx, url, func(conn *pgx.Conn) error {
		if _, err := postgres.Migrate(ctx, conn); err != nil {
			return err
		}
		for _, s := range sql {
			if _, err := conn.Exec(ctx, s); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropStale removes the clones of processes that were killed: those older than
// an hour that nobody is connected to.
func dropStale(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, `
SELECT d.datname
FROM pg_database d
WHERE d.datname ~ '^annals_test_[0-9]{1,12}_'
  AND split_part(d.datname, '_', 3)::bigint < extract(epoch FROM now()) - 3600
  AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		_, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS `+pgx.Identifier{name}.Sanitize())
		var pg *pgconn.PgError
		if errors.As(err, &pg) && pg.Code == "55006" {
			continue // somebody has connected meanwhile
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func fingerprint(sql []string) (string, error) {
	migrations, err := postgres.Migrations()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, m := range migrations {
		fmt.Fprintf(h, "%d %s\x00%s\x00", m.Version, m.Name, m.SQL)
	}
	for _, s := range sql {
		fmt.Fprintf(h, "%s\x00", s)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}
