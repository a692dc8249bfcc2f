package oracle

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// tape is a run whose history goes through a pipe.
type tape struct {
	*run
	lines bytes.Buffer
	to    *Recorder
}

func newTape(t *testing.T) *tape {
	t.Helper()
	tp := &tape{run: newRun(t)}
	tp.to = NewRecorder(&tp.lines)
	return tp
}

func (tp *tape) append(w eventstore.Write) {
	a := tp.to.Begin(w)
	res, err := tp.store.AppendAll(tp.Context(), w)
	a.End(res, err)
}

func (tp *tape) readStream(s event.Stream) {
	began := time.Now()
	var events []event.Recorded
	for e, err := range tp.store.ReadStream(tp.Context(), s, eventstore.StreamQuery{}) {
		if err != nil {
			tp.Fatal(err)
		}
		events = append(events, e)
	}
	tp.to.Read(s, began, events, nil)
}

func (tp *tape) page(after event.Position) {
	page, err := tp.store.ReadLog(tp.Context(), eventstore.LogQuery{After: after, Limit: 2})
	if err != nil {
		tp.Fatal(err)
	}
	tp.to.Page("all", page)
}

func (tp *tape) take(from io.Reader) {
	tp.Helper()
	if err := tp.Take(from, nil); err != nil {
		tp.Error(err)
	}
	tp.lines.Reset()
}

func TestAHistoryThatWasRecorded(t *testing.T) {
	t.Parallel()
	tp := newTape(t)
	all := tp.Reader("all", eventstore.LogQuery{})
	tp.append(writeTo(orders, eventstore.None(), 2))
	tp.append(writeTo(orders, eventstore.None(), 1)) // a conflict
	tp.append(writeTo(orders, eventstore.Exactly(2), 1))
	tp.append(writeTo(orders, eventstore.Exists(), 1))
	tp.readStream(orders)
	tp.page(0)
	tp.page(2)
	tp.take(&tp.lines)

	// The next process reads on from an earlier cursor, and is killed while it
	// appends: what it told of that last is cut off.
	tp.page(2)
	killed := writeTo(orders, eventstore.Any(), 1)
	tp.to.Begin(killed)
	_, _ = tp.store.AppendAll(t.Context(), killed)
	tp.lines.WriteString(`{"kind":"end","op`)
	tp.take(&tp.lines)
	tp.page(4)
	tp.take(&tp.lines)

	tp.want(tp.committed())
	if got, want := tp.Counts(), (Counts{Acked: 3, Refused: 1, Unknown: 1, Events: 4, Reads: 1}); got != want {
		t.Errorf("Counts = %+v, want %+v", got, want)
	}
	if all.Events() != 5 {
		t.Errorf("%d events, want 5", all.Events())
	}
}

func TestWhatElseIsToldOf(t *testing.T) {
	t.Parallel()
	tp := newTape(t)
	tp.to.Tell("ready", map[string]int{"n": 3})
	tp.to.Tell("done", nil)
	var got []string
	err := tp.Take(&tp.lines, func(kind string, data json.RawMessage) { got = append(got, kind+" "+string(data)) })
	if err != nil || len(got) != 2 || got[0] != `ready {"n":3}` || got[1] != "done null" {
		t.Errorf("Take told %q, %v", got, err)
	}
}

// A recorded history is refused as any other is.
func TestRecordedHistoriesThatAreRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		want []Check
		run  func(tp *tape) []Event
	}{
		{"an acknowledged event is not stored", []Check{Lost}, func(tp *tape) []Event {
			tp.append(writeTo(orders, eventstore.Any(), 2))
			return tp.committed()[:1]
		}},
		{"it is stored with other content", []Check{Lost}, func(tp *tape) []Event {
			w := writeTo(orders, eventstore.Any(), 1)
			a := tp.to.Begin(w)
			w.Events[0].Payload = []byte("something else")
			res, err := tp.store.AppendAll(tp.Context(), w)
			a.End(res, err)
			return tp.committed()
		}},
		{"half of an append that was on its way", []Check{Torn}, func(tp *tape) []Event {
			w := writeTo(orders, eventstore.Any(), 2)
			tp.to.Begin(w)
			_, _ = tp.store.AppendAll(tp.Context(), w)
			return tp.committed()[:1]
		}},
		{"a conflict that does not see what had ended", []Check{Linear}, func(tp *tape) []Event {
			tp.append(writeTo(orders, eventstore.Any(), 1))
			tp.append(writeTo(orders, eventstore.Any(), 1))
			tp.to.Begin(writeTo(orders, eventstore.None(), 1)).End(nil, &eventstore.ConflictError{Stream: orders, Expected: eventstore.None(), Actual: 1})
			return tp.committed()
		}},
		{"a read that does not see what had ended", []Check{Linear}, func(tp *tape) []Event {
			tp.append(writeTo(orders, eventstore.Any(), 1))
			tp.to.Read(orders, time.Now(), nil, nil)
			return tp.committed()
		}},
		{"something else is read by the next process", []Check{Reread}, func(tp *tape) []Event {
			tp.Reader("all", eventstore.LogQuery{})
			tp.append(writeTo(orders, eventstore.Any(), 2))
			tp.page(0)
			tp.take(&tp.lines)
			page, _ := tp.store.ReadLog(tp.Context(), eventstore.LogQuery{})
			page.Events[0].Version = 7
			tp.to.Page("all", page)
			return tp.committed()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tp := newTape(t)
			committed := tt.run(tp)
			tp.take(&tp.lines)
			tp.want(committed, tt.want...)
		})
	}
}

func TestLinesThatAreNone(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{\n":                                 "take a history: unexpected end of JSON input",
		`{"kind":"end","op":3}` + "\n":        "take a history: operation 3 has ended and not begun",
		`{"kind":"page","reader":"x"}` + "\n": `take a history: page of an unknown reader "x"`,
	} {
		if err := New().Take(strings.NewReader(text), nil); err == nil || err.Error() != want {
			t.Errorf("Take(%q) = %v, want %s", text, err, want)
		}
	}
}
