package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
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
		elsewhere, err := pgxpool.New(t.Context(), pool.Config().ConnString())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(elsewhere.Close)
		return eventstoretest.Target{
			Store:     db,
			Elsewhere: postgres.New(elsewhere, postgres.WithoutNotify()), // so that no hint arrives
			SetClock: func(t *testing.T, offset time.Duration) {
				_, err := pool.Exec(t.Context(), fmt.Sprintf(
					`ALTER TABLE annals.events ALTER COLUMN recorded_at SET DEFAULT clock_timestamp() + interval '%d seconds'`, int(offset.Seconds())))
				if err != nil {
					t.Fatal(err)
				}
			},
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
		pool := postgrestest.Pool(t)
		db := postgres.New(pool)
		return workertest.Target[pgx.Tx]{Store: db, Tx: db.Tx, Pass: pass(t, pool)}
	})
}

func TestWorkerStoreAsService(t *testing.T) {
	t.Parallel()
	workertest.Run(t, func(t *testing.T) workertest.Target[pgx.Tx] {
		admin := postgrestest.Pool(t)
		db := postgres.New(postgrestest.Service(t, admin))
		return workertest.Target[pgx.Tx]{Store: db, Tx: db.Tx, Pass: pass(t, admin)}
	})
}

// pass makes every lease end earlier.
func pass(t *testing.T, pool *pgxpool.Pool) func(time.Duration) {
	return func(by time.Duration) {
		for _, table := range []string{"terms", "members"} {
			do(t, pool, `UPDATE annals.`+table+` SET lease_until = lease_until - $1::interval`, by)
		}
	}
}

func TestContracts(t *testing.T) {
	t.Parallel()
	bustest.RunContracts(t, func(t *testing.T) bus.Contracts {
		return postgres.New(postgrestest.Service(t, postgrestest.Pool(t), postgres.RoleWork))
	})
}

func TestInbox(t *testing.T) {
	t.Parallel()
	bustest.RunInbox(t, func(t *testing.T) bustest.InboxTarget[pgx.Tx] {
		admin := postgrestest.Pool(t)
		return bustest.InboxTarget[pgx.Tx]{
			Store: postgres.New(postgrestest.Service(t, admin, postgres.RoleWork)),
			Now: func() (now time.Time) {
				if err := admin.QueryRow(t.Context(), `SELECT clock_timestamp()`).Scan(&now); err != nil {
					t.Error(err)
				}
				return now
			},
		}
	})
}
