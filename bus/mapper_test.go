package bus_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/upcast"
	"github.com/annals-go/annals/worker"
)

// of returns an event of a stream order-o-1 or the like.
func of(category, name, payload string) event.Recorded {
	r := recorded()
	r.Stream.Category, r.Name, r.Payload, r.Schema, r.Position = category, name, []byte(payload), 1, 7
	return r
}

func TestMappers(t *testing.T) {
	t.Parallel()
	shop := bus.TopicPerCategory("shop")
	for name, c := range map[string]struct {
		m    bus.Mapper
		e    event.Recorded
		want string // the topic; "": held back
	}{
		"per category":               {shop, of("order", "order.placed", ""), "shop.order"},
		"per name":                   {bus.TopicPerName("shop"), of("order", "order.placed", ""), "shop.order.placed"},
		"categories, one of them":    {bus.Categories(map[string]bus.Mapper{"order": bus.TopicPerName("v2")}, shop), of("order", "order.placed", ""), "v2.order.placed"},
		"categories, another":        {bus.Categories(map[string]bus.Mapper{"order": bus.TopicPerName("v2")}, shop), of("refund", "refund.made", ""), "shop.refund"},
		"categories, held back":      {bus.Categories(map[string]bus.Mapper{"order": nil}, shop), of("order", "order.placed", ""), ""},
		"categories, others held":    {bus.Categories(nil, nil), of("order", "order.placed", ""), ""},
		"filter, let through":        {bus.Filter(func(r event.Recorded) bool { return r.Position == 7 }, shop), of("order", "order.placed", ""), "shop.order"},
		"filter, held back":          {bus.Filter(func(r event.Recorded) bool { return r.Position == 8 }, shop), of("order", "order.placed", ""), ""},
		"drop, of another name":      {bus.Drop(shop, "order.noted"), of("order", "order.placed", ""), "shop.order"},
		"drop, of one of the names":  {bus.Drop(shop, "order.noted", "order.placed"), of("order", "order.placed", ""), ""},
		"with a header of one's own": {tagged(shop), of("order", "order.placed", ""), "shop.order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ok, err := c.m(c.e)
			if err != nil || ok != (c.want != "") || m.Topic != c.want {
				t.Errorf("mapped to %q, %v, %v, want %q", m.Topic, ok, err, c.want)
			}
			if !ok {
				return
			}
			got, err := bus.EventOf(m)
			if diff := cmp.Diff(c.e, got); err != nil || diff != "" {
				t.Errorf("EventOf: %v %s", err, diff)
			}
		})
	}
}

// tagged adds a header.
func tagged(m bus.Mapper) bus.Mapper {
	return func(r event.Recorded) (bus.Message, bool, error) {
		out, ok, err := m(r)
		out.Headers = append(out.Headers, bus.Header{Key: "region", Value: []byte("eu")})
		return out, ok, err
	}
}

type (
	fact   interface{ fact() }
	placed struct{ Cents int }
	billed struct{ Euro string }
	sent   struct{}
	split  struct{ Lines int }

	public    interface{ public() }
	orderOpen struct{ Amount int }
)

func (placed) fact()      {}
func (billed) fact()      {}
func (sent) fact()        {}
func (split) fact()       {}
func (orderOpen) public() {}

var (
	facts = codec.JSON(codec.Types[fact]{"order.placed": placed{}, "order.billed": billed{}, "order.sent": sent{}},
		upcast.Split("order.listed", 1, func(v split) []any {
			all := []any{}
			for range v.Lines {
				all = append(all, placed{10})
			}
			return all
		}, upcast.Into[placed]("order.placed", 1)),
		upcast.Drop("order.looked"))
	publics = codec.JSON(codec.Types[public]{"order.open": orderOpen{}})
)

var errNoAmount = errors.New("no amount")

func open(e event.Of[fact]) (public, bool, error) {
	switch e := e.Data.(type) {
	case placed:
		return orderOpen{e.Cents}, true, nil
	case billed:
		return nil, false, errNoAmount
	}
	return nil, false, nil
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	one := bus.Translate(facts, publics, open, bus.TopicPerCategory("shop"))
	all := bus.TranslateAll(facts, publics, func(es []event.Of[fact]) (public, bool, error) {
		sum := 0
		for _, e := range es {
			sum += e.Data.(placed).Cents
		}
		return orderOpen{sum}, true, nil
	}, bus.TopicPerName("shop"))
	for name, c := range map[string]struct {
		m       bus.Mapper
		e       event.Recorded
		topic   string // "": held back
		payload string
	}{
		"a message is made":           {one, of("order", "order.placed", `{"Cents":5}`), "shop.order", `{"Amount":5}`},
		"held back":                   {one, of("order", "order.sent", `{}`), "", ""},
		"dropped by an upcaster":      {one, of("order", "order.looked", `{}`), "", ""},
		"of another family":           {one, of("order", "refund.made", `{}`), "", ""},
		"split into one":              {one, of("order", "order.listed", `{"Lines":1}`), "shop.order", `{"Amount":10}`},
		"split into three":            {all, of("order", "order.listed", `{"Lines":3}`), "shop.order.open", `{"Amount":30}`},
		"split into none":             {all, of("order", "order.listed", `{"Lines":0}`), "", ""},
		"all, of another family":      {all, of("order", "refund.made", `{}`), "", ""},
		"all, dropped by an upcaster": {all, of("order", "order.looked", `{}`), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, ok, err := c.m(c.e)
			if err != nil || ok != (c.topic != "") || m.Topic != c.topic {
				t.Fatalf("mapped to %q, %v, %v, want %q", m.Topic, ok, err, c.topic)
			}
			if !ok {
				return
			}
			want := c.e
			want.Name, want.Payload = "order.open", []byte(c.payload)
			got, err := bus.EventOf(m)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("EventOf: %v %s", err, diff)
			}
			if !slices.Contains(headers(m), "ce_type: order.open") {
				t.Errorf("headers %q, want the type of the message", headers(m))
			}
		})
	}
}

func TestTranslateErrors(t *testing.T) {
	t.Parallel()
	bad := bus.Translate(facts, publics, func(event.Of[fact]) (public, bool, error) { return nil, true, nil }, bus.TopicPerCategory("shop"))
	m := bus.Translate(facts, publics, open, bus.TopicPerCategory("shop"))
	for want, c := range map[string]struct {
		m  bus.Mapper
		e  event.Recorded
		is error
	}{
		"translate order-o-1@3 (order.listed, position 7): an upcaster splits it into 2 events, and there can be one message of it: use TranslateAll": {m, of("order", "order.listed", `{"Lines":2}`), bus.ErrSplit},
		"no amount": {m, of("order", "order.billed", `{}`), errNoAmount},
		"decode order-o-1@3 (order.placed, position 7): event cannot be decoded: payload is empty":              {m, of("order", "order.placed", ``), codec.ErrUndecodable},
		"decode order-o-1@3 (order.new, position 7): event cannot be decoded: unknown event name \"order.new\"": {m, of("order", "order.new", `{}`), codec.ErrUndecodable},
		"encode <nil>: event cannot be encoded: the codec's Types have no name for it":                          {bad, of("order", "order.placed", `{}`), codec.ErrUnencodable},
	} {
		if _, ok, err := c.m(c.e); ok || !errors.Is(err, c.is) || err.Error() != want {
			t.Errorf("mapped %s: %v, %v, want %s", c.e.Name, ok, err, want)
		}
	}
	var split *bus.SplitError
	if _, _, err := m(of("order", "order.listed", `{"Lines":2}`)); !errors.As(err, &split) || split.Events != 2 || split.Event.Position != 7 {
		t.Errorf("%+v, want the event and 2", split)
	}
}

// A panic of a mapper is the event's: it is parked, and the others are published.
func TestRelayParksAPanicOfTheMapper(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 2)
	appendNotes(t, db, "order-2", 3)
	appendNotes(t, db, "order-3", 1)
	relay := bus.NewRelay(db, broker, silent, bus.WithMapper(func(r event.Recorded) (bus.Message, bool, error) {
		if r.Position == 4 {
			panic("no such customer")
		}
		return bus.TopicPerCategory("annals")(r)
	}))
	if err := relay.Drain(t.Context()); !errors.Is(err, worker.ErrParked) {
		t.Errorf("Drain = %v, want ErrParked", err)
	}
	wantPositions(t, broker, "annals.order", 1, 2, 3, 6)
	wantParked(t, db, "order-2 waiting: 2: panic: no such customer")
}
