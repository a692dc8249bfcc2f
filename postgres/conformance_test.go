package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker/workertest"
)

func TestEventStore(t *testing.T) {
	t.Parallel()
	eventstoretest.Run(t, func(t *testing.T) eventstoretest.Target {
		pool := postgrestest.Pool(t)
		db := postgres.New(pool, postgres.WithPollInterval(2*time.Millisecond))
		return eventstoretest.Target{
			Store: db,
			Begin: func(ctx context.Context) (eventstoretest.Tx, error) {
				tx, err := pool.BeginTx(ctx, pgx.TxOptions{})
				if err != nil {
					return eventstoretest.Tx{}, err
				}
				return eventstoretest.Tx{Store: db.Tx(tx), Commit: tx.Commit, Rollback: tx.Rollback}, nil
			},
		}
	})
}

func TestWorkerStore(t *testing.T) {
	t.Parallel()
	workertest.Run(t, func(t *testing.T) workertest.Target[pgx.Tx] {
		db := postgres.New(postgrestest.Pool(t))
		return workertest.Target[pgx.Tx]{Store: db, Tx: db.Tx}
	})
}
