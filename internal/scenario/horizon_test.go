package scenario_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

// startServer starts a server for this test alone, with settings that others do
// not have.
func startServer(t *testing.T, opts ...devenv.Option) *devenv.Server {
	t.Helper()
	server, err := devenv.Postgres(t.Context(), append([]devenv.Option{devenv.WithOwnServer(), devenv.WithoutFsync()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// open begins a transaction and runs statements in it.
func open(t *testing.T, pool *pgxpool.Pool, level pgx.TxIsoLevel, statements ...string) pgx.Tx {
	t.Helper()
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	for _, sql := range statements {
		if _, err := tx.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	return tx
}

// holdersSQL names who holds readers back: the backend, or the prepared
// transaction, and the position from which on.
const holdersSQL = `
SELECT coalesce(l.pid, 0),
       coalesce(p.gid, ''),
       (l.classid::bigint & 65535) << 32 | l.objid::bigint
FROM pg_locks l
LEFT JOIN pg_locks x ON x.locktype = 'transactionid' AND x.virtualtransaction = l.virtualtransaction AND x.pid IS NULL
LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'advisory'
  AND l.objsubid = 1
  AND l.classid::bigint >> 16 > 0
  AND l.mode = 'ShareLock'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 3`

type holder struct {
	pid   int
	gid   string
	above event.Position
}

func holders(t *testing.T, pool *pgxpool.Pool) []holder {
	t.Helper()
	rows, err := pool.Query(t.Context(), holdersSQL)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h holder, err error) {
		err = row.Scan(&h.pid, &h.gid, (*int64)(&h.above))
		return h, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Transactions that have not appended hold no reader back, however long they
// are open and whatever they have written: other logs, which go by the oldest
// transaction of the whole server, stand still beside each of these.
func TestFaultBlockedHorizon(t *testing.T) {
	t.Parallel()
	server := startServer(t, devenv.WithSetting("max_prepared_transactions", "10"))
	pool := connect(t, server.URL, 24)
	if _, err := postgres.Migrate(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	run(t, pool, disturbance, `CREATE DATABASE neighbour`)
	config, err := pgxpool.ParseConfig(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Database = "neighbour"
	neighbour, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(neighbour.Close)
	run(t, neighbour, `CREATE TABLE elsewhere (n bigint)`)

	open(t, pool, "", `INSERT INTO elsewhere VALUES (1)`)
	open(t, neighbour, "", `INSERT INTO elsewhere VALUES (1)`)
	open(t, pool, pgx.RepeatableRead, `SET TRANSACTION READ ONLY`, `SELECT count(*) FROM annals.events`)
	open(t, pool, "", `INSERT INTO elsewhere VALUES (1)`, `PREPARE TRANSACTION 'unrelated'`)

	// The readers of the scenario must reach the head beside all of these.
	d, h := *timeFlag/2, oracle.New()
	ctx := bounded(t, d)
	stir(t, ctx, h, pool, seed(t), d)
	judge(t, ctx, h, pool, postgres.New(pool))
	if got := holders(t, pool); len(got) != 0 {
		t.Errorf("%+v hold readers back, want nobody", got)
	}
	run(t, pool, `ROLLBACK PREPARED 'unrelated'`)

	for _, end := range ends {
		held(t, pool, end)
	}
}

// end is a way in which a transaction that has appended ends.
type end struct {
	name    string
	prepare bool
	sql     string // run in another session; $pid is that of the transaction
	stored  bool
}

var ends = []end{
	{"commit", false, "", true},
	{"rollback", false, "", false},
	{"its session is terminated", false, `SELECT pg_terminate_backend($pid)`, false},
	{"a prepared one is committed", true, `COMMIT PREPARED 'held'`, true},
	{"a prepared one is rolled back", true, `ROLLBACK PREPARED 'held'`, false},
}

// held opens a transaction that appends. Delivery of what lies behind it stops,
// it can be seen that this is so and why, and delivery goes on by itself when it
// ends.
func held(t *testing.T, pool *pgxpool.Pool, end end) {
	t.Helper()
	ctx, db := t.Context(), postgres.New(pool)
	append1 := func(store eventstore.Store, id string) event.Position {
		t.Helper()
		res, err := store.Append(ctx, event.Stream{Category: "order", ID: id + " " + end.name}, eventstore.None(), event.Raw{Name: "order.held", Schema: 1, ContentType: "text/plain", Payload: []byte(id)})
		if err != nil {
			t.Fatalf("%s: %v", end.name, err)
		}
		return res.Position
	}
	head, err := db.Head(ctx)
	if err != nil {
		t.Fatal(err)
	}
	query := eventstore.LogQuery{After: head, Names: []string{"order.held"}}
	read := func(q eventstore.LogQuery) []string {
		t.Helper()
		out := []string{}
		for e, err := range eventstore.All(ctx, db, q) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(e.Payload))
		}
		return out
	}
	want := func(when string, want ...string) {
		t.Helper()
		for _, q := range []eventstore.LogQuery{query, {After: head}} {
			if diff := cmp.Diff(want, read(q)); diff != "" {
				t.Errorf("%s: %s: (-want +got)\n%s", end.name, when, diff)
			}
		}
	}

	before := append1(db, "before")
	tx := open(t, pool, "")
	append1(db.Tx(tx), "held")
	holder := holder{pid: int(tx.Conn().PgConn().PID()), above: before}
	if end.prepare {
		if _, err := tx.Exec(ctx, `PREPARE TRANSACTION 'held'`); err != nil {
			t.Fatal(err)
		}
		holder.pid, holder.gid = 0, "held"
	}
	append1(db, "behind")
	want("while it is open", "before")
	if got := holders(t, pool); len(got) != 1 || got[0] != holder {
		t.Errorf("%s: %+v hold readers back, want %+v", end.name, got, holder)
	}

	switch {
	case end.sql != "":
		run(t, pool, strings.ReplaceAll(end.sql, "$pid", fmt.Sprint(holder.pid)))
	case end.stored:
		err = tx.Commit(ctx)
	default:
		err = tx.Rollback(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	expect := []string{"before", "behind"}
	if end.stored {
		expect = []string{"before", "held", "behind"}
	}
	ended := time.Now()
	eventually(t, "delivery goes on after "+end.name, func() bool { return slices.Equal(read(query), expect) })
	t.Logf("%s: delivery goes on within %v", end.name, time.Since(ended).Round(time.Millisecond))
	want("in the end", expect...)
}
