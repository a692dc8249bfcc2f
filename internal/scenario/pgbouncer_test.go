package scenario_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker/workertest"
)

// startPgBouncer starts a pooler in front of the server that a URL names. There
// are fewer connections behind it than callers in front of it.
func startPgBouncer(t *testing.T, url string) *devenv.Server {
	t.Helper()
	settings := map[string]string{"default_pool_size": "6", "max_client_conn": "2000"}
	bouncer, err := devenv.PgBouncer(t.Context(), url, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bouncer.Close(); err != nil {
			t.Error(err)
		}
	})
	return bouncer
}

// through connects to a database of the server behind the pooler.
func through(t *testing.T, bouncer *devenv.Server, direct string, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	u, err := url.Parse(bouncer.URL)
	if err != nil {
		t.Fatal(err)
	}
	behind, err := pgx.ParseConfig(direct)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + behind.Database
	config, err := pgxpool.ParseConfig(u.String())
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 24
	config.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// The modes that docs/pgbouncer.md says work.
var documentedModes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// Through PgBouncer in transaction mode, in each mode of pgx that the guide names:
// the conformance suites, and writers and readers that the oracle judges.
func TestFaultPgBouncer(t *testing.T) {
	t.Parallel()
	bouncer := startPgBouncer(t, postgrestest.URL(t))
	for _, mode := range documentedModes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			t.Run("stir", func(t *testing.T) {
				direct, d := postgrestest.URL(t, disturbance), *timeFlag/4
				pool, ctx, h := through(t, bouncer, direct, mode), bounded(t, d), oracle.New()
				stir(t, ctx, h, pool, seed(t), d)
				judge(t, ctx, h, connect(t, direct, 4), postgres.New(pool))
			})
			t.Run("store", func(t *testing.T) {
				eventstoretest.Run(t, func(t *testing.T) eventstoretest.Target {
					pool := through(t, bouncer, postgrestest.URL(t), mode)
					db := postgres.New(pool, postgres.WithPollInterval(2*time.Millisecond), postgres.WithoutNotify())
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
			})
			t.Run("worker", func(t *testing.T) {
				workertest.Run(t, func(t *testing.T) workertest.Target[pgx.Tx] {
					pool := through(t, bouncer, postgrestest.URL(t), mode)
					db := postgres.New(pool)
					return workertest.Target[pgx.Tx]{Store: db, Tx: db.Tx, Pass: func(by time.Duration) {
						for _, table := range []string{"terms", "members"} {
							if _, err := pool.Exec(t.Context(), `UPDATE annals.`+table+` SET lease_until = lease_until - $1::interval`, by); err != nil {
								t.Fatal(err)
							}
						}
					}}
				})
			})
			t.Run("the rest", func(t *testing.T) { everyCall(t, through(t, bouncer, postgrestest.URL(t), mode)) })
		})
	}
}

// everyCall makes the calls that the suites do not make.
func everyCall(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	ctx, db := t.Context(), postgres.New(pool, postgres.WithSchema("another"))
	applied, err := postgres.Migrate(ctx, pool, postgres.WithSchema("another"))
	if err != nil || len(applied) == 0 {
		t.Fatalf("Migrate = %v, %v", applied, err)
	}
	if err := db.Check(ctx); err != nil {
		t.Error(err)
	}
	order := event.Stream{Category: "order", ID: "o-1"}
	before := time.Now().Add(-time.Hour)
	if _, err := db.Append(ctx, order, eventstore.None(), event.Raw{Name: "order.placed", Schema: 1, ContentType: "text/plain", Payload: []byte{0, 1, 0xff, '\\', '\''}}); err != nil {
		t.Fatal(err)
	}
	streams, err := db.Streams(ctx, postgres.StreamsQuery{Prefix: "order-"})
	if err != nil || len(streams) != 1 || streams[0].Stream != order {
		t.Errorf("Streams = %+v, %v", streams, err)
	}
	for at, want := range map[time.Time]event.Position{before: 0, before.Add(2 * time.Hour): 1} {
		if p, err := db.PositionBefore(ctx, at); err != nil || p != want {
			t.Errorf("PositionBefore = %d, %v, want %d", p, err, want)
		}
	}
	published, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- db.PublishMark(published, time.Millisecond) }()
	eventually(t, "the mark is published", func() bool {
		var p int64
		err := pool.QueryRow(ctx, `SELECT position FROM another.published_mark`).Scan(&p)
		return err == nil && p == 1
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("PublishMark = %v", err)
	}
}

// The default mode of pgx names its prepared statements, and a pooler in
// transaction mode before version 1.21 hands the next transaction to a session
// that does not know them. Newer ones may be configured for it, so the failure
// is told, and not required.
func TestFaultPgBouncerCacheStatement(t *testing.T) {
	t.Parallel()
	direct := postgrestest.URL(t)
	db := postgres.New(through(t, startPgBouncer(t, direct), direct, pgx.QueryExecModeCacheStatement))
	codes := map[string]int{}
	for i := range 300 {
		s := event.Stream{Category: "order", ID: fmt.Sprint(i)}
		done := make(chan error, 4)
		for range cap(done) {
			go func() {
				_, err := db.Append(t.Context(), s, eventstore.Any(), event.Raw{Name: "order.placed", Schema: 1, ContentType: "text/plain"})
				done <- err
			}()
		}
		for range cap(done) {
			code := "ok"
			if err := <-done; err != nil {
				code = err.Error()[strings.LastIndex(err.Error(), "SQLSTATE"):]
			}
			codes[code]++
		}
	}
	t.Log(codes)
	stored := 0
	rows := connect(t, direct, 1)
	if err := rows.QueryRow(t.Context(), `SELECT count(*) FROM annals.events`).Scan(&stored); err != nil || stored != codes["ok"] {
		t.Errorf("%d events are stored, %v, want the %d that were acknowledged", stored, err, codes["ok"])
	}
}
