package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// history is a log that a test writes as it likes: holes, other events, other
// servers. Its marks are kept beside it, unless it is read through apart.
type history struct {
	eventstore.Log
	worker.Checkpoints
	events  []event.Recorded
	lineage eventstore.Lineage
	page    int  // events of a page; 0: 100
	empty   bool // a page ends behind its last event
	read    int  // events that were read
	lowest  event.Position
	cut     int // pages until another server takes over; 0: never
}

func (h *history) Lineage(context.Context) (eventstore.Lineage, error) {
	if h.lineage == nil {
		return nil, errAway
	}
	return h.lineage, nil
}

var errAway = errors.New("server is away")

func (h *history) ReadLog(_ context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	page := eventstore.Page{After: q.After, Next: q.After}
	if h.cut--; h.cut == 0 || q.Server != h.lineage.Now().Server {
		return page, fmt.Errorf("read log after %d: %w", q.After, eventstore.ErrOtherServer)
	}
	if h.lowest == 0 || q.After < h.lowest {
		h.lowest = q.After
	}
	limit := h.page
	if limit == 0 {
		limit = 100
	}
	for i, e := range h.events {
		if e.Position > q.After && len(page.Events) < limit {
			page.Events = append(page.Events, e)
			page.Next = e.Position
			if h.empty && i+1 < len(h.events) {
				page.Next = h.events[i+1].Position - 1
			}
		}
	}
	h.read += len(page.Events)
	return page, nil
}

// apart is the same log, with marks that are kept elsewhere.
func (h *history) apart() eventstore.Log {
	return worker.Join(h, worker.Store[*memory.Tx](memory.New()))
}

var incarnation = event.NewID()

// servers is a lineage whose generations began at the positions given by name.
func servers(at ...any) eventstore.Lineage {
	var l eventstore.Lineage
	for i := 0; i < len(at); i += 2 {
		l = append(l, eventstore.Generation{Incarnation: incarnation, Server: at[i].(string), Since: event.Position(at[i+1].(int))})
	}
	return l
}

func at(p int) event.Recorded {
	e := event.Recorded{
		Raw:    event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: fmt.Append(nil, p)},
		Stream: event.Stream{Category: "order", ID: "1"}, Version: event.Version(p), Position: event.Position(p),
	}
	e.Metadata.ID[0], e.Metadata.ID[15] = byte(p>>8), byte(p)
	return e
}

// other is an event that came in the place of a lost one.
func other(p int) event.Recorded {
	e := at(p)
	e.Metadata.ID[7] = 1
	return e
}

func from(first, last int) []event.Recorded {
	var out []event.Recorded
	for p := first; p <= last; p++ {
		out = append(out, at(p))
	}
	return out
}

// given is the mark of a reader that was given the events in pages of n.
func given(server string, n int, events ...event.Recorded) worker.Mark {
	m := worker.Mark{Server: server}
	for len(events) > 0 {
		page := events[:min(n, len(events))]
		m = m.Reached(page[len(page)-1].Position, page)
		events = events[len(page):]
	}
	return m
}

func resume(log eventstore.Log, m worker.Mark) (worker.Mark, error) {
	return worker.Resume(context.Background(), log, "totals", m)
}

// wantDiverged says that the difference begins at first and was named no later,
// and no earlier than the waypoints of the mark allow.
func wantDiverged(t *testing.T, err error, m worker.Mark, first event.Position) {
	t.Helper()
	var d *worker.DivergedError
	if !errors.As(err, &d) || !errors.Is(err, worker.ErrDiverged) {
		t.Errorf("Resume = %v, want a DivergedError from %d", err, first)
		return
	}
	want := event.Position(1)
	for _, w := range m.Trail.Waypoints() {
		if w.Position < first {
			want = w.Position + 1
		}
	}
	if d.From != want || d.To != m.Position || d.Name != "totals" || d.Part != "" {
		t.Errorf("%+v, want from %d to %d: the first difference is at %d", d, want, m.Position, first)
	}
}

func many(first, last int) []event.Recorded {
	out := from(first, last)
	for i := range out {
		out[i] = other(first + i)
	}
	return out
}
