package worker_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// moody is a log that counts its reads, and refuses those of single events.
type moody struct {
	eventstore.Log
	refuse         atomic.Bool
	reads, refused atomic.Int64
}

func (m *moody) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	m.reads.Add(1)
	if m.refuse.Load() && q.Limit == 1 {
		m.refused.Add(1)
		return eventstore.Page{After: q.After, Next: q.After}, errAway
	}
	return m.Log.ReadLog(ctx, q)
}

// failingFor fails at the first event for a number of times.
func failingFor(times int) func(worker.Batch) error {
	return func(b worker.Batch) error {
		for i, e := range b.Events {
			if e.Position == 1 && times > 0 {
				times--
				return &worker.EventError{Index: i, Err: errors.New("not yet")}
			}
		}
		return nil
	}
}

func TestAParkedEventThatCannotBeReadIsNotTried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: memory.New(), fail: failingFor(1)}
		note(t, g.db, "1", 0)
		note(t, g.db, "2", 0)
		log := &moody{Log: g.db}
		log.refuse.Store(true)
		r := g.reader()
		r.Log = log
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-time.After(10 * time.Minute)
		if p := onlyParked(t, g.db); p.State != worker.Retrying || p.Attempts != 1 || log.refused.Load() < 5 {
			t.Errorf("parked %+v after %d reads were refused, want one attempt", p, log.refused.Load())
		}
		log.refuse.Store(false)
		<-time.After(time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		if diff := cmp.Diff([]event.Position{2, 1}, g.applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
	})
}

// A key that fails and fails while nothing else happens is waited for: neither the key
// nor the log is asked without a pause.
func TestAnIdleReaderWaitsForTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := &target{db: filled(t, 1), fail: failingFor(1 << 30)}
		log := &moody{Log: g.db}
		r := g.reader()
		r.Log = log
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		<-time.After(time.Hour)
		if most := int64(60 * 60); log.reads.Load() > most {
			t.Errorf("%d reads in an hour, want at most one a second", log.reads.Load())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// An attempt of which nothing is known has ended its process; after so many the key
// waits for somebody.
func TestAnAttemptWithoutAnEndIsACrash(t *testing.T) {
	t.Parallel()
	const ended = "the process has ended while this event was applied"
	for kills, want := range map[int]worker.State{0: "", worker.DefaultKills - 2: "", worker.DefaultKills - 1: worker.Waiting} {
		synctest.Test(t, func(t *testing.T) {
			g := &target{db: filled(t, 1)}
			p := worker.Parked{
				Key: worker.Key{Key: "order-1"}, State: worker.Retrying, Since: time.Now(), Next: time.Now(), Attempts: 1 + kills,
				Error: "the attempt has begun, and nothing is known of its end",
			}
			for range kills {
				p.History = append(p.History, worker.Attempt{Time: time.Now(), Error: ended})
			}
			w := worker.Write{
				Marks: worker.Checkpoint{"": {Position: 1}},
				Park:  []worker.Parked{p}, Items: []worker.Item{{Key: p.Key, Seq: 1}},
			}
			if err := g.db.Save(t.Context(), "reader", worker.Term{}, w); err != nil {
				t.Fatal(err)
			}
			err := g.reader().RunTo(t.Context(), 1)
			all := allParked(t, g.db)
			switch {
			case want == "" && (err != nil || len(all) != 0 || len(g.applied) != 1):
				t.Errorf("after %d: RunTo = %v, parked %+v, want it to take effect", kills, err, all)
			case want != "" && (len(all) != 1 || all[0].State != want || all[0].Error != ended || len(g.applied) != 0):
				t.Errorf("after %d: RunTo = %v, parked %+v, want it %s", kills, err, all, want)
			}
		})
	}
}
