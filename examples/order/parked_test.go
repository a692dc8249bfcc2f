package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// An event that this program cannot read is parked, the rest of the file is imported,
// and the run says that the report would lack something.
func TestImportBesideAParkedEvent(t *testing.T) {
	s := openShop(t)
	ctx := t.Context()
	pool, err := pgxpool.New(ctx, s.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := postgres.Migrate(ctx, pool); err != nil {
		t.Fatal(err)
	}
	db := postgres.New(pool)
	newer := event.Raw{Name: "order.placed", Schema: 99, ContentType: "application/json", Payload: []byte("{}")}
	if _, err := db.Append(ctx, event.Stream{Category: "order", ID: "of-tomorrow"}, eventstore.None(), newer); err != nil {
		t.Fatal(err)
	}
	out := run(ctx, s.args(s.orderFile("orders.csv", row("1", 1, "1", "Malta")))...)
	if !errors.Is(out.err, worker.ErrParked) || !strings.Contains(out.err.Error(), "projection/sales: 1 keys are parked: see annals parked; one of them: decode order-of-tomorrow@1") {
		t.Errorf("import = %v, want that an event of tomorrow is parked", out.err)
	}
	s.wantFiles("orders.csv")
	if n := s.number(`SELECT count(*) FROM sales.invoices`); n != 1 {
		t.Errorf("%d orders in the read model, want that of the file", n)
	}
}
