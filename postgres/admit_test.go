package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestGate(t *testing.T) {
	t.Parallel()
	eventstoretest.RunGate(t, func(t *testing.T, g eventstore.Gate) eventstoretest.Target {
		pool := postgrestest.Pool(t)
		db := postgres.New(pool, postgres.WithGate(g))
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

type gateFunc func(ctx context.Context, events int) error

func (f gateFunc) Admit(ctx context.Context, events int) error { return f(ctx, events) }

// What the gate waits is of the time of the call, and it has no connection meanwhile.
func TestGateWaitsNoLongerThanTheCall(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	taken := int32(0)
	db := postgres.New(s.pool, postgres.WithCallTimeout(100*time.Millisecond), postgres.WithGate(gateFunc(func(ctx context.Context, _ int) error {
		taken += s.pool.Stat().AcquiredConns()
		<-ctx.Done()
		return ctx.Err()
	})))
	for what, call := range map[string]func() error{
		"append order-s": func() error {
			_, err := db.Append(s.ctx, order("s"), eventstore.Any(), note("x"))
			return err
		},
		"append all": func() error {
			_, err := db.AppendAll(s.ctx, eventstore.Write{Stream: order("s"), Events: []event.Raw{note("x")}})
			return err
		},
	} {
		err := call()
		if err == nil || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
			t.Errorf("%s = %v, want the end of its time", what, err)
		}
	}
	if taken != 0 {
		t.Errorf("%d connections were taken while the gate waited", taken)
	}
	s.want("refused")
}

func TestImportAsksNoGate(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t), postgres.WithGate(gateFunc(func(context.Context, int) error { return errors.New("asked") })))
	f := exported{events: 10, streams: 2}.checked(t)
	importAll(t, db, f)
	holdsFile(t, db, f)
}

func TestGateOfNone(t *testing.T) {
	t.Parallel()
	defer func() {
		if got := fmt.Sprint(recover()); got != "postgres: option WithGate: nil: want a gate" {
			t.Errorf("New panics with %s", got)
		}
	}()
	postgres.New(nil, postgres.WithGate(nil))
}
