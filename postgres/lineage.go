package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

const (
	// Index: lineage_pkey. Lock: none that others wait for. Promise: P9.
	lineageSQL = `
SELECT incarnations, servers, sinces, started, replica
FROM {{schema}}.lineage_v1()`

	// Lock: a row of lineage that two at once would both insert. Promise: P9.
	forkSQL = `SELECT {{schema}}.fork_v1($1)`
)

// life is which server holds the log, as last seen, and since when: the one is
// what readers go by, the other what a statement can check in passing.
type life struct {
	mu     sync.Mutex
	server string
	since  time.Time // zero: nothing is known
}

func (l *life) forget() { l.set("", time.Time{}) }

func (l *life) set(server string, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server, l.since = server, since
}

func (l *life) get() (string, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.server, l.since
}

// Lineage implements eventstore.Log. The first call on a server that has taken
// over begins a generation, if the server takes writes.
func (d *DB) Lineage(ctx context.Context) (eventstore.Lineage, error) {
	var (
		incarnations [][16]byte
		servers      []string
		sinces       []int64
		started      time.Time
		replica      bool
	)
	ctx, cancel := d.limit(ctx)
	defer cancel()
	err := d.pool.QueryRow(ctx, d.sql(lineageSQL)).Scan(&incarnations, &servers, &sinces, &started, &replica)
	if err != nil {
		return nil, fmt.Errorf("read lineage: %w", missing(late(ctx, err)))
	}
	l := make(eventstore.Lineage, len(servers))
	for i := range l {
		l[i] = eventstore.Generation{Incarnation: incarnations[i], Server: servers[i], Since: event.Position(sinces[i])}
	}
	l[len(l)-1].Replica = replica
	d.life.set(l.Now().Server, started)
	return l, nil
}

// since returns since when the server has been there that a caller goes by; zero
// if that is any.
func (d *DB) since(ctx context.Context, server string) (time.Time, error) {
	if server == "" || sabotage.NoLineage {
		return time.Time{}, nil
	}
	known, since := d.life.get()
	if known == server {
		return since, nil
	}
	if _, err := d.Lineage(ctx); err != nil {
		return time.Time{}, err
	}
	if known, since = d.life.get(); known != server {
		return time.Time{}, fmt.Errorf("held by %s, want %s: %w", known, server, eventstore.ErrOtherServer)
	}
	return since, nil
}

// Fork begins a new incarnation of the log, which holds what the present one held
// up to a position: what readers were given behind it is declared lost. Readers of
// topics that were given more stop with a *worker.DivergedError; those that were
// not go on. Operators call it, through annals doctor, when a relay has found that
// it published events which the log has lost.
func (d *DB) Fork(ctx context.Context, common event.Position) (eventstore.Lineage, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	var id [16]byte
	if err := d.pool.QueryRow(ctx, d.sql(forkSQL), int64(common)).Scan(&id); err != nil {
		return nil, fmt.Errorf("fork at position %d: %w", common, missing(late(ctx, err)))
	}
	return d.Lineage(ctx)
}

// otherServer names the sentinel if the server was found to be another one.
func otherServer(err error) error {
	if hasCode(err, codeOtherServer) {
		return fmt.Errorf("%w: %w", eventstore.ErrOtherServer, err)
	}
	return err
}

// ownSince is since for a mark. It asks nobody, because its caller holds a
// connection: who has a mark of a server has asked for the lineage before.
func (d *DB) ownSince(m worker.Mark) (*time.Time, error) {
	if !m.Own() || sabotage.NoLineage {
		return nil, nil //nolint:nilnil // no check, and no error
	}
	known, since := d.life.get()
	if known != m.Server {
		return nil, fmt.Errorf("held by %q, want %s: %w", known, m.Server, eventstore.ErrOtherServer)
	}
	return &since, nil
}
