package quickstart_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/aggregate/aggregatetest"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec/codectest"
	"github.com/annals-go/annals/examples/quickstart"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/internal/guidetest"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestDecisions(t *testing.T) {
	t.Parallel()
	order := aggregatetest.For[quickstart.Order](t)
	placed := order.Given(quickstart.Placed{Cents: 1250})
	order.When(quickstart.Place{Cents: 1250}).Then(quickstart.Placed{Cents: 1250})
	placed.When(quickstart.Place{Cents: 1250}).ThenNothing()
	placed.When(quickstart.Ship{Tracking: "1Z"}).Then(quickstart.Shipped{Tracking: "1Z"})
	placed.Given(quickstart.Shipped{}).When(quickstart.Ship{}).ThenNothing()
	order.When(quickstart.Ship{}).ThenError(quickstart.ErrNotPlaced)
}

func TestStoredShapes(t *testing.T) {
	t.Parallel()
	pins := codectest.For(t, quickstart.Codec)
	pins.Reads("order.placed", 1, `{"Euros":12}`, quickstart.Placed{Cents: 1200})
	pins.Writes(quickstart.Placed{Cents: 1250}, "order.placed", 2, `{"Cents":1250}`)
}

func TestRun(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t, `CREATE TABLE totals (order_id text PRIMARY KEY, cents bigint NOT NULL)`)
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	client, err := kafka.NewClient(kgo.SeedBrokers(b.Seeds...), kgo.ConsumeTopics("annals.order"), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- quickstart.Run(ctx, pool, client) }()

	published := map[string]string{}
	for len(published) < 2 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("published so far: %v: %v", published, ctx.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			for _, h := range r.Headers {
				if h.Key == "annals-name" {
					published[string(h.Value)] = string(r.Key) + " " + string(r.Value)
				}
			}
		})
	}
	want := map[string]string{"order.placed": `o-1 {"Cents":1250}`, "order.shipped": `o-1 {"Tracking":"1Z"}`}
	if diff := cmp.Diff(want, published); diff != "" {
		t.Error(diff)
	}
	awaitTotal(ctx, t, pool, 1250)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v, want nil after its context has ended", err)
	}
}

func awaitTotal(ctx context.Context, t *testing.T, pool *pgxpool.Pool, want int64) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var cents int64
		err := pool.QueryRow(ctx, `SELECT cents FROM totals WHERE order_id = 'o-1'`).Scan(&cents)
		if err == nil && cents == want {
			return
		}
		if err != nil && err != pgx.ErrNoRows { //nolint:errorlint // Scan returns it as it is
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("total is %d, want %d", cents, want)
		case <-tick.C:
		}
	}
}

// TestREADME: what a newcomer reads is what is compiled and run here.
func TestREADME(t *testing.T) {
	t.Parallel()
	guidetest.Fenced(t, "../../README.md", "quickstart.go", "quickstart")
}
