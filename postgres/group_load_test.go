package postgres_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// A transaction of somebody else that has appended keeps appends to its stream
// waiting, and no others: neither those of the same group nor those behind it.
func TestBlockedStreamHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	rival := s.begin("")
	for _, id := range []string{"m", "n", "o"} {
		s.append(s.db.Tx(rival), id)
	}
	other := postgres.New(s.another(8), postgres.WithoutNotify())
	s.db = other
	release := other.HoldLanes()
	calls := s.gather(
		s.later("a", eventstore.None(), note("1")),
		s.later("m", eventstore.Any(), note("blocked")),
		s.later("z", eventstore.None(), note("1")),
	)
	release()
	for _, i := range []int{0, 2} {
		if _, err := calls[i].wait(); err != nil {
			t.Errorf("Append to %s = %v", calls[i].stream, err)
		}
	}
	// The first has left its group, and the others have had a lane each.
	blocked := []*call{calls[1], s.start("n", eventstore.None(), note("blocked")), s.start("o", eventstore.None(), note("blocked"))}
	s.until("three appends wait for the transaction", func() bool { return s.waiting() == 3 })
	for i := range 5 {
		s.append(s.db, fmt.Sprint("while they wait ", i))
	}
	behind := s.start("m", eventstore.Any(), note("behind the blocked one"))
	for _, c := range blocked {
		select {
		case <-c.ended:
			t.Errorf("the blocked append to %s returned %v", c.stream, c.err)
		default:
		}
	}
	s.end(rival.Commit(s.ctx))
	if res, err := blocked[0].wait(); err != nil || res.Version != 2 {
		t.Errorf("Append = %+v, %v, want version 2, behind the transaction", res, err)
	}
	for _, c := range blocked[1:] {
		if _, err := c.wait(); err == nil || err.Error() != "append "+c.stream.String()+": expected no event, stream is at 1" {
			t.Errorf("Append = %v, want a conflict with the transaction", err)
		}
	}
	if res, err := behind.wait(); err != nil || res.Version != 3 {
		t.Errorf("Append = %+v, %v, want version 3", res, err)
	}
}

// another is a second pool on the same database.
func (s *script) another(most int32) *pgxpool.Pool {
	s.Helper()
	config, err := pgxpool.ParseConfig(s.pool.Config().ConnString())
	s.end(err)
	config.MaxConns = most
	pool, err := pgxpool.NewWithConfig(s.ctx, config)
	s.end(err)
	s.Cleanup(pool.Close)
	return pool
}

// waiting returns how many backends wait for a lock.
func (s *script) waiting() int {
	s.Helper()
	var n int
	s.end(s.pool.QueryRow(s.ctx, `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`).Scan(&n))
	return n
}

// Appends to one stream take turns with those to others: the first group has
// one of each.
func TestHotStreamDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	release := s.db.HoldLanes()
	var starts []func() *call
	for i := range 50 {
		starts = append(starts, s.later("hot", eventstore.Any(), note(fmt.Sprint(i))))
	}
	starts = append(starts, s.later("cold", eventstore.None(), note("x")))
	calls := s.gather(starts...)
	release()
	for _, c := range calls {
		if _, err := c.wait(); err != nil {
			t.Errorf("Append to %s = %v", c.stream, err)
		}
	}
	var together bool
	s.end(s.pool.QueryRow(s.ctx, `
SELECT h.xmin::text = c.xmin::text
FROM annals.events h, annals.events c
WHERE h.stream_id = 'hot' AND h.version = 1 AND c.stream_id = 'cold' AND c.version = 1`).Scan(&together))
	if !together {
		t.Error("the append to cold was not sent with the first one to hot")
	}
	n := 0
	for e, err := range s.db.ReadStream(s.ctx, order("hot"), eventstore.StreamQuery{}) {
		if s.end(err); string(e.Payload) != fmt.Sprint(n) {
			t.Errorf("version %d holds %s, want the order of arrival", e.Version, e.Payload)
		}
		n++
	}
}

// Another process appends to the same streams, without groups. Of those that
// want one version one wins; those that take any all do.
func TestGroupsAgainstAnotherProcess(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	stores := []*postgres.DB{s.db, postgres.New(s.another(4), postgres.WithoutGroups(), postgres.WithoutNotify())}
	const streams, callers, rounds = 4, 6, 5
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex
		won := map[string]int{}
		for _, db := range stores {
			for c := range callers {
				for i := range streams {
					wg.Go(func() {
						id, expect := fmt.Sprint("any ", i), eventstore.Any()
						if c%2 == 0 {
							id, expect = fmt.Sprint("exact ", i), eventstore.Exactly(event.Version(round))
						}
						_, err := db.Append(s.ctx, order(id), expect, note(id))
						if errors.Is(err, eventstore.ErrConflict) && c%2 == 0 {
							return
						}
						if err != nil {
							t.Errorf("Append = %v", err)
						}
						mu.Lock()
						won[id]++
						mu.Unlock()
					})
				}
			}
		}
		wg.Wait()
		for i := range streams {
			if got, want := won[fmt.Sprint("exact ", i)], 1; got != want {
				t.Errorf("%d appends won version %d, want %d", got, round+1, want)
			}
			if got, want := won[fmt.Sprint("any ", i)], callers; got != want {
				t.Errorf("%d appends of any version were stored, want %d", got, want)
			}
		}
	}
	for i := range streams {
		if got, want := s.stored(fmt.Sprint("any ", i)), callers*rounds; got != want {
			t.Errorf("%d events, want %d", got, want)
		}
	}
}

func TestSmallPools(t *testing.T) {
	t.Parallel()
	for _, most := range []int32{1, 2} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			t.Parallel()
			s := newGroupScript(t)
			s.db = postgres.New(s.another(most))
			var wg sync.WaitGroup
			for c := range 64 {
				wg.Go(func() {
					for n := range 3 {
						if _, err := s.db.Append(s.ctx, order(fmt.Sprint(c%20)), eventstore.Any(), note(fmt.Sprint(n))); err != nil {
							t.Errorf("Append = %v", err)
						}
					}
					_, err := s.db.AppendAll(s.ctx,
						eventstore.Write{Stream: order(fmt.Sprint(c % 20)), Events: []event.Raw{note("x")}},
						eventstore.Write{Stream: order(fmt.Sprint((c + 1) % 20)), Events: []event.Raw{note("x")}})
					if err != nil {
						t.Errorf("AppendAll = %v", err)
					}
				})
			}
			wg.Wait()
			if got, want := len(s.log()), 64*5; got != want {
				t.Errorf("%d events, want %d", got, want)
			}
		})
	}
}

func TestLargeAppendsDoNotGather(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	release := s.db.HoldLanes()
	defer release()
	var many []event.Raw
	for i := range 51 {
		many = append(many, note(fmt.Sprint(i)))
	}
	large := []event.Raw{note(""), note("")}
	for i := range large {
		large[i].Payload = make([]byte, 600<<10)
	}
	for id, events := range map[string][]event.Raw{"many": many, "large": large} {
		if _, err := s.db.Append(s.ctx, order(id), eventstore.None(), events...); err != nil {
			t.Errorf("Append = %v", err)
		}
	}
}

// Without groups each append is a transaction of its own, however many there are.
func TestWithoutGroups(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.db = postgres.New(s.pool, postgres.WithoutGroups())
	const callers, each = 16, 5
	var wg sync.WaitGroup
	var ids []string
	for c := range callers {
		id := fmt.Sprint(c)
		ids = append(ids, id)
		wg.Go(func() {
			for n := range each {
				if _, err := s.db.Append(s.ctx, order(id), eventstore.Exactly(event.Version(n)), note("own")); err != nil {
					t.Errorf("Append = %v", err)
				}
				if _, err := s.db.Append(s.ctx, order("shared"), eventstore.Any(), note("shared")); err != nil {
					t.Errorf("Append = %v", err)
				}
			}
		})
	}
	wg.Wait()
	if got := s.transactions(ids...); got != callers {
		t.Errorf("%d transactions, want %d", got, callers)
	}
	if got, want := len(s.log()), 2*callers*each; got != want {
		t.Errorf("%d events, want %d", got, want)
	}
}
