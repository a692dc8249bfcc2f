package quickstart_test

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/examples/quickstart"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/internal/guidetest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// Two services, two databases, one broker: each order is billed once.
func TestBus(t *testing.T) {
	t.Parallel()
	shop := postgres.New(postgrestest.Pool(t))
	bills := postgrestest.Pool(t, `CREATE TABLE invoices (order_id text, cents bigint NOT NULL)`) // without a key: twice would show
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	orders := aggregate.New[quickstart.Order](shop, "order", quickstart.Codec)
	for id, cents := range map[string]int64{"o-1": 1250, "o-2": 7} {
		if _, err := orders.Execute(t.Context(), id, quickstart.Place{Cents: cents}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	seeds := kgo.SeedBrokers(b.Seeds...)
	group.Go(func() error { return quickstart.Publish(ctx, shop, seeds) })
	group.Go(func() error { return quickstart.Bill(ctx, postgres.New(bills), seeds) })
	for count, sum := 0, 0; count < 2; <-time.After(10 * time.Millisecond) {
		if err := bills.QueryRow(ctx, `SELECT count(*), coalesce(sum(cents), 0) FROM invoices`).Scan(&count, &sum); err != nil {
			t.Fatal(err)
		}
		if count == 2 && sum != 1257 {
			t.Errorf("the invoices sum up to %d cents, want 1257", sum)
		}
	}
	cancel()
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// TestGuideToTheBus: what docs/bus.md shows is what is compiled and run here.
func TestGuideToTheBus(t *testing.T) {
	t.Parallel()
	guidetest.Fenced(t, "../../docs/bus.md", "bus.go", "publish", "consume")
}
