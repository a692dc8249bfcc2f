package oracle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// run is a small history with the store that it is about.
type run struct {
	*testing.T
	*History
	store *memory.DB
}

func newRun(t *testing.T) *run { return &run{t, New(), memory.New()} }

var orders = event.Stream{Category: "order", ID: "o-1"}

func writeTo(s event.Stream, expect eventstore.Expect, n int) eventstore.Write {
	w := eventstore.Write{Stream: s, Expect: expect}
	for i := range n {
		payload, _ := json.Marshal(i)
		w.Events = append(w.Events, event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: payload, Metadata: event.Metadata{ID: event.NewID()}})
	}
	return w
}

func (r *run) append(w eventstore.Write) []event.Raw {
	r.Helper()
	a := r.Begin(w)
	res, err := r.store.AppendAll(r.Context(), w)
	a.End(res, err)
	return w.Events
}

func (r *run) committed() []Event {
	r.Helper()
	var out []Event
	for e, err := range eventstore.All(r.Context(), r.store, eventstore.LogQuery{}) {
		if err != nil {
			r.Fatal(err)
		}
		out = append(out, Note(e))
	}
	return out
}

// read reads to the end, in pages of two.
func (r *run) read(reader *Reader) {
	r.Helper()
	for {
		page, err := r.store.ReadLog(r.Context(), reader.Query())
		if err != nil {
			r.Fatal(err)
		}
		reader.Page(page)
		if page.Next == page.After {
			return
		}
	}
}

func (r *run) want(committed []Event, checks ...Check) {
	r.Helper()
	got := []Check{}
	found := r.Check(committed)
	for _, f := range found {
		got = append(got, f.Check)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	slices.Sort(checks)
	if diff := cmp.Diff(append([]Check{}, checks...), got); diff != "" {
		r.Errorf("checks that refuse the history (-want +got):\n%s%v", diff, found)
	}
}

func TestAHistoryAsPromised(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	all, notes := r.Reader("all", eventstore.LogQuery{Limit: 2}), r.Reader("notes", eventstore.LogQuery{Limit: 2, Names: []string{"order.noted"}})
	r.append(writeTo(orders, eventstore.None(), 3))
	r.append(writeTo(orders, eventstore.None(), 1)) // a conflict
	r.read(all)
	at := all.Cursor()
	r.append(writeTo(orders, eventstore.Exactly(3), 2))
	if err := r.ReadStream(t.Context(), r.store, orders); err != nil {
		t.Error(err)
	}
	again := writeTo(orders, eventstore.Any(), 1)
	r.Begin(again).End(nil, eventstore.ErrOutcomeUnknown)
	first, _ := r.store.AppendAll(t.Context(), again)
	res, err := r.store.AppendAll(t.Context(), again)
	r.Begin(again).End(res, err)
	if first[0].Repeated || !res[0].Repeated {
		t.Errorf("%v and %v, want a repeat", first, res)
	}
	itself := writeTo(orders, eventstore.Any(), 1) // a call that has sent it twice
	a := r.Begin(itself)
	_, _ = r.store.AppendAll(t.Context(), itself)
	res, err = r.store.AppendAll(t.Context(), itself)
	a.End(res, err)
	r.read(all)
	all.Restart(at)
	r.read(all)
	r.read(notes)
	r.read(r.Reader("all, once more", eventstore.LogQuery{Limit: 2}))
	r.want(r.committed())
	if got, want := r.Counts(), (Counts{Acked: 4, Refused: 1, Unknown: 1, Events: 7, Reads: 1}); got != want {
		t.Errorf("Counts = %+v, want %+v", got, want)
	}
	if all.Events() != 7 {
		t.Errorf("%d events, want 7", all.Events())
	}
}

func TestATransaction(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	tx := r.Begin()
	kept, undone := writeTo(orders, eventstore.Any(), 2), writeTo(orders, eventstore.Any(), 1)
	tx.Wrote(kept, eventstore.Result{Version: 2, Position: 2}, nil)
	at := tx.Savepoint()
	tx.Wrote(undone, eventstore.Result{Version: 3, Position: 3}, nil)
	tx.RollbackTo(at)
	tx.Wrote(writeTo(orders, eventstore.None(), 1), eventstore.Result{}, eventstore.ErrConflict)
	tx.End(nil, nil)
	r.want(nil, Lost)
	if _, err := r.store.Append(t.Context(), kept.Stream, kept.Expect, kept.Events...); err != nil {
		t.Fatal(err)
	}
	r.want(r.committed())
	if _, err := r.store.Append(t.Context(), undone.Stream, undone.Expect, undone.Events...); err != nil {
		t.Fatal(err)
	}
	r.want(r.committed(), Phantom)
}

// Each check has a history that it refuses.
func TestHistoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	edit := func(es []Event, f func([]Event) []Event) []Event { return f(slices.Clone(es)) }
	for _, tt := range []struct {
		name string
		want []Check
		run  func(r *run) (committed []Event)
	}{
		{"an acknowledged event is not stored", []Check{Lost}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			return r.committed()[:1]
		}},
		{"it is stored with other content", []Check{Lost}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			a := r.Begin(w)
			w.Events[0].Payload = []byte("something else")
			res, err := r.store.AppendAll(r.Context(), w)
			a.End(res, err)
			return r.committed()
		}},
		{"a refused one is stored", []Check{Phantom}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			a := r.Begin(w)
			_, _ = r.store.AppendAll(r.Context(), w)
			a.End(nil, errors.New("disk full"))
			return r.committed()
		}},
		{"one without an answer is stored, although a conflict has resolved it", []Check{Phantom, Expectation, Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			w := writeTo(orders, eventstore.None(), 1)
			r.Begin(w).End(nil, eventstore.ErrOutcomeUnknown)
			r.append(w)
			w.Expect = eventstore.Any()
			_, _ = r.store.AppendAll(r.Context(), w)
			return r.committed()
		}},
		{"a transaction that was rolled back is stored", []Check{Phantom}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			a := r.Begin()
			res, err := r.store.AppendAll(r.Context(), w)
			a.Wrote(w, res[0], err)
			a.End(nil, ErrRolledBack)
			return r.committed()
		}},
		{"an event that nobody sent", []Check{Phantom}, func(r *run) []Event {
			_, _ = r.store.AppendAll(r.Context(), writeTo(orders, eventstore.Any(), 1))
			return r.committed()
		}},
		{"an event is stored twice", []Check{Phantom, Answer}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			return edit(r.committed(), func(es []Event) []Event {
				twice := es[0]
				twice.Position, twice.Version = 2, 2
				return append(es, twice)
			})
		}},
		{"half of an append without an answer", []Check{Torn}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 2)
			_, _ = r.store.AppendAll(r.Context(), w)
			r.Begin(w).End(nil, fmt.Errorf("cut: %w", eventstore.ErrOutcomeUnknown))
			return r.committed()[:1]
		}},
		{"a version is missing", []Check{Dense, Linear}, func(r *run) []Event {
			_, _ = r.store.AppendAll(r.Context(), writeTo(orders, eventstore.Any(), 1))
			r.append(writeTo(orders, eventstore.Any(), 1))
			return r.committed()[1:]
		}},
		{"a version is there twice", []Check{Dense, Order, Answer, Expectation}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.None(), 1))
			r.append(writeTo(orders, eventstore.Exactly(1), 1))
			return edit(r.committed(), func(es []Event) []Event {
				es[1].Version = 1
				return es
			})
		}},
		{"another append in the middle of one", []Check{Contiguous, Answer}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			r.append(writeTo(orders, eventstore.Any(), 1))
			return edit(r.committed(), func(es []Event) []Event {
				es[1], es[2] = es[2], es[1]
				es[1].Position, es[2].Position = 2, 3
				es[1].Version, es[2].Version = 2, 3
				return es
			})
		}},
		{"the log turns a stream around", []Check{Order, Answer}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			return edit(r.committed(), func(es []Event) []Event {
				es[0], es[1] = es[1], es[0]
				es[0].Position, es[1].Position = 1, 2
				return es
			})
		}},
		{"a position is there twice", []Check{Order}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			return edit(r.committed(), func(es []Event) []Event {
				es[0].Position = 2
				return es
			})
		}},
		{"the result names another place", []Check{Answer}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			a := r.Begin(w)
			res, err := r.store.AppendAll(r.Context(), w)
			res[0].Position++
			a.End(res, err)
			return r.committed()
		}},
		{"stored against its expectation", []Check{Expectation, Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			w := writeTo(orders, eventstore.Any(), 1)
			told := w
			told.Expect = eventstore.None()
			a := r.Begin(told)
			res, err := r.store.AppendAll(r.Context(), w)
			a.End(res, err)
			return r.committed()
		}},
		{"a conflict where there is none", []Check{Expectation, Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.Begin(writeTo(orders, eventstore.Exactly(1), 1)).End(nil, &eventstore.ConflictError{Stream: orders, Expected: eventstore.Exactly(1), Actual: 1})
			return r.committed()
		}},
		{"a conflict with a version that never was", []Check{Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			r.Begin(writeTo(orders, eventstore.None(), 1)).End(nil, &eventstore.ConflictError{Stream: orders, Expected: eventstore.None(), Actual: 1})
			return r.committed()
		}},
		{"a conflict that does not see what had ended", []Check{Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.Begin(writeTo(orders, eventstore.None(), 1)).End(nil, &eventstore.ConflictError{Stream: orders, Expected: eventstore.None(), Actual: 1})
			return r.committed()
		}},
		{"a conflict that sees what had not begun", []Check{Linear}, func(r *run) []Event {
			r.Begin(writeTo(orders, eventstore.None(), 1)).End(nil, &eventstore.ConflictError{Stream: orders, Expected: eventstore.None(), Actual: 1})
			r.append(writeTo(orders, eventstore.Any(), 1))
			return r.committed()
		}},
		{"an event was not delivered", []Check{Missed, Unequal}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 3))
			r.read(r.Reader("whole", eventstore.LogQuery{}))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.Events = slices.Delete(page.Events, 1, 2)
			r.Reader("r", eventstore.LogQuery{}).Page(page)
			return r.committed()
		}},
		{"the end was not delivered", []Check{Missed}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 3))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{Limit: 2})
			r.Reader("r", eventstore.LogQuery{}).Page(page)
			return r.committed()
		}},
		{"an event was delivered that is not stored", []Check{Stray, Lost}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 3))
			r.read(r.Reader("r", eventstore.LogQuery{}))
			return r.committed()[:2]
		}},
		{"an event was delivered with other content", []Check{Stray}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.Events[0].Payload = []byte("something else")
			r.Reader("r", eventstore.LogQuery{}).Page(page)
			return r.committed()
		}},
		{"an event was delivered that is not selected", []Check{Stray}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			r.Reader("r", eventstore.LogQuery{Names: []string{"order.other"}}).Page(page)
			return r.committed()
		}},
		{"an event was delivered twice", []Check{Behind, Stray}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.Events = append(page.Events, page.Events[0])
			r.Reader("r", eventstore.LogQuery{}).Page(page)
			return r.committed()
		}},
		{"an event appeared behind the cursor", []Check{Behind}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.After = 1
			r.Reader("r", eventstore.LogQuery{After: 0}).Page(page)
			return r.committed()
		}},
		{"the next page begins before the last event", []Check{Behind}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.Next = 1
			r.Reader("r", eventstore.LogQuery{}).Page(page)
			return r.committed()
		}},
		{"less is read after a restart", []Check{Reread}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			reader := r.Reader("r", eventstore.LogQuery{})
			r.read(reader)
			reader.Restart(0)
			reader.Page(eventstore.Page{Next: 2})
			return r.committed()
		}},
		{"something else is read after a restart", []Check{Reread}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			reader := r.Reader("r", eventstore.LogQuery{})
			r.read(reader)
			page, _ := r.store.ReadLog(r.Context(), eventstore.LogQuery{})
			page.Events[0].Version = 7
			reader.Restart(0)
			reader.Page(page)
			return r.committed()
		}},
		{"an event of an append without an answer was delivered, and is not stored", []Check{Unsettled}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			w := writeTo(orders, eventstore.Any(), 1)
			a := r.Begin(w)
			_, _ = r.store.AppendAll(r.Context(), w)
			a.End(nil, eventstore.ErrOutcomeUnknown)
			r.read(r.Reader("r", eventstore.LogQuery{}))
			return r.committed()[:1]
		}},
		{"a read of a stream saw it, and it is not stored", []Check{Unsettled, Linear}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			r.Begin(w) // killed
			_, _ = r.store.AppendAll(r.Context(), w)
			_ = r.ReadStream(r.Context(), r.store, orders)
			return nil
		}},
		{"a read of a stream saw it, and a later one did not", []Check{Linear}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			r.Begin(w).End(nil, eventstore.ErrOutcomeUnknown)
			_, _ = r.store.AppendAll(r.Context(), w)
			_ = r.ReadStream(r.Context(), r.store, orders)
			r.BeginRead(orders).End(nil)
			return r.committed()
		}},
		{"a read of a stream does not see what had ended", []Check{Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.BeginRead(orders).End(nil)
			return r.committed()
		}},
		{"a read of a stream sees half of an append", []Check{Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 2))
			read := r.BeginRead(orders)
			for e := range r.store.ReadStream(r.Context(), orders, eventstore.StreamQuery{Limit: 1}) {
				read.Got(e)
			}
			read.End(nil)
			return r.committed()
		}},
		{"a read of a stream has a hole", []Check{Order, Linear}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.append(writeTo(orders, eventstore.Any(), 1))
			read := r.BeginRead(orders)
			for e := range r.store.ReadStream(r.Context(), orders, eventstore.StreamQuery{From: 2}) {
				read.Got(e)
			}
			read.End(nil)
			return r.committed()
		}},
		{"a read of a stream yields other content", []Check{Stray}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			read := r.BeginRead(orders)
			for e := range r.store.ReadStream(r.Context(), orders, eventstore.StreamQuery{}) {
				e.Payload = []byte("something else")
				read.Got(e)
			}
			read.End(nil)
			return r.committed()
		}},
		{"two appends were given one version", []Check{Lost, Answer, Linear}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.Begin(w).End([]eventstore.Result{{Version: 1, Position: 1}}, nil)
			r.append(writeTo(orders, eventstore.Any(), 1))
			return edit(r.committed(), func(es []Event) []Event { es[1].Position = 3; return es })
		}},
		{"what is called a repeat was never appended", []Check{Lost}, func(r *run) []Event {
			r.append(writeTo(orders, eventstore.Any(), 1))
			r.Begin(writeTo(orders, eventstore.Any(), 1)).End([]eventstore.Result{{Version: 2, Position: 2, Repeated: true}}, nil)
			return r.committed()
		}},
		{"a repeat of another version than was appended", []Check{Linear}, func(r *run) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			r.append(w)
			r.Begin(w).End([]eventstore.Result{{Version: 2, Position: 2, Repeated: true}}, nil)
			return r.committed()
		}},
		{"the search for an order takes too long", []Check{Linear}, func(r *run) []Event {
			r.search = 0
			r.append(writeTo(orders, eventstore.Any(), 1))
			return r.committed()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRun(t)
			r.want(tt.run(r), tt.want...)
		})
	}
}

func TestFindingsAreCut(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	r.append(writeTo(orders, eventstore.Any(), 20))
	found := r.Check(nil)
	if n := len(found); n != most+1 || found[n-1].String() != "O-1 lost: and 15 more" || !strings.HasPrefix(found[0].String(), "O-1 lost: event 1 of 20 to order-o-1, with id ") {
		t.Errorf("Check = %v", found)
	}
}

func TestAnAppendWithoutAnAnswerMayBeStored(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	stored, gone := writeTo(orders, eventstore.Any(), 2), writeTo(orders, eventstore.Any(), 1)
	_, _ = r.store.AppendAll(t.Context(), stored)
	for _, w := range []eventstore.Write{stored, gone} {
		r.Begin(w).End(nil, eventstore.ErrOutcomeUnknown)
	}
	r.Begin(gone) // the run ended meanwhile
	r.Begin(stored).End(nil, errors.New("connection refused"))
	r.want(r.committed())
	if got := r.Counts(); got != (Counts{Unknown: 3, Refused: 1}) {
		t.Errorf("Counts = %+v, want 3 unknown, 1 refused", got)
	}
}
