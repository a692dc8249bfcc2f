package scenario_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/devenv"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

// replayed waits until the replica has what the primary has now.
func replayed(t *testing.T, primary, replica *pgxpool.Pool) {
	t.Helper()
	var now string
	if err := primary.QueryRow(t.Context(), `SELECT pg_current_wal_insert_lsn()::text`).Scan(&now); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica has replayed "+now, func() bool {
		var there bool
		err := replica.QueryRow(t.Context(), `SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)`, now).Scan(&there)
		return err == nil && there
	})
}

// publishing publishes the mark until the function that it returns is called.
func publishing(t *testing.T, db *postgres.DB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- db.PublishMark(ctx, 5*time.Millisecond) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("PublishMark = %v", err)
		}
	}
}

// A replica does not show who may still write. Readers of it deliver what has no
// hole, wait at a hole for the mark that the primary publishes, and skip nothing;
// after a promotion they go on where they were.
func TestFaultReplica(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	primaryServer := startServer(t, devenv.WithSetting("wal_level", "replica"), devenv.WithSetting("max_wal_senders", "4"))
	primary := connect(t, primaryServer.URL, 24)
	script := postgres.WithSchema("script") // a store of its own: the oracle wants to know every event of the other
	for _, opts := range [][]postgres.Option{nil, {script}} {
		if _, err := postgres.Migrate(ctx, primary, opts...); err != nil {
			t.Fatal(err)
		}
	}
	run(t, primary, disturbance)
	replica := connect(t, startServer(t, devenv.WithPrimary(primaryServer.URL)).URL, 24)
	db, copied := postgres.New(primary), postgres.New(replica, postgres.WithPollInterval(5*time.Millisecond))

	waitsForTheMark(t, primary, replica, postgres.New(primary, script), postgres.New(replica, script))
	refusesWrites(t, copied)

	// Late commits, rollbacks and open transactions on the primary, and all
	// readers on the replica.
	d, h := *timeFlag/2, oracle.New()
	bound := bounded(t, d)
	stop := publishing(t, db)
	readers := stirred(t, bound, h, primary, db, copied, postgres.New(replica, postgres.WithPollInterval(20*time.Millisecond)),
		func() { replayed(t, primary, replica) }, seed(t), d)

	// The primary is lost, and the replica takes its place.
	stop()
	primary.Close()
	if err := primaryServer.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, replica, `SELECT pg_promote()`)
	stir(t, bound, h, replica, seed(t)+1, d/4)
	for i, f := range readers {
		if err := f.toHead(bound); err != nil {
			t.Errorf("reader %d, after the promotion: %v", i, err)
		}
	}
	judge(t, bound, h, replica, copied)
}

// waitsForTheMark plays it step by step.
func waitsForTheMark(t *testing.T, primary, replica *pgxpool.Pool, db, copied *postgres.DB) {
	t.Helper()
	ctx := t.Context()
	write := func(store eventstore.Store, id string) {
		t.Helper()
		e := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"}
		if _, err := store.Append(ctx, event.Stream{Category: "order", ID: id}, eventstore.None(), e); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, all, named []string) {
		t.Helper()
		replayed(t, primary, replica)
		for _, c := range []struct {
			query eventstore.LogQuery
			want  []string
		}{{eventstore.LogQuery{}, all}, {eventstore.LogQuery{Names: []string{"order.noted"}}, named}} {
			got := []string{}
			for e, err := range eventstore.All(ctx, copied, c.query) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Stream.ID)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s, %+v: (-want +got)\n%s", when, c.query, diff)
			}
		}
	}
	none := []string{}
	write(db, "a")
	write(db, "b")
	want("no hole, no mark", []string{"a", "b"}, none)
	tx := open(t, primary, "")
	write(db.Tx(tx), "open")
	write(db, "c")
	want("behind an open append", []string{"a", "b"}, none)
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	want("at a hole, no mark", []string{"a", "b"}, none)
	unpublished := `check schema script: the published mark is 0, want a position, because this server is a replica: run PublishMark on the primary, or read there`
	if err := copied.Check(ctx); err == nil || err.Error() != unpublished {
		t.Errorf("Check = %v\nwant    %s", err, unpublished)
	}
	stop := publishing(t, db)
	eventually(t, "the mark covers everything", func() bool {
		var p event.Position
		err := primary.QueryRow(ctx, `SELECT position FROM script.published_mark`).Scan((*int64)(&p))
		return err == nil && p == 4
	})
	want("at a hole, with the mark", []string{"a", "b", "c"}, []string{"a", "b", "c"})
	tx = open(t, primary, "")
	write(db.Tx(tx), "d")
	write(db, "e")
	want("behind an open append, with the mark", []string{"a", "b", "c"}, []string{"a", "b", "c"})
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the mark has moved", func() bool {
		var p event.Position
		err := primary.QueryRow(ctx, `SELECT position FROM script.published_mark`).Scan((*int64)(&p))
		return err == nil && p == 6
	})
	all := []string{"a", "b", "c", "d", "e"}
	want("in the end", all, all)
	if err := copied.Check(ctx); err != nil {
		t.Errorf("Check = %v, want nil: the mark is published", err)
	}
	stop()
}

func refusesWrites(t *testing.T, copied *postgres.DB) {
	t.Helper()
	ctx := t.Context()
	if err := copied.PublishMark(ctx, time.Hour); !errors.Is(err, postgres.ErrReplica) {
		t.Errorf("PublishMark = %v, want ErrReplica", err)
	}
	w := eventstore.Write{Stream: event.Stream{Category: "order", ID: "x"}, Events: []event.Raw{{Name: "order.noted", Schema: 1, ContentType: "text/plain"}}}
	_, err := copied.Append(ctx, w.Stream, w.Expect, w.Events...)
	_, allErr := copied.AppendAll(ctx, w)
	for _, err := range []error{err, allErr} {
		if !errors.Is(err, postgres.ErrReplica) || errors.Is(err, eventstore.ErrOutcomeUnknown) || !strings.HasPrefix(err.Error(), "append order-x: this server is a replica, or the session read-only: ") {
			t.Errorf("an append to a replica: %v, want ErrReplica", err)
		}
	}
}
