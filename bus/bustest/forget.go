package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
)

func oldestFirst[Tx any](t *testing.T, target InboxTarget[Tx]) {
	// By when they were remembered, whatever their positions and times are.
	first, second, third := positioned(5, 2), []bus.Identity{timed(target.Now().Add(48 * time.Hour)), timed(time.Time{})}, positioned(1, 2)
	want(t, target, first, bus.New)
	want(t, target, second, bus.New)
	boundary := target.Now()
	want(t, target, third, bus.New)
	forget(t, target, boundary, 2, 2)
	want(t, target, slices.Concat(first, second, third), bus.Forgotten, bus.Forgotten, bus.Repeated, bus.Repeated, bus.Repeated, bus.Repeated)
	forget(t, target, boundary, 100, 2)
	want(t, target, slices.Concat(second, third), bus.Forgotten, bus.Forgotten, bus.Repeated, bus.Repeated)
	forget(t, target, boundary, 100, 0)
	forgetAll(t, target, 2)
}

func forgetsAtMost[Tx any](t *testing.T, target InboxTarget[Tx]) {
	for i := range 5 {
		want(t, target, positioned(event.Position(1+3*i), 3), bus.New)
	}
	later := target.Now().Add(time.Hour)
	forget(t, target, later, 0, 0)
	forget(t, target, later, 1, 1)
	forget(t, target, later, 7, 7)
	forget(t, target, later, 7, 7)
	forget(t, target, later, 7, 0)
}

func forgetsNothing[Tx any](t *testing.T, target InboxTarget[Tx]) {
	boundary := target.Now()
	forget(t, target, boundary.Add(time.Hour), 10, 0)
	all := positioned(1, 2)
	want(t, target, all[1:], bus.New)
	forget(t, target, boundary, 10, 0)
	want(t, target, all, bus.New, bus.Repeated)
}

func forgottenByPosition[Tx any](t *testing.T, target InboxTarget[Tx]) {
	old := positioned(10, 3)
	want(t, target, old, bus.New)
	boundary := target.Now()
	young := positioned(5, 2)
	want(t, target, young, bus.New)
	forget(t, target, boundary, 10, 3)
	want(t, target, slices.Concat(old, young, []bus.Identity{at(1), at(12), at(13)}),
		bus.Forgotten, bus.Forgotten, bus.Forgotten, bus.Repeated, bus.Repeated, bus.Forgotten, bus.Forgotten, bus.New)
	// Time does not count where there is a position, nor the other way round.
	early := at(14)
	early.Time = time.Unix(1, 0)
	want(t, target, []bus.Identity{early, timed(time.Unix(1, 0))}, bus.New)
}

func forgottenByTime[Tx any](t *testing.T, target InboxTarget[Tx]) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	old := []bus.Identity{timed(noon), timed(noon.Add(-time.Hour))}
	want(t, target, old, bus.New)
	forgetAll(t, target, 2)
	zone := old[0]
	zone.Time = noon.In(time.FixedZone("east", 3600))
	want(t, target, []bus.Identity{old[0], old[1], zone, timed(noon.Add(-time.Millisecond)), timed(noon.Add(time.Millisecond)), at(1)},
		bus.Forgotten, bus.Forgotten, bus.Forgotten, bus.Forgotten, bus.New, bus.New)
}

func forgottenApart[Tx any](t *testing.T, target InboxTarget[Tx]) {
	want(t, target, []bus.Identity{at(9), timed(target.Now())}, bus.New)
	forgetAll(t, target, 2)
	m, late := at(1), timed(time.Unix(1, 0))
	other, otherLate := m, late
	other.ID, other.Topic = event.NewID(), "shop.Order"
	otherLate.ID, otherLate.Topic = event.NewID(), "shop.Order"
	all := []bus.Identity{other, m, otherLate, late}
	want(t, target, all, bus.New, bus.Forgotten, bus.New, bus.Forgotten)
	wantFor(t, target, "another", all, bus.New)
}

// Floors only rise.
func forgottenForEver[Tx any](t *testing.T, target InboxTarget[Tx]) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	low, lowTimed := at(3), timed(noon.Add(-time.Hour))
	want(t, target, []bus.Identity{low, lowTimed}, bus.New)
	boundary := target.Now()
	high, highTimed := at(9), timed(noon)
	want(t, target, []bus.Identity{high, highTimed}, bus.New)
	forget(t, target, boundary, 10, 2)
	want(t, target, []bus.Identity{at(3), at(4), timed(noon.Add(-time.Hour)), timed(noon.Add(-time.Minute))}, bus.Forgotten, bus.New, bus.Forgotten, bus.New)
	forgetAll(t, target, 4)
	want(t, target, []bus.Identity{low, high, at(4), lowTimed, highTimed}, bus.Forgotten)
	// What was remembered above is forgotten; what is forgotten next lies below.
	above, aboveTimed := at(20), timed(noon.Add(time.Hour))
	want(t, target, []bus.Identity{above, aboveTimed}, bus.New)
	boundary = target.Now()
	want(t, target, []bus.Identity{at(11), timed(noon.Add(time.Second))}, bus.New)
	forget(t, target, boundary, 10, 2)
	forgetAll(t, target, 2)
	want(t, target, []bus.Identity{above, at(19), at(20), at(21), aboveTimed, timed(noon.Add(time.Minute))},
		bus.Forgotten, bus.Forgotten, bus.Forgotten, bus.New, bus.Forgotten, bus.Forgotten)
}

func notRemembered[Tx any](t *testing.T, target InboxTarget[Tx]) {
	want(t, target, []bus.Identity{at(9)}, bus.New)
	forgetAll(t, target, 1)
	m := at(5)
	want(t, target, []bus.Identity{m, m}, bus.Forgotten)
	want(t, target, []bus.Identity{m}, bus.Forgotten)
	forgetAll(t, target, 0)
}

// However a Forget and a RememberTx meet, a message that has taken effect is never new.
func forgottenMeanwhile[Tx any](t *testing.T, target InboxTarget[Tx]) {
	const rounds, n, size = 10, 100, 20
	for round := range rounds {
		all := positioned(event.Position(1+round*n), n)
		want(t, target, all, bus.New)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				later := target.Now().Add(time.Hour)
				for {
					n, err := target.Store.Forget(bounded(t), consumer, later, 10)
					if err != nil {
						t.Error(err)
					}
					if n == 0 || err != nil {
						return
					}
				}
			})
		}
		for part := range 2 {
			wg.Go(func() {
				for chunk := range slices.Chunk(all, size) {
					var got []bus.Memory
					err := within(bounded(t), target, fmt.Sprint("p", part), func(_ context.Context, remember func(string, ...bus.Identity) ([]bus.Memory, error)) (err error) {
						got, err = remember(consumer, chunk...)
						return err
					})
					if err != nil || slices.Contains(got, bus.New) {
						t.Errorf("RememberTx = %v, %v, want none new", got, err)
					}
				}
			})
		}
		wg.Wait()
		want(t, target, all, bus.Forgotten)
	}
}

func forgetsBeside[Tx any](t *testing.T, target InboxTarget[Tx]) {
	// What was found new before the floor rose above it stays so.
	old, below, above := at(3), at(2), at(9)
	want(t, target, []bus.Identity{old}, bus.New)
	r := openRival(t, target, below, above)
	forgetAll(t, target, 1)
	r.end <- nil
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	want(t, target, []bus.Identity{old, below, above}, bus.Forgotten, bus.Repeated, bus.Repeated)
}
