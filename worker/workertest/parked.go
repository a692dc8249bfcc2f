package workertest

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// parking is a write that moves part "p", and parks a key of it with three items.
func parking(m worker.Mark) worker.Write {
	key := worker.Key{Part: "p", Key: "order-o-1"}
	w := move("p", m)
	w.Park = []worker.Parked{{Key: key, State: worker.Retrying, Since: noon, Next: noon.Add(time.Second), Attempts: 1, Error: "refused", Events: 9, First: 9}}
	w.Items = []worker.Item{{Key: key, Seq: 3}, {Key: key, Seq: 5, Data: []byte("five")}, {Key: key, Seq: 4}}
	w.Audit = []worker.Audit{{Key: key, Time: noon, Actor: "ada", Action: "note", Detail: "seen"}}
	return w
}

// state is all that a store keeps for the reader that the suite works for.
type state struct {
	marks   worker.Checkpoint
	parked  []worker.Parked
	items   []worker.Item
	audits  []worker.Audit
	effects int
}

func everything[Tx any](t *testing.T, target Target[Tx]) state {
	t.Helper()
	ctx := bounded(t)
	s := state{marks: read(t, target), parked: parked(t, target, worker.ParkedQuery{Name: name}), effects: effects(t, target)}
	for _, p := range s.parked {
		s.items = append(s.items, items(t, target, p.Key, 0, 1000)...)
	}
	var err error
	if s.audits, err = target.Store.Audits(ctx, name, time.Time{}, 1000); err != nil {
		t.Fatal(err)
	}
	return s
}

// parked are parked keys, with times in UTC.
func parked[Tx any](t *testing.T, target Target[Tx], q worker.ParkedQuery) []worker.Parked {
	t.Helper()
	got, err := target.Store.Parked(bounded(t), q)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range got {
		got[i].Since, got[i].Next = p.Since.UTC(), p.Next.UTC()
	}
	return got
}

func items[Tx any](t *testing.T, target Target[Tx], key worker.Key, after int64, limit int) []worker.Item {
	t.Helper()
	got, err := target.Store.Items(bounded(t), name, key, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// write makes a write of part "p", whatever its revision is.
func write[Tx any](t *testing.T, target Target[Tx], w worker.Write) {
	t.Helper()
	w.Marks = worker.Checkpoint{"p": read(t, target)["p"]}
	if err := target.Store.Save(bounded(t), name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
}

func parksTogether[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	advance := func(w worker.Write, failure error) error {
		return target.Store.Advance(ctx, name, worker.Term{}, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
			return w, errors.Join(effect(ctx, target, tx), failure)
		})
	}
	empty := everything(t, target)
	if err := advance(parking(worker.Mark{Position: 7}), errHandler); !errors.Is(err, errHandler) {
		t.Errorf("Advance = %v, want that of fn", err)
	}
	if got := everything(t, target); !reflect.DeepEqual(got, empty) {
		t.Errorf("an error of fn has left %+v", got)
	}
	if err := advance(parking(worker.Mark{Position: 7}), nil); err != nil {
		t.Fatal(err)
	}
	got := everything(t, target)
	if got.effects != 1 || got.marks["p"].Position != 7 || len(got.parked) != 1 || got.parked[0].Events != 3 || got.parked[0].First != 3 || len(got.items) != 3 || len(got.audits) != 1 {
		t.Errorf("there is %+v, want all of the write", got)
	}
	key := got.parked[0].Key
	w := move("p", worker.Mark{Position: 8, Revision: got.marks["p"].Revision})
	w.Done, w.Free = got.items, []worker.Key{key}
	w.Audit = []worker.Audit{{Key: key, Time: noon.Add(time.Second), Actor: "ada", Action: "retry"}}
	if err := target.Store.Save(ctx, name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	got = everything(t, target)
	if got.marks["p"].Position != 8 || len(got.parked) != 0 || len(items(t, target, key, 0, 10)) != 0 || len(got.audits) != 2 {
		t.Errorf("there is %+v, want the key freed, and what was asked for", got)
	}
}

// One thing is wrong with each write, the rest of it would be fine.
func failsWhole[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	for range 2 {
		claim(t, target, "w", "a")
	}
	write(t, target, parking(worker.Mark{}))
	free := worker.Key{Part: "p", Key: "free"}
	write(t, target, worker.Write{Park: []worker.Parked{{Key: free, State: worker.Waiting}}})
	want := everything(t, target)
	first, absent, other := want.parked[1].Key, worker.Key{Part: "p", Key: "absent"}, worker.Key{Part: "q", Key: "k"}
	if first == free {
		first = want.parked[0].Key
	}
	stale := want.marks["p"]
	stale.Revision--
	foreign := want.marks["p"]
	foreign.Server = "another"
	for what, wrong := range map[string]struct {
		change func(*worker.Write)
		term   worker.Term
		err    error
	}{
		"the term":                    {term: worker.Term{Segment: "a", Epoch: 1}, err: worker.ErrFenced},
		"the revision":                {change: func(w *worker.Write) { w.Marks["p"] = stale }, err: worker.ErrFenced},
		"the server":                  {change: func(w *worker.Write) { w.Marks["p"] = foreign }, err: eventstore.ErrOtherServer},
		"no mark":                     {change: func(w *worker.Write) { w.Marks = nil }},
		"parked of another part":      {change: func(w *worker.Write) { w.Park = append(w.Park, worker.Parked{Key: other, State: worker.Waiting}) }},
		"an item of another part":     {change: func(w *worker.Write) { w.Items = append(w.Items, worker.Item{Key: other, Seq: 1}) }},
		"done of another part":        {change: func(w *worker.Write) { w.Done = append(w.Done, worker.Item{Key: other, Seq: 1}) }},
		"freed of another part":       {change: func(w *worker.Write) { w.Free = append(w.Free, other) }},
		"an item behind no key":       {change: func(w *worker.Write) { w.Items = append(w.Items, worker.Item{Key: absent, Seq: 1}) }},
		"freed, and it has items":     {change: func(w *worker.Write) { w.Free = append(w.Free, first) }},
		"an unknown state":            {change: func(w *worker.Write) { w.Park[1].State = "lost" }},
		"fewer attempts than none":    {change: func(w *worker.Write) { w.Park[1].Attempts = -1 }},
		"too long a history":          {change: func(w *worker.Write) { w.Park[1].History = make([]worker.Attempt, worker.MaxHistory+1) }},
		"freed, and it is not parked": {change: func(w *worker.Write) { w.Free = append(w.Free, absent) }},
	} {
		good := func() worker.Write {
			at := want.marks["p"]
			at.Position = 99
			w := move("p", at)
			w.Park = []worker.Parked{{Key: first, State: worker.Waiting, Error: "changed"}, {Key: worker.Key{Part: "p", Key: "new"}, State: worker.Waiting}}
			w.Items = []worker.Item{{Key: first, Seq: 9}}
			w.Done = []worker.Item{{Key: first, Seq: 3}}
			w.Free = []worker.Key{free}
			w.Audit = []worker.Audit{{Key: free, Time: noon, Actor: "ada", Action: "discard", Seq: 3}}
			return w
		}
		w := good()
		if wrong.change != nil {
			wrong.change(&w)
		}
		failed := func(way string, err error) {
			t.Helper()
			if err == nil || wrong.err != nil && !errors.Is(err, wrong.err) {
				t.Errorf("%s: %s = %v, want an error (%v)", what, way, err, wrong.err)
			}
			if got := everything(t, target); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %s has changed it to %+v\nwant %+v", what, way, got, want)
			}
		}
		failed("Save", target.Store.Save(ctx, name, wrong.term, w))
		failed("Advance", target.Store.Advance(ctx, name, wrong.term, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
			return w, effect(ctx, target, tx)
		}))
	}
}

func freesEmpty[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	write(t, target, parking(worker.Mark{}))
	key := worker.Key{Part: "p", Key: "order-o-1"}
	for _, seq := range []int64{3, 4, 5} {
		w := move("p", read(t, target)["p"])
		w.Free = []worker.Key{key}
		if err := target.Store.Save(ctx, name, worker.Term{}, w); err == nil {
			t.Fatalf("a key with events from %d on was freed", seq)
		}
		p := parked(t, target, worker.ParkedQuery{Name: name})
		if len(p) != 1 || p[0].First != seq || p[0].Events != int(6-seq) {
			t.Fatalf("parked %+v, want %d events from %d on", p, 6-seq, seq)
		}
		write(t, target, worker.Write{Done: []worker.Item{{Key: key, Seq: seq}, {Key: key, Seq: 77}, {Key: worker.Key{Part: "p", Key: "absent"}, Seq: 1}}})
	}
	p := parked(t, target, worker.ParkedQuery{Name: name})
	if len(p) != 1 || p[0].First != 0 || p[0].Events != 0 {
		t.Errorf("parked %+v, want the key without events", p)
	}
	write(t, target, worker.Write{Free: []worker.Key{key}})
	write(t, target, parking(worker.Mark{}))
	if p := parked(t, target, worker.ParkedQuery{Name: name}); len(p) != 1 || p[0].Events != 3 {
		t.Errorf("parked %+v, want the key as new", p)
	}
	// Put behind it and done in one write, and all of it gone at once.
	write(t, target, worker.Write{
		Items: []worker.Item{{Key: key, Seq: 6}},
		Done:  []worker.Item{{Key: key, Seq: 3}, {Key: key, Seq: 4}, {Key: key, Seq: 5}, {Key: key, Seq: 6}},
		Free:  []worker.Key{key},
	})
	if p := parked(t, target, worker.ParkedQuery{Name: name}); len(p) != 0 {
		t.Errorf("parked %+v, want nothing", p)
	}
}

func storedOnce[Tx any](t *testing.T, target Target[Tx]) {
	write(t, target, parking(worker.Mark{}))
	key := worker.Key{Part: "p", Key: "order-o-1"}
	write(t, target, worker.Write{Items: []worker.Item{{Key: key, Seq: 5, Data: []byte("again")}, {Key: key, Seq: 3, Data: []byte{}}, {Key: key, Seq: 6}}})
	want := []worker.Item{{Key: key, Seq: 3}, {Key: key, Seq: 4}, {Key: key, Seq: 5, Data: []byte("five")}, {Key: key, Seq: 6}}
	if got := items(t, target, key, 0, 10); !reflect.DeepEqual(got, want) {
		t.Errorf("items %+v, want %+v", got, want)
	}
}

func keepsBytes[Tx any](t *testing.T, target Target[Tx]) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	key := worker.Key{Part: "p", Key: "k"}
	for i, data := range [][]byte{nil, {}, {0}, every, []byte("\xff\xfe"), make([]byte, 1<<20)} {
		seq := int64(i) - 2 // an offset may be anything
		mine := append([]byte(nil), data...)
		if data != nil && mine == nil {
			mine = []byte{}
		}
		write(t, target, worker.Write{Park: []worker.Parked{{Key: key, State: worker.Waiting}}, Items: []worker.Item{{Key: key, Seq: seq, Data: mine}}})
		for range 2 {
			got := items(t, target, key, seq-1, 1)
			if len(got) != 1 || got[0].Seq != seq || !reflect.DeepEqual(got[0].Data, data) {
				t.Fatalf("data %d (%d bytes, nil %v) came back otherwise", i, len(data), data == nil)
			}
			clear(mine) // what is stored belongs to the store
			clear(got[0].Data)
		}
	}
}

// All that is known of a key comes back, and is replaced as a whole.
func parksAgain[Tx any](t *testing.T, target Target[Tx]) {
	key := worker.Key{Part: "p", Key: "Bestellung-\"ö\"'\n\u2028-1"}
	want := worker.Parked{
		Key: key, State: worker.Retrying, Since: noon, Next: noon.Add(time.Minute), Attempts: 1 << 30,
		Error: "relation \"x\"\n'%s' \\ \u00e4", Stack: "goroutine 1 [running]:\n\tmain.go:1", Version: "v1.2.3",
		History: []worker.Attempt{{Time: noon, Error: "first", Version: "v1"}, {Time: noon.Add(time.Second), Error: "second"}},
		Owner:   "ada", Note: "ask\nher",
	}
	w := worker.Write{Park: []worker.Parked{want}, Items: []worker.Item{{Key: key, Seq: 1 << 60}, {Key: key, Seq: 8}}}
	w.Park[0].Events, w.Park[0].First = 77, 77 // do not count
	w.Park[0].History = append([]worker.Attempt(nil), want.History...)
	write(t, target, w)
	w.Park[0].History[0].Error = "changed by the caller"
	want.Events, want.First = 2, 8
	check := func() {
		t.Helper()
		for range 2 {
			got := parked(t, target, worker.ParkedQuery{Name: name})
			if len(got) != 1 || len(got[0].History) != len(want.History) {
				t.Fatalf("parked %+v, want %+v", got, want)
			}
			for i, a := range got[0].History {
				if b := want.History[i]; !a.Time.Equal(b.Time) || a.Error != b.Error || a.Version != b.Version {
					t.Errorf("attempt %+v, want %+v", a, b)
				}
				got[0].History[i].Error = "changed by the caller"
			}
			a, b := got[0], want
			a.History, b.History = nil, nil
			if !reflect.DeepEqual(a, b) {
				t.Errorf("parked %+v\nwant %+v", a, b)
			}
		}
	}
	check()
	want = worker.Parked{Key: key, State: worker.Waiting, Since: noon.Add(time.Hour)}
	write(t, target, worker.Write{Park: []worker.Parked{want}})
	want.Events, want.First = 2, 8
	check()
}

// A text that cannot be kept as it is keeps nobody from parking.
func cutsTexts[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	text := func(start string) string { return start + "\x00b\xff" + strings.Repeat("\u00e4", worker.MaxError) }
	w := parking(worker.Mark{})
	p := &w.Park[0]
	p.Error, p.Stack, p.Version, p.Owner, p.Note = text("e"), text("s"), text("v"), text("o"), text("n")
	for range worker.MaxHistory {
		p.History = append(p.History, worker.Attempt{Time: noon, Error: text("h"), Version: text("w")})
	}
	w.Audit[0].Actor, w.Audit[0].Action, w.Audit[0].Detail = text("a"), text("c"), text("d")
	write(t, target, w)
	s := everything(t, target)
	if len(s.parked) != 1 || len(s.parked[0].History) != worker.MaxHistory || len(s.audits) != 1 {
		t.Fatalf("there is %+v", s)
	}
	got, h, a := s.parked[0], s.parked[0].History[worker.MaxHistory-1], s.audits[0]
	term := claim(t, target, "w", "a")
	r, err := target.Store.Renew(ctx, worker.Renewal{
		Name: name, Holder: "w", Lease: lease, Terms: []worker.Term{term},
		Reports: map[string]worker.Report{"a": {Paused: text("p"), Error: text("r")}},
	})
	if err != nil || len(r.Seats) != 1 {
		t.Fatalf("Renew = %+v, %v", r, err)
	}
	report := r.Seats[0].Report
	for start, kept := range map[string]string{
		"e": got.Error, "s": got.Stack, "v": got.Version, "o": got.Owner, "n": got.Note, "h": h.Error, "w": h.Version,
		"a": a.Actor, "c": a.Action, "d": a.Detail, "p": report.Paused, "r": report.Error,
	} {
		if kept != worker.Cut(text(start)) {
			t.Errorf("text %q is kept in %d bytes otherwise than Cut says", start, len(kept))
		}
	}
}

func readersApart[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	write(t, target, parking(worker.Mark{}))
	want := everything(t, target)
	w := parking(worker.Mark{})
	w.Items = w.Items[:1]
	if err := target.Store.Save(ctx, "another", worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	if got := everything(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("another reader has changed it to %+v, want %+v", got, want)
	}
	key := want.parked[0].Key
	got, err := target.Store.Items(ctx, "another", key, 0, 10)
	if err != nil || len(got) != 1 {
		t.Errorf("Items of the other = %+v, %v, want 1", got, err)
	}
	w = move("p", worker.Mark{Revision: 1})
	w.Done, w.Free = got, []worker.Key{key}
	if err := target.Store.Save(ctx, "another", worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	if got := everything(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("another reader has changed it to %+v, want %+v", got, want)
	}
}
