package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// start runs the relay in a goroutine of the bubble, and returns how to end it.
func start(t *testing.T, r *bus.Relay) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// after waits in a bubble until all is quiet for the time.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// wantParked compares what is parked of the relay, each as "key state: events: error".
func wantParked(t *testing.T, db *memory.DB, want ...string) {
	t.Helper()
	all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: "relay/main"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range all {
		got = append(got, fmt.Sprintf("%s %s: %d: %s", p.Key.Key, p.State, p.Events, p.Error))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("parked: %s", diff)
	}
}

func retry(t *testing.T, db *memory.DB, key string) {
	t.Helper()
	a := worker.Amender{Store: db, Name: "relay/main", Actor: "ada"}
	if _, err := a.RetryParked(t.Context(), 0, worker.Key{Key: key}); err != nil {
		t.Fatal(err)
	}
}

var errUnmapped = errors.New("no such customer")

// P8: an event that cannot be mapped is parked with all later ones of its stream, the
// others are published; and after a fix, it and what came behind it, in order.
func TestRelayParksWhatCannotBeMapped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fixed atomic.Bool
		mapper := bus.WithMapper(func(e event.Recorded) (bus.Message, bool, error) {
			if e.Position == 2 && !fixed.Load() {
				return bus.Message{}, false, errUnmapped
			}
			return bus.TopicPerCategory("annals")(e)
		})
		db, broker := memory.New(), memory.NewBroker(1)
		var health worker.Health
		relay := bus.NewRelay(db, broker, silent, mapper, bus.WithVersion("v7"), bus.WithHealth(&health))
		appendNotes(t, db, "order-1", 3)
		appendNotes(t, db, "order-2", 1)
		end := start(t, relay)
		after(time.Minute)
		appendNotes(t, db, "order-1", 1)
		appendNotes(t, db, "order-2", 1)
		after(time.Hour)
		wantPositions(t, broker, "annals.order", 1, 4, 6)
		wantParked(t, db, "order-1 waiting: 3: map order-1@2 (order.noted, position 2): no such customer")
		if err := health.Check(); err != nil {
			t.Errorf("health: %v, want nil: to restart does not help", err)
		}
		if all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: relay.Name()}); err != nil || len(all) != 1 || all[0].Version != "v7" {
			t.Errorf("parked %+v, %v, want the version of WithVersion", all, err)
		}
		fixed.Store(true)
		retry(t, db, "order-1")
		appendNotes(t, db, "order-1", 1)
		after(time.Minute)
		wantPositions(t, broker, "annals.order", 1, 4, 6, 2, 3, 5, 7)
		wantParked(t, db)
		end()
		if err := health.Check(); !errors.Is(err, worker.ErrNotRunning) {
			t.Errorf("health: %v, want ErrNotRunning", err)
		}
	})
}

func TestRelayStopsAtWhatCannotBeMapped(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 3)
	relay := bus.NewRelay(db, broker, silent, bus.WithStop(), bus.WithMapper(func(e event.Recorded) (bus.Message, bool, error) {
		if e.Position == 2 {
			return bus.Message{}, false, errUnmapped
		}
		return bus.TopicPerCategory("annals")(e)
	}))
	if err, want := relay.Run(t.Context()), "map order-1@2 (order.noted, position 2): no such customer"; !errors.Is(err, errUnmapped) || err.Error() != want {
		t.Errorf("Run = %v, want %s", err, want)
	}
	wantPositions(t, broker, "annals.order", 1)
	wantParked(t, db)
}

// picky refuses, for good, calls of Publish with a message that it does not like, or
// fails all while it is away.
type picky struct {
	*memory.Broker
	mu    sync.Mutex
	away  error
	hates string
	calls int
}

func (p *picky) set(away error, hates string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away, p.hates = away, hates
}

func (p *picky) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *picky) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away != nil {
		return nil, p.away
	}
	return p.Broker.Topics(ctx, names...)
}

func (p *picky) Publish(ctx context.Context, ms []bus.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.away != nil {
		return p.away
	}
	for _, m := range ms {
		if p.hates != "" && strings.Contains(string(m.Value), p.hates) {
			return worker.Permanent(fmt.Errorf("message %q is refused", m.Value))
		}
	}
	return p.Broker.Publish(ctx, ms)
}

// While the broker is away nothing is parked, whatever it says, and the relay goes on by
// itself; so it does with a breaker that is open.
func TestRelayWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	for name, met := range map[string]bool{"that has its topics": true, "that it has never met": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db, broker := memory.New(), &picky{Broker: memory.NewBroker(1)}
				var told []string
				hooks := bus.WithHooks(worker.Hooks{
					Paused:  func(p worker.Pause) { told = append(told, "paused: "+p.Why) },
					Resumed: func(p worker.Pause) { told = append(told, "resumed: "+p.Why) },
				})
				end := start(t, bus.NewRelay(db, broker, silent, hooks))
				n := 0
				if met {
					appendNotes(t, db, "order-0", 1)
					after(time.Minute)
					n = 1
				}
				broker.set(errBroker, "")
				for i := range 30 {
					appendNotes(t, db, fmt.Sprint("order-", i), 1)
				}
				calls := broker.count()
				after(time.Hour)
				wantParked(t, db)
				if got := len(positions(t, broker.Broker, "annals.order")); got != n {
					t.Errorf("%d are published, want %d", got, n)
				}
				if tries := broker.count() - calls; tries > 3600/10+100 {
					t.Errorf("%d calls in an hour, want about one in 10 s", tries)
				}
				broker.set(nil, "")
				after(time.Minute)
				want := []int{}
				for i := range n + 30 {
					want = append(want, i+1)
				}
				wantPositions(t, broker.Broker, "annals.order", want...)
				wantParked(t, db)
				if diff := cmp.Diff([]string{"paused: it is no event's fault", "resumed: it is no event's fault"}, told); diff != "" {
					t.Error(diff)
				}
				end()
			})
		})
	}
}

// A message that the broker refuses for good is searched for, and its stream parked.
func TestRelayParksWhatIsRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, broker := memory.New(), &picky{Broker: memory.NewBroker(1), hates: "3"}
		appendNotes(t, db, "order-1", 3)
		appendNotes(t, db, "order-2", 6) // positions 4 to 9, the fourth is refused
		appendNotes(t, db, "order-3", 3)
		relay := bus.NewRelay(db, broker, silent)
		err := relay.Drain(t.Context())
		if want := `relay/main: 1 keys are parked: see annals parked; one of them: publish positions 7 to 7: message "3" is refused`; !errors.Is(err, worker.ErrParked) || err.Error() != want {
			t.Errorf("Drain = %v, want %s", err, want)
		}
		wantPositions(t, broker.Broker, "annals.order", 1, 2, 3, 4, 5, 6, 10, 11, 12)
		wantParked(t, db, `order-2 waiting: 3: publish positions 7 to 7: message "3" is refused`)
		broker.set(nil, "")
		retry(t, db, "order-2")
		drain(t, relay)
		wantPositions(t, broker.Broker, "annals.order", 1, 2, 3, 4, 5, 6, 10, 11, 12, 7, 8, 9)
		wantParked(t, db)
	})
}

// fuse is a breaker that a test opens and closes.
type fuse struct{ open atomic.Bool }

func (f *fuse) Allow() (func(error), error) {
	if f.open.Load() {
		return nil, worker.ErrOpen
	}
	return func(error) {}, nil
}

func TestRelayWaitsForItsBreaker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, broker, breaker := memory.New(), memory.NewBroker(1), &fuse{}
		breaker.open.Store(true)
		appendNotes(t, db, "order-1", 2)
		end := start(t, bus.NewRelay(db, broker, silent, bus.WithBreaker(breaker)))
		after(time.Hour)
		wantPositions(t, broker, "annals.order")
		wantParked(t, db)
		breaker.open.Store(false)
		after(time.Minute)
		wantPositions(t, broker, "annals.order", 1, 2)
		end()
	})
}

// Of two relays one publishes and the other stands by, until the first ends.
func TestOneRelayStandsBy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		broker := memory.NewBroker(1)
		first, second := &picky{Broker: broker}, &picky{Broker: broker}
		lease := bus.WithLease(6 * time.Second)
		appendNotes(t, db, "order-1", 1)
		endFirst := start(t, bus.NewRelay(db, first, silent, lease))
		after(time.Minute)
		endSecond := start(t, bus.NewRelay(db, second, silent, lease))
		for range 10 {
			appendNotes(t, db, "order-1", 1)
			after(time.Minute)
		}
		if first.count() != 11 || second.count() != 0 {
			t.Errorf("%d and %d calls, want the first alone to publish", first.count(), second.count())
		}
		endFirst()
		appendNotes(t, db, "order-1", 1)
		after(12 * time.Second)
		if second.count() != 1 {
			t.Errorf("%d calls of the second one, want it to have taken over", second.count())
		}
		wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
		endSecond()
	})
}
