package workertest

import (
	"reflect"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

func status[Tx any](t *testing.T, target Target[Tx], name string) worker.Status {
	t.Helper()
	s, err := target.Store.Status(bounded(t), name)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != name || s.Time.IsZero() {
		t.Errorf("status of %q at %v, want of %q, now", s.Name, s.Time, name)
	}
	return s
}

func statusOfNobody[Tx any](t *testing.T, target Target[Tx]) {
	write(t, target, parking(worker.Mark{}))
	renew(t, target, "w", claim(t, target, "w", "a"))
	s := status(t, target, "another")
	if len(s.Members) != 0 || len(s.Parts) != 0 || s.Head != 0 {
		t.Errorf("status %+v, want nothing", s)
	}
}

// Parts are told that have a mark, a seat or something parked, and each has its own
// lag: in events, and in time.
func tellsStatus[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	for range 5 {
		_, err := target.Store.Append(ctx, event.Stream{Category: "effect", ID: "1"}, eventstore.Any(),
			event.Raw{Name: "effect.made", Schema: 1, ContentType: "text/plain"})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := target.Store.ReadLog(ctx, eventstore.LogQuery{})
	if err != nil || len(page.Events) != 5 {
		t.Fatalf("ReadLog = %d events, %v, want 5", len(page.Events), err)
	}
	head := page.Events[4].Position
	parts := map[string]worker.Mark{"": {Position: page.Events[2].Position}, "end": {Position: head}, "beyond": {Position: head + 7}, "p": {Position: page.Events[3].Position}}
	if err := save(ctx, target, parts); err != nil {
		t.Fatal(err)
	}
	term := claim(t, target, "w", "seat")
	claim(t, target, "gone", "p")
	target.Pass(2 * lease)
	renew(t, target, "w", term)
	w := parking(read(t, target)["p"])
	w.Park[0].Since = page.Events[0].RecordedTime.Add(-time.Hour)
	for _, key := range []string{"b", "c"} {
		w.Park = append(w.Park, worker.Parked{Key: worker.Key{Part: "p", Key: key}, State: worker.Waiting, Since: page.Events[0].RecordedTime})
	}
	w.Items = append(w.Items, worker.Item{Key: w.Park[1].Key, Seq: 1})
	if err := target.Store.Save(ctx, name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	s := status(t, target, name)
	if s.Head != head || !reflect.DeepEqual(s.Members, []string{"w"}) {
		t.Errorf("head %d, members %q, want %d and the one that works", s.Head, s.Members, head)
	}
	marks := read(t, target)
	lags := map[string]int64{"": 2, "beyond": 0, "end": 0, "p": 1, "seat": 5}
	var order []string
	for _, p := range s.Parts {
		order = append(order, p.Part)
		if p.Mark != marks[p.Part] || p.Altered != nil || p.Updated.IsZero() != (p.Part == "seat") {
			t.Errorf("part %q: %+v, %v, written %v, want %+v", p.Part, p.Mark, p.Altered, p.Updated, marks[p.Part])
		}
		if p.Lag != lags[p.Part] || p.Estimated || p.Behind < 0 || p.Lag == 0 && p.Behind != 0 {
			t.Errorf("part %q: %d events behind for %v (estimated: %v), want %d", p.Part, p.Lag, p.Behind, p.Estimated, lags[p.Part])
		}
		retrying, waiting, items := 0, 0, int64(0)
		if p.Part == "p" {
			retrying, waiting, items = 1, 2, 4
		}
		if p.Retrying != retrying || p.Waiting != waiting || p.Parked != items || (p.Oldest >= time.Hour) != (p.Part == "p") {
			t.Errorf("part %q: %d retrying, %d waiting, %d events, the oldest for %v", p.Part, p.Retrying, p.Waiting, p.Parked, p.Oldest)
		}
		switch {
		case p.Part == "seat" && (p.Seat == nil || p.Seat.Term != term || p.Seat.Holder != "w" || !p.Seat.Live):
			t.Errorf("seat %+v, want that of the one that works", p.Seat)
		case p.Part == "p" && (p.Seat == nil || p.Seat.Live):
			t.Errorf("seat %+v, want one whose lease has run out", p.Seat)
		case p.Part != "seat" && p.Part != "p" && p.Seat != nil:
			t.Errorf("part %q has the seat %+v", p.Part, p.Seat)
		}
	}
	if want := []string{"", "beyond", "end", "p", "seat"}; !reflect.DeepEqual(order, want) {
		t.Errorf("parts %q, want %q", order, want)
	}
}
