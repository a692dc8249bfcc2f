package postgres_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

type (
	fact    interface{ isLamp() }
	on      struct{}
	lamp    struct{ on bool }
	turnOn  struct{}
	lampsDB = aggregate.Repository[lamp, fact]
)

func (on) isLamp() {}

func (lamp) Evolve(fact) lamp { return lamp{on: true} }

func (turnOn) Decide(l lamp) ([]fact, error) {
	if l.on {
		return nil, nil
	}
	return []fact{on{}}, nil
}

// turnOnWithNote appends and writes a row of the caller's own in one transaction.
func turnOnWithNote(ctx context.Context, pool *pgxpool.Pool, db *postgres.DB, lamps *lampsDB) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO notes VALUES ('hall is on')`); err != nil {
			return err
		}
		_, err := lamps.With(db.Tx(tx)).Execute(ctx, "hall", turnOn{})
		return err
	})
}

func TestCallersTransaction(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pool := postgrestest.Pool(t, `CREATE TABLE notes (note text)`)
	db := postgres.New(pool)
	lamps := aggregate.New[lamp](db, "lamp", codec.JSON(codec.Types[fact]{"lamp.on": on{}}))
	if err := turnOnWithNote(ctx, pool, db, lamps); err != nil {
		t.Fatal(err)
	}
	got, err := lamps.Load(ctx, "hall")
	if err != nil || !got.State.on {
		t.Errorf("Load = %+v, %v, want it on", got, err)
	}
	failure := fmt.Errorf("the caller changes its mind")
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := lamps.With(db.Tx(tx)).Execute(ctx, "cellar", turnOn{}); err != nil {
			return err
		}
		return failure
	})
	if err != failure { //nolint:errorlint // as it is
		t.Errorf("BeginFunc = %v, want %v", err, failure)
	}
	var notes int
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM notes`).Scan(&notes); err != nil || notes != 1 {
		t.Errorf("%d notes, %v, want 1", notes, err)
	}
	if got, err := lamps.Load(ctx, "cellar"); err != nil || got.State.on {
		t.Errorf("Load = %+v, %v, want it off: the transaction rolled back", got, err)
	}
}
