package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
)

// lab is where workloads run, and how much of everything there is.
type lab struct {
	url    string // a server on which databases may be created
	prefix string // of their names
	made   atomic.Int64

	conns    int // most connections of one side
	events   int // to read from
	inOne    int // appends in one transaction
	inTwelve int // appends in each of twelve transactions
}

func newLab(server string) *lab {
	return &lab{url: server, prefix: "annals_bench_", conns: 64, events: 100_000, inOne: 60_000, inTwelve: 2_000}
}

// database is one of a lab's own, with the pools on it.
type database struct {
	lab   *lab
	name  string
	url   string
	pools []*pgxpool.Pool
}

func (l *lab) create(ctx context.Context) (*database, error) {
	name := fmt.Sprintf("%s%d", l.prefix, l.made.Add(1))
	if err := l.admin(ctx, "CREATE DATABASE "+name); err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	u, err := url.Parse(l.url)
	if err != nil {
		return nil, fmt.Errorf("create database: %w", err)
	}
	u.Path = "/" + name
	return &database{lab: l, name: name, url: u.String()}, nil
}

func (l *lab) admin(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, l.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// drop ends the database, also after ctx has ended. What it cannot drop goes
// with the server.
func (d *database) drop(ctx context.Context) {
	for _, p := range d.pools {
		p.Close()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_ = d.lab.admin(ctx, "DROP DATABASE IF EXISTS "+d.name+" WITH (FORCE)")
}

// dropUnless is for the one who opens a trial: what did not open is dropped.
func (d *database) dropUnless(ctx context.Context, err *error) {
	if *err != nil {
		d.drop(ctx)
	}
}

// pool returns a pool of at most so many connections. Each side has its own, so
// that no side finds the connections of another.
func (d *database) pool(ctx context.Context, conns int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(d.url)
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(min(conns, d.lab.conns))
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	d.pools = append(d.pools, p)
	return p, nil
}

// annals migrates the database and returns a store on a pool of its own.
func (d *database) annals(ctx context.Context, conns int, opts ...postgres.Option) (*postgres.DB, *pgxpool.Pool, error) {
	pool, err := d.pool(ctx, conns)
	if err != nil {
		return nil, nil, err
	}
	if _, err := postgres.Migrate(ctx, pool, opts...); err != nil {
		return nil, nil, err
	}
	return postgres.New(pool, opts...), pool, nil
}

// as returns a store of the database whose connections have the rights of a role,
// and what drops the roles again, when the database is gone.
func (d *database) as(ctx context.Context, role postgres.Role, conns int) (*postgres.DB, func(context.Context), error) {
	prefix := postgres.WithRolePrefix(d.name)
	admin, err := d.pool(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	if err := postgres.GrantRoles(ctx, admin, prefix); err != nil {
		return nil, nil, err
	}
	drop := func(ctx context.Context) {
		for _, r := range []postgres.Role{postgres.RoleRead, postgres.RoleAppend, postgres.RoleWork, postgres.RoleImport, postgres.RoleOwner} {
			if name, err := postgres.RoleName(r, prefix); err == nil {
				_ = d.lab.admin(context.WithoutCancel(ctx), "DROP ROLE IF EXISTS "+name)
			}
		}
	}
	name, err := postgres.RoleName(role, prefix)
	if err != nil {
		return nil, drop, err
	}
	cfg := admin.Config()
	cfg.MaxConns = int32(min(conns, d.lab.conns))
	cfg.ConnConfig.RuntimeParams["role"] = name
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, drop, err
	}
	d.pools = append(d.pools, pool)
	return postgres.New(pool), drop, nil
}

// byHand creates a table and returns a pool of its own.
func (d *database) byHand(ctx context.Context, conns int, table string) (*pgxpool.Pool, error) {
	pool, err := d.pool(ctx, conns)
	if err != nil {
		return nil, err
	}
	return pool, createByHand(ctx, pool, table)
}

// settle leaves both sides the same start: statistics, hint bits, and no dirty
// page. Tables that are only read would otherwise be vacuumed in the middle of
// one side's turn.
func settle(ctx context.Context, pool *pgxpool.Pool) error {
	if _, err := pool.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return err
	}
	_, err := pool.Exec(ctx, "CHECKPOINT")
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" {
		return nil // a server that tests share; no figure comes from there
	}
	return err
}

// holds compares the rows of a table with the events that were answered.
func holds(ctx context.Context, pool *pgxpool.Pool, table string, want int64) error {
	var got int64
	if err := pool.QueryRow(ctx, "SELECT count(*) FROM "+table).Scan(&got); err != nil {
		return fmt.Errorf("count %s: %w", table, err)
	}
	if got != want {
		return fmt.Errorf("count %s: it has %d events, %d were answered", table, got, want)
	}
	return nil
}
