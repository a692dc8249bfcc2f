package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

func TestClassifyCodes(t *testing.T) {
	t.Parallel()
	db := postgres.New(nil)
	for code, want := range map[string]worker.Class{
		"08006": worker.ClassSystemic, "57P01": worker.ClassSystemic, "57P03": worker.ClassSystemic, "53300": worker.ClassSystemic, "53100": worker.ClassSystemic,
		"40001": worker.ClassSystemic, "40P01": worker.ClassSystemic, "55P03": worker.ClassSystemic, "25P03": worker.ClassSystemic, "25006": worker.ClassSystemic,
		"42P01": worker.ClassSystemic, "42703": worker.ClassSystemic, "42501": worker.ClassSystemic, "3F000": worker.ClassSystemic, "42883": worker.ClassSystemic,
		"28P01": worker.ClassSystemic, "3D000": worker.ClassSystemic, "58030": worker.ClassSystemic, "AN001": worker.ClassSystemic,
		"22003": worker.ClassPermanent, "22P02": worker.ClassPermanent, "23502": worker.ClassPermanent, "23514": worker.ClassPermanent,
		"23505": worker.ClassTransient, "23503": worker.ClassTransient, "23P01": worker.ClassTransient, "57014": worker.ClassTransient, "P0001": worker.ClassTransient, "42601": worker.ClassTransient,
	} {
		if got := db.Classify(fmt.Errorf("apply: %w", &pgconn.PgError{Code: code})); got != want {
			t.Errorf("%s is %v, want %v", code, got, want)
		}
	}
	canceled := &pgconn.PgError{Code: "57014"}
	for _, tt := range []struct {
		err  error
		want worker.Class
	}{
		{nil, worker.Unclassified},
		{errors.New("handler"), worker.Unclassified},
		{context.Canceled, worker.Unclassified},
		{context.DeadlineExceeded, worker.Unclassified},
		{io.ErrUnexpectedEOF, worker.Unclassified}, // of a payload that was cut short
		{fmt.Errorf("x: %w", worker.ErrFenced), worker.Unclassified},
		{&worker.AlteredError{}, worker.Unclassified},
		{fmt.Errorf("%w: %w", context.DeadlineExceeded, canceled), worker.ClassSystemic},
		{fmt.Errorf("x: %w", postgres.ErrNotMigrated), worker.ClassSystemic},
		{fmt.Errorf("x: %w", postgres.ErrReplica), worker.ClassSystemic},
		{fmt.Errorf("x: %w", eventstore.ErrOutcomeUnknown), worker.ClassSystemic},
		{fmt.Errorf("x: %w", eventstore.ErrOtherServer), worker.ClassSystemic},
		{fmt.Errorf("x: %w", &net.OpError{Op: "dial", Err: errors.New("refused")}), worker.ClassSystemic},
		{fmt.Errorf("x: %w", pgconn.ErrConnClosed), worker.ClassSystemic},
	} {
		if got := db.Classify(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
}

// What the driver says of a server that is not there, or goes away.
func TestClassifyWhatHappens(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	wantSystemic := func(what string, err error) {
		t.Helper()
		if got := s.db.Classify(err); err == nil || got != worker.ClassSystemic {
			t.Errorf("%s: %v is %v, want systemic", what, err, got)
		}
	}
	for what, way := range map[string]func(tx pgx.Tx){
		"ended by the server": func(tx pgx.Tx) {
			s.exec(`SELECT pg_terminate_backend($1, 10000)`, int32(tx.Conn().PgConn().PID()))
		},
		"cut": func(tx pgx.Tx) { s.end(tx.Conn().PgConn().Conn().Close()) },
	} {
		for _, later := range []bool{false, true} {
			err := s.db.Advance(s.ctx, "totals", worker.Term{}, "", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
				way(tx)
				if later {
					return worker.Write{Marks: worker.Checkpoint{"": at}}, nil
				}
				_, err := tx.Exec(ctx, `SELECT 1`)
				return worker.Write{}, err
			})
			wantSystemic(what, err)
		}
	}
	pool := s.another(1)
	pool.Close()
	_, err := postgres.New(pool).Head(s.ctx)
	wantSystemic("a closed pool", err)
	nowhere, err := pgxpool.New(s.ctx, "postgres://127.0.0.1:1/none?connect_timeout=5")
	s.end(err)
	defer nowhere.Close()
	_, err = postgres.New(nowhere).Head(s.ctx)
	wantSystemic("no server", err)
	single := s.another(1)
	held, err := single.Acquire(s.ctx)
	s.end(err)
	defer held.Release()
	_, err = postgres.New(single, postgres.WithCallTimeout(100*time.Millisecond)).Head(s.ctx)
	wantSystemic("no connection in time", err)
	_, err = postgres.New(s.pool, postgres.WithSchema("elsewhere")).Head(s.ctx)
	wantSystemic("no schema", err)
	_, err = s.pool.Exec(s.ctx, `SELECT 'x'::int`)
	if got := s.db.Classify(err); got != worker.ClassPermanent {
		t.Errorf("%v is %v, want permanent", err, got)
	}
}

// eofConn is a connection whose other end is closed when ended says so.
type eofConn struct {
	net.Conn
	ended *atomic.Bool
}

func (c eofConn) Read(b []byte) (int, error) {
	if c.ended.Load() {
		return 0, io.EOF
	}
	return c.Conn.Read(b)
}

// The driver says of a connection that was closed what a decoder says of a payload
// that was cut short; the store knows which it is.
func TestClassifyAConnectionThatWasClosed(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	var ended atomic.Bool
	config := s.pool.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return eofConn{conn, &ended}, err
	}
	pool, err := pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	t.Cleanup(pool.Close)
	db := postgres.New(pool)
	_, err = db.Head(s.ctx)
	s.end(err)
	ended.Store(true)
	_, err = db.Head(s.ctx)
	if got := db.Classify(err); !errors.Is(err, io.ErrUnexpectedEOF) || got != worker.ClassSystemic {
		t.Errorf("%v is %v, want systemic", err, got)
	}
}
