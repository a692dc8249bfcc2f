package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

// reel is a source that delivers its messages once.
type reel []bus.Received

func (reel) Owns(string) bool                           { return true }
func (reel) Consume(context.Context, worker.Sink) error { return nil }
func (r reel) Receive(ctx context.Context, to bus.Receiver) error {
	if _, err := to.Begin(ctx, "legacy/0"); err != nil {
		return err
	}
	return to.Deliver(ctx, bus.Delivery{Part: "legacy/0", Source: "x", Of: 1, Next: int64(len(r)), Messages: r})
}

// cloud is a message with an id of its own, of a key.
func cloud(key string, id, offset int) bus.Received {
	return bus.Received{Offset: int64(offset), Message: bus.Message{
		Topic: "legacy", Key: []byte(key), Value: fmt.Append(nil, id),
		Headers: []bus.Header{{Key: "ce_id", Value: fmt.Append(nil, id)}, {Key: "ce_source", Value: []byte("/legacy")}},
	}}
}

// A consumer's rows, its inbox and its mark are in one transaction, also when a statement
// of a handler fails in its middle: what fails leaves nothing, and the others have their
// effect once.
func TestConsumerTakesEffectOnce(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE paid (key text, id text, CONSTRAINT paid_is_no_spam CHECK (id <> '3'))`); err != nil {
		t.Fatal(err)
	}
	billing := bus.NewConsumer("billing", bus.OnMessage(bus.InTopic("legacy"), func(ctx context.Context, tx pgx.Tx, m bus.Received) error {
		_, err := tx.Exec(ctx, `INSERT INTO paid (key, id) VALUES ($1, $2)`, string(m.Key), string(m.Value))
		return worker.Permanent(err)
	}))
	source := reel{cloud("a", 1, 0), cloud("b", 2, 1), cloud("a", 1, 2), cloud("b", 3, 3), cloud("a", 4, 4), cloud("b", 5, 5), cloud("b", 2, 6)}
	for range 2 {
		if err := billing.Run(t.Context(), db, source, bus.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
			t.Fatal(err)
		}
	}
	var got, remembered string
	err := pool.QueryRow(t.Context(), `SELECT string_agg(key || id, ' ' ORDER BY id), (SELECT count(*)::text FROM annals.inbox) FROM paid`).Scan(&got, &remembered)
	if want := "a1 b2 a4"; err != nil || got != want || remembered != "3" {
		t.Errorf("rows %s and %s remembered, %v, want %s and 3", got, remembered, err, want)
	}
	all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: billing.Name()})
	if err != nil || len(all) != 1 || all[0].Key.Key != "foreign/legacy-b" || all[0].Events != 3 {
		t.Fatalf("parked %+v, %v, want what begins with 3", all, err)
	}
}
