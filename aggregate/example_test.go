package aggregate_test

import (
	"context"
	"fmt"
	"runtime"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
)

// A load begins at a snapshot and folds the events behind it. Its result is the
// same as without.
func ExampleRepository_WithSnapshots() {
	ctx, stop := context.WithCancel(context.Background())
	db := memory.New()
	snapshots := aggregate.NewSnapshotter(db, aggregate.JSONState[Account](), aggregate.WithEvery(3),
		aggregate.WithSnapshotHooks(aggregate.SnapshotHooks{
			Saved:  func(s event.Stream, at event.Version, bytes int) { fmt.Println("saved", s, "at", at) },
			Loaded: func(_ event.Stream, at event.Version, folded int) { fmt.Println("loaded from", at, "and", folded, "more") },
		}))
	accounts := aggregate.New[Account](db, "account", Codec).WithSnapshots(snapshots)

	ended := make(chan error)
	go func() { ended <- snapshots.Run(ctx) }()
	for !snapshots.Running() {
		runtime.Gosched()
	}
	for i := range 4 {
		_, _ = accounts.Update(ctx, "a-1", func(Account) ([]Event, error) { return []Event{Paid{Cents: int64(i)}}, nil })
	}
	stop() // what is queued is still written
	fmt.Println(<-ended)

	account, err := accounts.Load(context.Background(), "a-1")
	fmt.Printf("%+v at %d %v\n", account.State, account.Version, err)
	// Output:
	// saved account-a-1 at 3
	// <nil>
	// loaded from 3 and 1 more
	// {Open:false Balance:6} at 4 <nil>
}
