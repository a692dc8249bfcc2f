package bustest

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// receiver keeps what is delivered, by value, and ends the consumption after want messages.
type receiver struct {
	t    *testing.T
	want int
	end  func()

	mu    sync.Mutex
	marks worker.Checkpoint
	got   map[string]bus.Received
	parts map[string]string // by value
}

func (r *receiver) Begin(context.Context, ...string) (worker.Checkpoint, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.marks), nil
}

func (r *receiver) Deliver(_ context.Context, d bus.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.marks[d.Part].Offset
	if d.First != at || len(d.Messages) == 0 {
		r.t.Errorf("delivery of %s from %d with %d messages: the one before ended at %d", d.Part, d.First, len(d.Messages), at)
	}
	for _, m := range d.Messages {
		if m.Offset < at || m.Offset >= d.Next {
			r.t.Errorf("message at offset %d of %s, in a delivery from %d to %d: want them to rise", m.Offset, d.Part, d.First, d.Next)
		}
		at = m.Offset + 1
		if _, repeated := r.got[string(m.Value)]; repeated {
			r.t.Errorf("message %q comes again", m.Value)
		}
		r.got[string(m.Value)], r.parts[string(m.Value)] = m, d.Part
	}
	r.marks[d.Part] = worker.Mark{Source: d.Source, Offset: d.Next, Of: d.Of}
	if len(r.got) >= r.want {
		r.end()
	}
	return nil
}

// receive reads want messages.
func receive(t *testing.T, target Target, marks worker.Checkpoint, want int) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	r := &receiver{t: t, want: want, end: cancel, marks: marks, got: map[string]bus.Received{}, parts: map[string]string{}}
	if err := target.Source("group-of-all", "shop.order").Receive(ctx, r); err != nil {
		t.Fatal(err)
	}
	if len(r.got) != want {
		t.Fatalf("%d messages came, want %d", len(r.got), want)
	}
	return r
}

func send(t *testing.T, target Target, messages ...bus.Message) {
	t.Helper()
	if err := target.Publisher.Publish(bounded(t), messages); err != nil {
		t.Fatal(err)
	}
}

func equal(a, b []byte) bool { return bytes.Equal(a, b) && (a == nil) == (b == nil) }

// What comes is what was sent, byte for byte: no bytes are not none, headers may repeat,
// and have their order.
func asSent(t *testing.T, target Target) {
	create(t, target, "shop.order")
	sent := []bus.Message{
		{Topic: "shop.order", Key: []byte("k\x00\xff"), Value: []byte("all"), Headers: []bus.Header{
			{Key: "b", Value: []byte("\xff\x00")}, {Key: "a", Value: []byte{}}, {Key: "b", Value: nil}, {Key: "", Value: []byte("x")},
		}},
		{Topic: "shop.order", Key: []byte{}, Value: []byte("empty key")},
		{Topic: "shop.order", Value: []byte("no key")},
		{Topic: "shop.order", Key: []byte("k"), Value: []byte{}},
	}
	before := time.Now()
	send(t, target, sent...)
	after := time.Now()
	r := receive(t, target, worker.Checkpoint{}, len(sent))
	for _, want := range sent {
		got, ok := r.got[string(want.Value)]
		if !ok {
			t.Errorf("message %q has not come", want.Value)
			continue
		}
		if got.Topic != want.Topic || !equal(got.Key, want.Key) || !equal(got.Value, want.Value) || len(got.Headers) != len(want.Headers) {
			t.Errorf("got  %#v\nwant %#v", got.Message, want)
			continue
		}
		for i, h := range want.Headers {
			if got.Headers[i].Key != h.Key || !equal(got.Headers[i].Value, h.Value) {
				t.Errorf("header %d of %q is %#v, want %#v", i, want.Value, got.Headers[i], h)
			}
		}
		if got.Time.Before(before.Add(-time.Millisecond)) || got.Time.After(after.Add(time.Millisecond)) {
			t.Errorf("message %q is of %v, want between %v and %v", want.Value, got.Time, before, after)
		}
	}
}

// It goes on by offsets, whatever the messages are.
func messagesGoOn(t *testing.T, target Target) {
	create(t, target, "shop.order")
	marks := worker.Checkpoint{}
	text := func(from, to byte) (out []bus.Message) {
		for c := from; c <= to; c++ {
			out = append(out, bus.Message{Topic: "shop.order", Key: []byte{c % 5}, Value: []byte{c}})
		}
		return out
	}
	send(t, target, text('a', 'm')...)
	first := receive(t, target, marks, 13)
	send(t, target, text('n', 'z')...)
	second := receive(t, target, marks, 13)
	for value := range first.got {
		if _, again := second.got[value]; again {
			t.Errorf("message %q has come again, behind the checkpoint", value)
		}
	}
	parts := map[string]string{}
	for _, r := range []*receiver{first, second} {
		for value, part := range r.parts {
			key := string(r.got[value].Key)
			if other := parts[key]; other != "" && other != part {
				t.Errorf("key %q is in %s and in %s", key, other, part)
			}
			parts[key] = part
		}
	}
}

// A message of somebody else is an error for who wants events, or is passed over, and is
// never taken for an event.
func foreign(t *testing.T, target Target) {
	es := events(17, 3)
	create(t, target, "shop.order")
	var messages []bus.Message
	for i, e := range es {
		m, err := bus.MessageOf("shop.order", e)
		if err != nil {
			t.Fatal(err)
		}
		m.Key = []byte("one") // so that all are in one part
		if i == 1 {
			m.Headers = m.Headers[1:]
		}
		messages = append(messages, m)
	}
	send(t, target, messages...)
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	s := &sink{t: t, want: 100, end: cancel, marks: worker.Checkpoint{}}
	err := target.Source("strict", "shop.order").Consume(ctx, s)
	if !errors.Is(err, bus.ErrForeign) || !worker.IsPermanent(err) || !strings.Contains(err.Error(), " offset 1: ") {
		t.Errorf("Consume = %v, want a permanent ErrForeign that names the offset", err)
	}
	s = &sink{t: t, want: 2, end: cancel, marks: worker.Checkpoint{}}
	if err := target.Source("lenient", "shop.order").Receive(ctx, bus.Events(s, bus.Ignore)); err != nil {
		t.Error(err)
	}
	if len(s.events) != 2 || s.events[0].Metadata.ID != es[0].Metadata.ID || s.events[1].Metadata.ID != es[2].Metadata.ID {
		t.Errorf("got %v, want the first and the third event", s.events)
	}
	for part, m := range s.marks {
		if m.Offset != 3 {
			t.Errorf("the mark of %s is %d, want 3: what was passed over does not come again", part, m.Offset)
		}
	}
	receive(t, target, worker.Checkpoint{}, 3) // and as messages all of them come
}
