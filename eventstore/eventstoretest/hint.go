package eventstoretest

import (
	"context"
	"errors"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

var hintTests = map[string]func(*testing.T, Target){
	"wait ends when there is something to read": func(t *testing.T, target Target) {
		// In most of the rounds the readers wait already when the event comes.
		const readers, rounds = 4, 100
		ctx := bounded(t)
		seen := make(chan error, readers)
		for range readers {
			go func() {
				at := event.Position(0)
				for range rounds {
					before := at
					for at == before {
						err := target.Store.Wait(ctx, at)
						if err == nil {
							at, err = target.Store.Head(ctx)
						}
						if err != nil {
							seen <- err
							return
						}
					}
					seen <- nil
				}
			}()
		}
		for i := range rounds {
			mustAppend(t, target.Store, stream, eventstore.Exactly(event.Version(i)), note(i))
			for range readers {
				if err := <-seen; err != nil {
					t.Fatalf("Wait = %v", err)
				}
			}
		}
	},
	"wait ends with its context": func(t *testing.T, target Target) {
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 1)
		go func() {
			for {
				if err := target.Store.Wait(ctx, 0); err != nil {
					waiting <- err
					return
				}
			}
		}()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Errorf("Wait = %v, want context.Canceled", err)
		}
	},
	"what nobody tells of is read all the same": func(t *testing.T, target Target) {
		if target.Elsewhere != nil {
			follow(t, target)
		}
	},
	"and while it listens": func(t *testing.T, target Target) {
		listener, ok := target.Store.(eventstore.Listener)
		if !ok {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for range cap(ended) {
			go func() { ended <- listener.Listen(ctx) }()
		}
		if target.Elsewhere != nil {
			follow(t, target)
		}
		cancel()
		for range cap(ended) {
			if err := <-ended; err != nil {
				t.Errorf("Listen = %v, want nil when its context ends", err)
			}
		}
	},
}

// follow appends elsewhere, one event at a time, and wants a reader here to
// come to each of them before the next.
func follow(t *testing.T, target Target) {
	t.Helper()
	q := eventstore.LogQuery{Limit: 2}
	for i := range 10 {
		want := notes(i, 1)
		mustAppend(t, target.Elsewhere, stream, eventstore.Exactly(event.Version(i)), want...)
		for {
			page := readPage(t, target.Store, q)
			if q.After = page.Next; len(page.Events) > 0 {
				equal(t, "id", page.Events[0].Metadata.ID, want[0].Metadata.ID)
				break
			}
			if err := target.Store.Wait(bounded(t), q.After); err != nil {
				t.Fatal(err)
			}
		}
	}
}
