package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// reader follows a log while it grows, across all rounds, and counts what it
// gets.
type reader struct {
	clock clock
	// page hands every event after the position to see, oldest first, and
	// returns where the next page begins.
	page func(ctx context.Context, after int64, see func(event.Stream, event.Version, []byte)) (next int64, err error)
	wait func(ctx context.Context, after int64) error
	// strict readers promise every event once, and in order.
	strict bool

	at       int64
	seen     int64
	versions map[event.Stream]event.Version
	strays   int64 // events that were not the next one of their stream
}

// readerPage is the most events of a page of a reader that follows the log.
const readerPage = 1000

func readAnnals(c clock, log eventstore.Log) *reader {
	return &reader{
		clock: c, strict: true, versions: map[event.Stream]event.Version{},
		page: func(ctx context.Context, after int64, see func(event.Stream, event.Version, []byte)) (int64, error) {
			page, err := log.ReadLog(ctx, eventstore.LogQuery{After: event.Position(after), Limit: readerPage})
			for _, e := range page.Events {
				see(e.Stream, e.Version, e.Payload)
			}
			return int64(page.Next), err
		},
		wait: func(ctx context.Context, after int64) error { return log.Wait(ctx, event.Position(after)) },
	}
}

// readByHand asks for what is behind its cursor, once in a millisecond. It is
// quick, and skips whatever commits after an event of a higher position.
func readByHand(c clock, pool *pgxpool.Pool) *reader {
	return &reader{
		clock: c, versions: map[event.Stream]event.Version{},
		page: func(ctx context.Context, after int64, see func(event.Stream, event.Version, []byte)) (int64, error) {
			rows, err := pool.Query(ctx, pageByHand, after, readerPage)
			if err != nil {
				return after, err
			}
			_, err = scan(rows, func(r *row) {
				after = r.position
				see(event.Stream{Category: r.category, ID: r.stream}, event.Version(r.version), r.payload)
			})
			return after, err
		},
		wait: func(ctx context.Context, _ int64) error { return sleep(ctx, time.Millisecond) },
	}
}

// standstill is how long a strict reader may need for the last events.
const standstill = 20 * time.Second

// follow reads until everything has been appended that will be: written is
// closed then, and total says how many events there are in all. It returns the
// time from the call of each append to the return of its page.
func (r *reader) follow(ctx context.Context, written <-chan struct{}, total func() int64) ([]time.Duration, error) {
	var (
		latencies []time.Duration
		since     time.Time // nothing more was to come
	)
	for {
		if since.IsZero() && closed(written) {
			since = time.Now()
		}
		before := r.seen
		first := len(latencies)
		next, err := r.page(ctx, r.at, func(s event.Stream, v event.Version, payload []byte) {
			r.see(s, v)
			latencies = append(latencies, r.clock.read(payload))
		})
		if err != nil {
			return nil, err
		}
		now := r.clock.now()
		for i := range latencies[first:] {
			latencies[first+i] = now - latencies[first+i]
		}
		if r.at = next; r.seen > before {
			continue
		}
		if !since.IsZero() && (!r.strict || r.seen >= total()) {
			return latencies, r.check(total())
		}
		if !since.IsZero() && time.Since(since) > standstill {
			return nil, fmt.Errorf("read the log: %d of %d events came, and no more for %v", r.seen, total(), standstill)
		}
		if err := r.wait(ctx, r.at); err != nil {
			return nil, err
		}
	}
}

func (r *reader) see(s event.Stream, v event.Version) {
	r.seen++
	if v != r.versions[s]+1 {
		r.strays++
	}
	r.versions[s] = v
}

func (r *reader) check(total int64) error {
	if r.strict && (r.seen != total || r.strays > 0) {
		return fmt.Errorf("read the log: got %d events, %d of them not the next of their stream; want %d, all in order", r.seen, r.strays, total)
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
