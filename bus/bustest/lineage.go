package bustest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// newest collects the positions that Newest shows of each partition.
func newest(t *testing.T, target Target, topic string, more func(partition int32, seen int) bool) map[int32][]event.Position {
	t.Helper()
	out := map[int32][]event.Position{}
	last := int32(-1)
	err := target.Publisher.Newest(bounded(t), topic, func(partition int32, m bus.Message) bool {
		m.Value = []byte("x") // may have been left out
		e, err := bus.EventOf(m)
		if err != nil {
			t.Fatal(err)
		}
		if partition != last && out[partition] != nil {
			t.Errorf("partition %d is shown again after partition %d", partition, last)
		}
		last = partition
		out[partition] = append(out[partition], e.Position)
		return more(partition, len(out[partition]))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func newestFirst(t *testing.T, target Target) {
	const n = 5000 // more than is read at once, several times
	publish(t, target, "shop.order", events(1, 2000))
	publish(t, target, "shop.order", events(2001, n-2000))
	all := newest(t, target, "shop.order", func(int32, int) bool { return true })
	count := 0
	for partition, positions := range all {
		count += len(positions)
		if !slices.IsSortedFunc(positions, func(a, b event.Position) int { return int(b - a) }) {
			t.Errorf("partition %d is not shown from the newest backwards", partition)
		}
	}
	if count != n {
		t.Errorf("%d messages are shown, want %d", count, n)
	}
	stop := func(partition int32) int { return 1 + 700*int(partition) } // each where it likes
	for partition, positions := range newest(t, target, "shop.order", func(p int32, seen int) bool { return seen < stop(p) }) {
		if want := all[partition][:min(stop(partition), len(all[partition]))]; !slices.Equal(positions, want) {
			t.Errorf("of partition %d %d are shown, want the newest %d", partition, len(positions), len(want))
		}
	}
	publish(t, target, "shop.order", events(n+1, 17)) // and it goes on
	if got := newest(t, target, "shop.order", func(int32, int) bool { return false }); len(got) != len(all) {
		t.Errorf("%v, want one of each partition", got)
	}
}

func newestOfNothing(t *testing.T, target Target) {
	visit := func(int32, bus.Message) bool {
		t.Error("a message is shown")
		return true
	}
	if err := target.Publisher.Newest(bounded(t), "shop.none", visit); err != nil {
		t.Errorf("Newest of a topic that does not exist = %v, want nil", err)
	}
	publish(t, target, "shop.order", nil)
	if err := target.Publisher.Newest(bounded(t), "shop.order", visit); err != nil {
		t.Errorf("Newest of an empty topic = %v, want nil", err)
	}
	publish(t, target, "shop.order", events(1, 3))
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	if err := target.Publisher.Newest(ctx, "shop.order", visit); !errors.Is(err, context.Canceled) {
		t.Errorf("Newest = %v, want context.Canceled", err)
	}
}

// histories keeps the lineage of each event that is delivered.
type histories struct {
	*sink
	got map[event.Position]string
}

func (h *histories) Deliver(ctx context.Context, d worker.Delivery) error {
	h.mu.Lock()
	for _, e := range d.Events {
		h.got[e.Position] = d.Lineage
	}
	h.mu.Unlock()
	return h.sink.Deliver(ctx, d)
}

// Runs of messages with and without a lineage, in one batch: no delivery has two.
func lineagesApart(t *testing.T, target Target) {
	const n = 120
	create(t, target, "shop.order")
	of := func(p int) string { return []string{"", "", "a", "a", "b", "a"}[p/13%6] }
	var messages []bus.Message
	for _, e := range events(1, n) {
		m, err := bus.MessageOf("shop.order", e)
		if err != nil {
			t.Fatal(err)
		}
		if lineage := of(int(e.Position)); lineage != "" {
			m.Headers = append(m.Headers, bus.Header{Key: bus.HeaderLineage, Value: []byte(lineage)})
		}
		messages = append(messages, m)
	}
	if err := target.Publisher.Publish(bounded(t), messages); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	h := &histories{&sink{t: t, want: n, end: cancel, marks: worker.Checkpoint{}}, map[event.Position]string{}}
	if err := target.Source("group", "shop.order").Consume(ctx, h); err != nil {
		t.Fatal(err)
	}
	for p := 1; p <= n; p++ {
		if got, ok := h.got[event.Position(p)]; !ok || got != of(p) {
			t.Fatalf("position %d came with lineage %q, %v, want %q", p, got, ok, of(p))
		}
	}
}
