package aggregate_test

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
)

// A load begins at a snapshot and folds the events behind it. Its result is the
// same as without.
func ExampleRepository_WithSnapshots() {
	ctx, stop := context.WithCancel(context.Background())
	saved := make(chan event.Version, 10)
	told := ""
	db := memory.New()
	snapshots := aggregate.NewSnapshotter(db, aggregate.JSONState[Account](), aggregate.WithEvery(3),
		aggregate.WithSnapshotHooks(aggregate.SnapshotHooks{
			Saved: func(_ event.Stream, at event.Version, _ int) { saved <- at },
			Loaded: func(_ event.Stream, at event.Version, folded int) {
				told = fmt.Sprintf("from %d, and %d more", at, folded)
			},
		}))
	accounts := aggregate.New[Account](db, "account", Codec).WithSnapshots(snapshots)
	ended := make(chan error)
	go func() { ended <- snapshots.Run(ctx) }()

	pay := func(cents ...int64) {
		_, _ = accounts.Update(ctx, "a-1", func(Account) (events []Event, _ error) {
			for _, c := range cents {
				events = append(events, Paid{Cents: c})
			}
			return events, nil
		})
	}
	pay(1, 2, 3)
	for at := event.Version(0); at == 0; {
		select {
		case at = <-saved:
			fmt.Println("saved at", at)
		default:
			_, _ = accounts.Load(ctx, "a-1") // asks for a snapshot, as any command does
		}
	}
	pay(4)

	account, err := accounts.Load(ctx, "a-1")
	fmt.Println("loaded", told)
	fmt.Printf("%+v at %d %v\n", account.State, account.Version, err)
	stop()
	fmt.Println(<-ended)
	// Output:
	// saved at 3
	// loaded from 3, and 1 more
	// {Open:false Balance:10} at 4 <nil>
	// <nil>
}
