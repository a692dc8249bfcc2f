package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// A session that may not write stands for a replica, which answers the same.
func TestWritesToAReplica(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := postgres.New(pool)
	tx, err := pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	w := eventstore.Write{Stream: order("s"), Events: []event.Raw{note("x")}}
	_, single := db.Append(ctx, w.Stream, w.Expect, w.Events...)
	_, several := db.AppendAll(ctx, w)
	_, within := db.Tx(tx).Append(ctx, w.Stream, w.Expect, w.Events...)
	const said = ": this server is a replica, or the session read-only: "
	for prefix, err := range map[string]error{"publish mark": db.PublishMark(ctx, time.Hour), "append order-s": single} {
		if !errors.Is(err, postgres.ErrReplica) || !strings.HasPrefix(err.Error(), prefix+said) {
			t.Errorf("%v, want ErrReplica", err)
		}
	}
	for _, err := range []error{single, several, within} {
		if !errors.Is(err, postgres.ErrReplica) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Errorf("%v, want ErrReplica", err)
		}
	}
	if page, err := db.ReadLog(ctx, eventstore.LogQuery{}); err != nil || len(page.Events) != 0 {
		t.Errorf("ReadLog = %+v, %v", page, err)
	}
}
