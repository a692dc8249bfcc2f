package postgres_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

// Poolers need other modes than that of pgx by default: some do not ask the
// server for the types of arguments, and some send and receive text.
func TestEveryModeOfPgx(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			config, err := pgxpool.ParseConfig(postgrestest.URL(t))
			if err != nil {
				t.Fatal(err)
			}
			config.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(ctx, config)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(pool.Close)
			db := postgres.New(pool)
			if err := db.Check(ctx); err != nil {
				t.Error(err)
			}

			if page, err := db.ReadLog(ctx, eventstore.LogQuery{Limit: math.MaxInt}); err != nil || page.Next != 0 {
				t.Errorf("empty log: %+v, %v", page, err)
			}
			odd := note("quotes ' \" \\ $1 {,}")
			odd.Payload = []byte("\x00\xff\\'{\",}")
			odd.Metadata.Actor = "Zo\u00eb ' \\ \x00"
			odd.Metadata.Extra = map[string]string{"k": "v"}
			empty := note("")
			empty.Payload = nil
			if _, err := db.Append(ctx, order("a'\\\""), eventstore.None(), odd, empty); err != nil {
				t.Fatal(err)
			}
			_, err = db.AppendAll(ctx,
				eventstore.Write{Stream: order("b"), Expect: eventstore.None(), Events: []event.Raw{note("1")}},
				eventstore.Write{Stream: order("a'\\\""), Expect: eventstore.Exactly(2), Events: []event.Raw{note("2")}})
			if err != nil {
				t.Fatal(err)
			}
			err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				if _, err := db.Tx(tx).Append(ctx, order("b"), eventstore.None(), note("conflict")); !errors.Is(err, eventstore.ErrConflict) {
					t.Errorf("Append = %v, want ErrConflict", err)
				}
				_, err := db.Tx(tx).Append(ctx, order("b"), eventstore.Exists(), note("3"))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			for name, q := range map[string]eventstore.LogQuery{
				"all": {}, "by name": {Names: []string{"order.noted"}}, "by category": {Categories: []string{"order"}},
			} {
				page, err := db.ReadLog(ctx, q)
				if err != nil || len(page.Events) != 5 {
					t.Errorf("%s: %d events, %v, want 5", name, len(page.Events), err)
					continue
				}
				if diff := cmp.Diff(odd, page.Events[0].Raw); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
			for _, backward := range []bool{false, true} {
				n := 0
				for e, err := range db.ReadStream(ctx, order("b"), eventstore.StreamQuery{Backward: backward}) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; e.RecordedTime.IsZero() {
						t.Errorf("%s has no time", e)
					}
				}
				if n != 2 {
					t.Errorf("%d events, want 2", n)
				}
			}
			readerInAnyMode(t, db)
			if streams, err := db.Streams(ctx, postgres.StreamsQuery{}); err != nil || len(streams) != 2 {
				t.Errorf("Streams = %v, %v, want 2", streams, err)
			}
		})
	}
}

// readerInAnyMode does what a worker does.
func readerInAnyMode(t *testing.T, db *postgres.DB) {
	t.Helper()
	ctx := t.Context()
	term, err := db.Claim(ctx, worker.Claiming{Name: "r", Holder: "w", Segment: "", Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	key := worker.Key{Part: "", Key: "k '\\$1"}
	err = db.Advance(ctx, "r", term, "", func(_ context.Context, _ pgx.Tx, at worker.Mark) (worker.Write, error) {
		at.Position, at.Claim = 1, worker.Claim{To: 2, Events: 1, Times: 1}
		return worker.Write{
			Marks: worker.Checkpoint{"": at},
			Park:  []worker.Parked{{Key: key, State: worker.Retrying, Since: time.Now(), History: []worker.Attempt{{Error: "'\\"}}}},
			Items: []worker.Item{{Key: key, Seq: 1}, {Key: key, Seq: 2, Data: []byte("\x00\xff")}, {Key: key, Seq: 3, Data: []byte{}}},
			Audit: []worker.Audit{{Key: key, Actor: "ada", Action: "note"}},
		}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	reports := map[string]worker.Report{"": {Error: "refused", Time: time.Now()}, "x": {}}
	if r, err := db.Renew(ctx, worker.Renewal{Name: "r", Holder: "w", Lease: time.Hour, Terms: []worker.Term{term}, Reports: reports}); err != nil || len(r.Seats) != 1 || len(r.Members) != 1 || r.Seats[0].Report.Error != "refused" {
		t.Errorf("Renew = %+v, %v", r, err)
	}
	items, err := db.Items(ctx, "r", key, 0, 10)
	if err != nil || len(items) != 3 || items[0].Data != nil || string(items[1].Data) != "\x00\xff" || items[2].Data == nil {
		t.Errorf("Items = %+v, %v", items, err)
	}
	if s, err := db.Status(ctx, "r"); err != nil || len(s.Parts) != 1 || s.Parts[0].Altered != nil || s.Parts[0].Parked != 3 || s.Parts[0].Lag != 4 {
		t.Errorf("Status = %+v, %v", s, err)
	}
	if err := db.Save(ctx, "r", term, worker.Write{Marks: worker.Checkpoint{"": {Position: 2, Revision: 1}}, Done: items, Free: []worker.Key{key}}); err != nil {
		t.Error(err)
	}
	if parked, err := db.Parked(ctx, worker.ParkedQuery{Name: "r"}); err != nil || len(parked) != 0 {
		t.Errorf("Parked = %+v, %v, want none", parked, err)
	}
	if audits, err := db.Audits(ctx, "r", time.Time{}, 10); err != nil || len(audits) != 1 {
		t.Errorf("Audits = %+v, %v, want one", audits, err)
	}
	if err := db.Resign(ctx, "r", "w", true, term); err != nil {
		t.Error(err)
	}
}
