package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// until returns when it is so.
func (s *script) until(what string, so func() bool) {
	s.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			s.Fatal("waiting until " + what)
		}
	}
}

// newGroupScript is a script that ends when nothing of the group runs any more.
func newGroupScript(t *testing.T) *script {
	t.Helper()
	s := newScript(t)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
		defer cancel()
		s.ctx = ctx
		s.until("the group is idle", s.db.Idle)
	})
	return s
}

// call is an append on its way.
type call struct {
	stream event.Stream
	expect eventstore.Expect
	events []event.Raw
	cancel context.CancelFunc
	ended  chan struct{}

	res eventstore.Result
	err error
}

func (s *script) start(id string, expect eventstore.Expect, events ...event.Raw) *call {
	ctx, cancel := context.WithCancel(s.ctx)
	s.Cleanup(cancel)
	c := &call{stream: order(id), expect: expect, events: events, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.res, c.err = s.db.Append(ctx, c.stream, expect, events...)
	}()
	return c
}

// gather starts appends that wait for a lane, in this order.
func (s *script) gather(calls ...func() *call) []*call {
	s.Helper()
	var out []*call
	for _, start := range calls {
		before := s.db.Gathered()
		out = append(out, start())
		s.until("an append has gathered", func() bool { return s.db.Gathered() == before+1 })
	}
	return out
}

func (s *script) later(id string, expect eventstore.Expect, events ...event.Raw) func() *call {
	return func() *call { return s.start(id, expect, events...) }
}

func (c *call) wait() (eventstore.Result, error) {
	<-c.ended
	return c.res, c.err
}

// stored returns how many events the stream has.
func (s *script) stored(id string) int {
	s.Helper()
	n := 0
	for _, err := range s.db.ReadStream(s.ctx, order(id), eventstore.StreamQuery{}) {
		s.end(err)
		n++
	}
	return n
}

// transactions returns how many transactions have stored the last events of the
// streams.
func (s *script) transactions(ids ...string) int {
	s.Helper()
	var n int
	s.end(s.pool.QueryRow(s.ctx, `
SELECT count(DISTINCT e.xmin::text)
FROM unnest($1::text[]) AS s (id)
CROSS JOIN LATERAL (SELECT xmin FROM annals.events WHERE stream_id = s.id ORDER BY version DESC LIMIT 1) e`, ids).Scan(&n))
	return n
}

// Each append of a group has the outcome that it would have had alone, whatever
// its neighbours have, and wherever it stands among them.
func TestGroupMembersHaveTheirOwnOutcomes(t *testing.T) {
	t.Parallel()
	for name, repeatExpect := range map[string]eventstore.Expect{
		"in one statement":                         eventstore.None(),
		"one by one, after a repeated id stops it": eventstore.Any(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newGroupScript(t)
			last := note("last")
			last.Closes = true
			known := []event.Raw{note("1"), note("2")}
			for id, events := range map[string][]event.Raw{"b-conflict": {note("x")}, "d-repeated": known, "f-closed": {last}, "g-reused": known, "i-exact": known} {
				_, err := s.db.Append(s.ctx, order(id), eventstore.None(), events...)
				s.end(err)
			}
			changed := known[0]
			changed.Payload = []byte("other")
			release := s.db.HoldLanes()
			calls := s.gather(
				s.later("i-exact", eventstore.Exactly(2), note("3")),
				s.later("h-new", eventstore.None(), note("1"), note("2"), note("3")),
				s.later("g-reused", eventstore.Exactly(9), changed),
				s.later("f-closed", eventstore.Any(), note("late")),
				s.later("e-new", eventstore.Any(), note("1")),
				s.later("d-repeated", repeatExpect, known...),
				s.later("c-new", eventstore.Any(), note("1"), note("2")),
				s.later("b-conflict", eventstore.Exactly(7), note("y")),
				s.later("a-new", eventstore.None(), note("1")),
			)
			release()
			want := map[string]struct {
				version  event.Version
				repeated bool
				text     string
				stored   int
			}{
				"a-new":      {1, false, "", 1},
				"b-conflict": {0, false, "append order-b-conflict: expected version 7, stream is at 1", 1},
				"c-new":      {2, false, "", 2},
				"d-repeated": {2, true, "", 2},
				"e-new":      {1, false, "", 1},
				"f-closed":   {0, false, "append order-f-closed: stream was closed at version 1", 1},
				"g-reused":   {0, false, "append order-g-reused: event id " + known[0].Metadata.ID.String() + " is already used at version 1 for something else", 2},
				"h-new":      {3, false, "", 3},
				"i-exact":    {3, false, "", 3},
			}
			for _, c := range calls {
				res, err := c.wait()
				w := want[c.stream.ID]
				text := ""
				if err != nil {
					text = err.Error()
				}
				if res.Version != w.version || res.Repeated != w.repeated || text != w.text {
					t.Errorf("append to %s = %+v, %q, want %+v", c.stream, res, text, w)
				}
				if got := s.stored(c.stream.ID); got != w.stored {
					t.Errorf("%s has %d events, want %d", c.stream, got, w.stored)
				}
				if err == nil {
					page, err := s.db.ReadLog(s.ctx, eventstore.LogQuery{After: res.Position - 1, Limit: 1})
					if err != nil || len(page.Events) != 1 || page.Events[0].Metadata.ID != c.events[len(c.events)-1].Metadata.ID {
						t.Errorf("position %d of %s is %v, %v", res.Position, c.stream, page.Events, err)
					}
				}
			}
			wantTransactions := 1
			if repeatExpect == eventstore.Any() {
				wantTransactions = 5
			}
			if got := s.transactions("a-new", "c-new", "e-new", "h-new", "i-exact"); got != wantTransactions {
				t.Errorf("%d transactions, want %d", got, wantTransactions)
			}
		})
	}
}

// Who leaves while the append waits for a lane knows that it is not stored, and
// nobody else notices.
func TestGroupMemberLeavesBeforeItIsSent(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	release := s.db.HoldLanes()
	calls := s.gather(
		s.later("s", eventstore.Any(), note("leaves, ready")),
		s.later("s", eventstore.Any(), note("stays, behind it")),
		s.later("s", eventstore.Any(), note("leaves, behind that")),
		s.later("s", eventstore.Any(), note("stays, at the end")),
		s.later("t", eventstore.Any(), note("stays")),
		s.later("u", eventstore.Any(), note("leaves, alone")),
	)
	for _, i := range []int{0, 2, 5} {
		calls[i].cancel()
		_, err := calls[i].wait()
		if !errors.Is(err, context.Canceled) || errors.Is(err, eventstore.ErrOutcomeUnknown) || err.Error() != "append "+calls[i].stream.String()+": context canceled" {
			t.Errorf("Append = %v, want the context's error, and that nothing was stored", err)
		}
	}
	release()
	for _, i := range []int{1, 3, 4} {
		if _, err := calls[i].wait(); err != nil {
			t.Errorf("Append of %s = %v", calls[i].events[0].Payload, err)
		}
	}
	s.until("the group is idle", s.db.Idle)
	if got := []int{s.stored("s"), s.stored("t"), s.stored("u")}; !slices.Equal(got, []int{2, 1, 0}) {
		t.Errorf("streams s, t, u have %v events, want 2, 1, 0", got)
	}
}

// behind makes the script's store one of a single connection behind the gate.
// That has sent a group before, so the next answer is all that a group gets.
func (s *script) behind(g *gate) {
	s.Helper()
	s.pool = g.pool(s.T)
	s.db = postgres.New(s.pool, postgres.WithoutNotify())
	release := s.db.HoldLanes()
	calls := s.gather(s.later("warm", eventstore.Any(), note("x")), s.later("up", eventstore.Any(), note("x")))
	release()
	for _, c := range calls {
		_, err := c.wait()
		s.end(err)
	}
	s.until("the group is idle", s.db.Idle)
}

// Who leaves after the append was sent does not know what becomes of it, and
// does not take its neighbours along.
func TestGroupMemberLeavesAfterItWasSent(t *testing.T) {
	t.Parallel()
	s := newGroupScript(t)
	var g gate
	s.behind(&g)
	release := s.db.HoldLanes()
	calls := s.gather(
		s.later("a", eventstore.None(), note("stays")),
		s.later("b", eventstore.None(), note("leaves")),
		s.later("b", eventstore.Any(), note("stays, behind it")),
		s.later("c", eventstore.None(), note("stays")),
	)
	g.close()
	release()
	<-g.held
	calls[1].cancel()
	if _, err := calls[1].wait(); !errors.Is(err, eventstore.ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) || err.Error() != "append order-b: outcome unknown: context canceled" {
		t.Errorf("Append = %v, want ErrOutcomeUnknown and the context's error", err)
	}
	g.pass <- true
	for _, i := range []int{0, 2, 3} {
		if _, err := calls[i].wait(); err != nil {
			t.Errorf("Append to %s = %v", calls[i].stream, err)
		}
	}
	res, err := s.db.Append(s.ctx, calls[1].stream, calls[1].expect, calls[1].events...)
	if err != nil || !res.Repeated || res.Version != 1 {
		t.Errorf("the same append again = %+v, %v, want a repeat: the group went on", res, err)
	}
}
