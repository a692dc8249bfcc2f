package quickstart_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/examples/quickstart"
	"github.com/annals-go/annals/internal/devenv/broker"
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
	source, err := os.ReadFile("bus.go")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile("../../docs/bus.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"publish", "consume"} {
		_, code, _ := strings.Cut(string(source), "// ["+part+"]\n")
		code, _, _ = strings.Cut(code, "\n// [/"+part+"]")
		_, shown, _ := strings.Cut(string(guide), "<!-- "+part+" -->\n```go\n")
		shown, _, _ = strings.Cut(shown, "```\n")
		if diff := cmp.Diff(strings.TrimSpace(code), strings.TrimSpace(shown)); diff != "" {
			t.Errorf("docs/bus.md differs from bus.go (-code +guide):\n%s", diff)
		}
	}
}
