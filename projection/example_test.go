package projection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

func ExampleProjection_CatchUp() {
	ctx := context.Background()
	db := memory.New()
	raw, _ := Codec.Encode(Paid{Cents: 1250})
	_, _ = db.Append(ctx, event.Stream{Category: "account", ID: "a-1"}, eventstore.Any(), raw)

	total := int64(0)
	totals := projection.New("totals", projection.On(Codec, func(_ context.Context, _ *memory.Tx, e event.Of[Event]) error {
		if paid, ok := e.Data.(Paid); ok {
			total += paid.Cents
		}
		return nil
	}))
	err := totals.CatchUp(ctx, db)
	fmt.Println(total, err)
	// Output: 1250 <nil>
}

// A payment that the handler cannot take is parked, with what comes behind it in its
// stream; other streams go on. When the handler is mended, somebody has it tried again.
func ExampleProjection_CatchUp_parked() {
	ctx := context.Background()
	db := memory.New()
	for i, id := range []string{"a", "b", "a"} {
		raw, _ := Codec.Encode(Paid{Cents: int64(i)})
		_, _ = db.Append(ctx, event.Stream{Category: "account", ID: id}, eventstore.Any(), raw)
	}
	mended := false
	totals := projection.New("totals", projection.On(Codec, func(_ context.Context, _ *memory.Tx, e event.Of[Event]) error {
		if e.Data.(Paid).Cents == 0 && !mended {
			return worker.Permanent(errors.New("a payment of nothing"))
		}
		fmt.Println("applied", e.Stream, e.Version)
		return nil
	}))
	quiet := projection.WithLogger(slog.New(slog.DiscardHandler))
	fmt.Println(totals.CatchUp(ctx, db, quiet))

	mended = true
	parked, _ := db.Parked(ctx, worker.ParkedQuery{Name: totals.Name()})
	amend := worker.Amender{Store: db, Name: totals.Name(), Actor: "ada"}
	for _, p := range parked {
		fmt.Println(p.Key.Key, p.State, p.Events)
		_, _ = amend.RetryParked(ctx, 0, p.Key)
	}
	fmt.Println(totals.CatchUp(ctx, db, quiet))
	// Output:
	// applied account-b 1
	// projection/totals: 1 keys are parked: see annals parked; one of them: handle account-a@1 (account.paid, position 1): a payment of nothing
	// account-a waiting 2
	// applied account-a 1
	// applied account-a 2
	// <nil>
}
