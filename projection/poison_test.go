package projection_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// feed is a source of one part that delivers what it is sent, and tells how that went.
type feed struct {
	deliveries chan worker.Delivery
	outcomes   chan error
}

func newFeed() feed { return feed{make(chan worker.Delivery), make(chan error)} }

func (f feed) Consume(ctx context.Context, to worker.Sink) error {
	if _, err := to.Begin(ctx, "t/0"); err != nil {
		return err
	}
	for {
		select {
		case d := <-f.deliveries:
			f.outcomes <- to.Deliver(ctx, d)
		case <-ctx.Done():
			return nil
		}
	}
}

func (f feed) Owns(part string) bool { return part == "t/0" }

func (f feed) deliver(d worker.Delivery) error {
	f.deliveries <- d
	return <-f.outcomes
}

// cut is a feed whose connection is lost when a test says so, and comes back when it is
// said to.
type cut struct {
	feed
	lost chan error
	away atomic.Bool
}

func (c *cut) Consume(ctx context.Context, to worker.Sink) error {
	if c.away.Load() {
		return errNo
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-c.lost:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	if err := c.feed.Consume(ctx, to); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// While a source fails the reader says so, and it says when it goes on, with the first
// delivery.
func TestFailingSourceIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, source := &ledger{DB: memory.New()}, &cut{feed: newFeed(), lost: make(chan error)}
		p := l.projection("totals")
		var told []string
		end := l.start(t, p, projection.From(source), pauses(&told))
		if err := source.deliver(parcel(0, record(t, "a", 1))); err != nil {
			t.Fatal(err)
		}
		source.away.Store(true)
		source.lost <- errors.New("connection is lost")
		after(time.Hour)
		if got := l.report(t, p.Name()); got.Paused != "the source fails" || got.Error != "no" {
			t.Errorf("report %+v, want that the source fails", got)
		}
		want(t, told, "paused: the source fails: connection is lost")
		source.away.Store(false)
		if err := source.deliver(parcel(1, record(t, "a", 2))); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		want(t, told, "paused: the source fails: connection is lost", "resumed: the source fails")
		if got := l.report(t, p.Name()); got.Paused != "" {
			t.Errorf("report %+v, want that it goes on", got)
		}
		end()
	})
}

// record is an event of another store: its position is its data too.
func record(t *testing.T, stream string, position int) event.Recorded {
	t.Helper()
	r := event.Recorded{Raw: paid(t, int64(position)), Stream: event.Stream{Category: "account", ID: stream}, Version: event.Version(position), Position: event.Position(position), RecordedTime: time.Unix(0, 0).UTC()}
	r.Metadata = event.Metadata{ID: event.NewID(), Actor: "ada"}
	return r
}

// parcel is a delivery of events from an offset on.
func parcel(first int64, events ...event.Recorded) worker.Delivery {
	return worker.Delivery{Part: "t/0", Source: "x", Of: 1, First: first, Next: first + int64(len(events)), Events: events}
}

// A source forgets what it has delivered: what is parked is kept, byte by byte, later
// deliveries of the stream go behind it, and others go on.
func TestPoisonOfASource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fixed atomic.Bool
		var drained []event.Of[Event]
		l := &ledger{DB: memory.New(), fail: func(e event.Of[Event]) error {
			if e.Position == 2 && !fixed.Load() {
				return worker.Permanent(errNo)
			}
			if e.Stream.ID == "a" {
				drained = append(drained, e)
			}
			return nil
		}}
		source, p := newFeed(), l.projection("totals")
		end := l.start(t, p, projection.From(source))
		poison := record(t, "a", 2)
		for _, d := range []worker.Delivery{
			parcel(0, record(t, "b", 1), poison, record(t, "b", 3)),
			parcel(3, record(t, "a", 4), record(t, "b", 5)),
			parcel(3, record(t, "a", 4), record(t, "b", 5), record(t, "b", 6)), // with repeats
		} {
			if err := source.deliver(d); err != nil {
				t.Fatal(err)
			}
		}
		after(time.Hour)
		want(t, l.effects(t), "1/0 {1}", "3/0 {3}", "5/0 {5}", "6/0 {6}")
		l.wantParked(t, p.Name(), "t/0 account-a waiting: 2")
		key := worker.Key{Part: "t/0", Key: "account-a"}
		items, err := l.Items(t.Context(), p.Name(), key, 0, 10)
		if err != nil || len(items) != 2 || items[0].Seq != 2 || len(items[0].Data) == 0 || items[1].Seq != 4 || len(items[1].Data) == 0 {
			t.Errorf("Items = %+v, %v, want positions 2 and 4 with their bytes", items, err)
		}
		fixed.Store(true)
		l.retry(t, p.Name(), key)
		if err := source.deliver(parcel(6, record(t, "a", 7))); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		want(t, l.effects(t)[4:], "2/0 {2}", "4/0 {4}", "7/0 {7}")
		l.wantParked(t, p.Name())
		if len(drained) != 3 {
			t.Fatalf("drained %v, want three", drained)
		}
		if got := drained[0]; got.Metadata.ID != poison.Metadata.ID || got.Metadata.Actor != "ada" || !got.RecordedTime.Equal(poison.RecordedTime) || got.Stream != poison.Stream || got.Version != poison.Version {
			t.Errorf("drained %+v, want all of %+v", got, poison)
		}
		end()
	})
}

// P10: a member whose part was given to another one changes nothing any more, neither
// with what it delivers later nor with what it was about to apply.
func TestZombieMember(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		frozen, thaw := make(chan struct{}), make(chan struct{})
		l := &ledger{DB: memory.New()}
		slow := &ledger{DB: l.DB, fail: func(e event.Of[Event]) error {
			if e.Position == 2 {
				close(frozen)
				<-thaw
			}
			return nil
		}}
		zombie, healthy := newFeed(), newFeed()
		endZombie := slow.start(t, slow.projection("totals"), projection.From(zombie))
		if err := zombie.deliver(parcel(0, record(t, "a", 1))); err != nil {
			t.Fatal(err)
		}
		about := make(chan error)
		go func() { about <- zombie.deliver(parcel(1, record(t, "a", 2))) }()
		<-frozen
		endHealthy := l.start(t, l.projection("totals"), projection.From(healthy))
		if err := healthy.deliver(parcel(1, record(t, "a", 2), record(t, "a", 3))); err != nil {
			t.Fatal(err)
		}
		close(thaw)
		if err := <-about; !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Deliver of what it was about to apply = %v, want ErrFenced", err)
		}
		if err := zombie.deliver(parcel(3, record(t, "a", 4))); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Deliver = %v, want ErrFenced", err)
		}
		want(t, l.effects(t), "1/0 {1}", "2/0 {2}", "3/0 {3}")
		if err := healthy.deliver(parcel(3, record(t, "a", 4))); err != nil {
			t.Error(err)
		}
		want(t, l.effects(t), "1/0 {1}", "2/0 {2}", "3/0 {3}", "4/0 {4}")
		endZombie()
		endHealthy()
	})
}
