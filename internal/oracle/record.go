package oracle

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Recorder writes what a process does to a pipe, so that another one knows it
// whatever becomes of the first. Each line is JSON, and an operation is told of
// before it begins: what has no end when the pipe breaks was on its way, and its
// outcome is unknown. Times are those of the machine's clock, which must not be
// set during a run. Safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	to   io.Writer
	last int64 // operation
}

// NewRecorder returns a recorder that writes lines.
func NewRecorder(to io.Writer) *Recorder { return &Recorder{to: to} }

// line is one line.
type line struct {
	Kind string `json:"kind"`
	Op   int64  `json:"op,omitempty"`
	At   int64  `json:"at,omitempty"` // nanoseconds since 1970

	Writes   []lineWrite         `json:"writes,omitempty"`   // of begin
	Outcome  outcome             `json:"outcome,omitempty"`  // of end
	Results  []eventstore.Result `json:"results,omitempty"`  // of end
	Conflict *lineConflict       `json:"conflict,omitempty"` // of end

	Stream event.Stream    `json:"stream,omitzero"`  // of read
	Whole  bool            `json:"whole,omitempty"`  // of read
	Reader string          `json:"reader,omitempty"` // of page
	After  event.Position  `json:"after,omitempty"`  // of page
	Next   event.Position  `json:"next,omitempty"`   // of page
	Events []lineEvent     `json:"events,omitempty"` // of read, page
	Data   json.RawMessage `json:"data,omitempty"`   // of others
}

// Kinds of lines. Any other is for the one who calls Take.
const (
	kindBegin = "begin"
	kindEnd   = "end"
	kindRead  = "read"
	kindPage  = "page"
)

type lineWrite struct {
	Stream  event.Stream          `json:"stream"`
	Kind    eventstore.ExpectKind `json:"kind"`
	Version event.Version         `json:"version,omitempty"`
	IDs     []event.ID            `json:"ids"`
	Sums    []sum                 `json:"sums"`
}

func (w lineWrite) expect() eventstore.Expect {
	switch w.Kind {
	case eventstore.KindNone:
		return eventstore.None()
	case eventstore.KindExists:
		return eventstore.Exists()
	case eventstore.KindExact:
		return eventstore.Exactly(w.Version)
	case eventstore.KindAny:
	}
	return eventstore.Any()
}

type lineConflict struct {
	Stream event.Stream  `json:"stream"`
	Actual event.Version `json:"actual"`
}

type lineEvent struct {
	Event
	Sum sum `json:"sum"`
}

func lineEvents(events []event.Recorded) []lineEvent {
	out := make([]lineEvent, 0, len(events))
	for _, e := range events {
		noted := Note(e)
		out = append(out, lineEvent{noted, noted.sum})
	}
	return out
}

func (e lineEvent) event() Event {
	e.sum = e.Sum
	return e.Event
}

// write panics when it cannot: a process whose deeds nobody learns of must not
// go on.
func (r *Recorder) write(l line) {
	text, err := json.Marshal(l)
	if err != nil {
		panic("oracle: record: " + err.Error())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.to.Write(append(text, '\n')); err != nil {
		panic("oracle: record: " + err.Error())
	}
}

// RecordedAppend is an append that a Recorder has told of.
type RecordedAppend struct {
	to *Recorder
	op int64
}

// Begin is History.Begin.
func (r *Recorder) Begin(writes ...eventstore.Write) RecordedAppend {
	r.mu.Lock()
	r.last++
	a := RecordedAppend{r, r.last}
	r.mu.Unlock()
	l := line{Kind: kindBegin, Op: a.op, At: time.Now().UnixNano()}
	for _, w := range writes {
		noted := noteWrite(w)
		kind, version := w.Expect.Kind()
		l.Writes = append(l.Writes, lineWrite{w.Stream, kind, version, noted.ids, noted.sums})
	}
	r.write(l)
	return a
}

// End is Append.End.
func (a RecordedAppend) End(results []eventstore.Result, err error) {
	l := line{Kind: kindEnd, Op: a.op, At: time.Now().UnixNano(), Outcome: outcomeOf(err)}
	var conflict *eventstore.ConflictError
	switch {
	case l.Outcome == acked:
		l.Results = results
	case l.Outcome == refused && errors.As(err, &conflict):
		l.Conflict = &lineConflict{conflict.Stream, conflict.Actual}
	}
	a.to.write(l)
}

// Read notes a read of a whole stream that began at a time and has ended now,
// with all that it yielded. With an error it has not seen the end.
func (r *Recorder) Read(s event.Stream, began time.Time, events []event.Recorded, err error) {
	r.write(line{Kind: kindRead, Op: began.UnixNano(), At: time.Now().UnixNano(), Stream: s, Whole: err == nil, Events: lineEvents(events)})
}

// Page notes a page that a reader of the log was given. Of a reader that History
// has, the first page of a process may begin at any cursor that it had.
func (r *Recorder) Page(reader string, page eventstore.Page) {
	r.write(line{Kind: kindPage, Reader: reader, After: page.After, Next: page.Next, Events: lineEvents(page.Events)})
}

// Tell writes anything else, for the one who calls History.Take.
func (r *Recorder) Tell(kind string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic("oracle: record: " + err.Error())
	}
	r.write(line{Kind: kind, Data: text})
}

// Take adds what one process has recorded, until the pipe ends; a last line that
// is cut off does not count. Other lines go to told, in their order. Readers
// must be known to the history; two processes may not be one reader at once.
func (h *History) Take(from io.Reader, told func(kind string, data json.RawMessage)) error {
	t := taker{History: h, open: map[int64]*Append{}, resumed: map[string]bool{}}
	in := bufio.NewReader(from)
	for {
		text, err := in.ReadBytes('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("take a history: %w", err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("take a history: %w", err)
		}
		if err := t.take(l, told); err != nil {
			return fmt.Errorf("take a history: %w", err)
		}
	}
}

type taker struct {
	*History
	open    map[int64]*Append
	resumed map[string]bool // readers of which this process has a page
}

func (t *taker) take(l line, told func(string, json.RawMessage)) error {
	switch l.Kind {
	case kindBegin:
		a := &Append{history: t.History, began: t.since(l.At)}
		for _, w := range l.Writes {
			a.writes = append(a.writes, write{stream: w.Stream, expect: w.expect(), ids: w.IDs, sums: w.Sums})
		}
		t.open[l.Op] = a
		t.add(a)
	case kindEnd:
		return t.end(l)
	case kindRead:
		r := &StreamRead{history: t.History, stream: l.Stream, whole: l.Whole, began: t.since(l.Op), ended: t.since(l.At)}
		for _, e := range l.Events {
			r.got = append(r.got, e.event().place())
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.reads = append(t.reads, r)
	case kindPage:
		return t.page(l)
	default:
		if told != nil {
			told(l.Kind, l.Data)
		}
	}
	return nil
}

func (t *taker) end(l line) error {
	a := t.open[l.Op]
	if a == nil {
		return fmt.Errorf("operation %d has ended and not begun", l.Op)
	}
	delete(t.open, l.Op)
	t.mu.Lock()
	defer t.mu.Unlock()
	a.ended, a.outcome = t.since(l.At), l.Outcome
	for i, r := range l.Results {
		a.writes[i].result = r
	}
	if c := l.Conflict; c != nil {
		a.conflict = &eventstore.ConflictError{Stream: c.Stream, Actual: c.Actual}
		for _, w := range a.writes {
			if w.stream == c.Stream {
				a.conflict.Expected = w.expect
			}
		}
	}
	return nil
}

func (t *taker) page(l line) error {
	t.mu.Lock()
	var r *Reader
	for _, known := range t.readers {
		if known.name == l.Reader {
			r = known
		}
	}
	t.mu.Unlock()
	if r == nil {
		return fmt.Errorf("page of an unknown reader %q", l.Reader)
	}
	if !t.resumed[l.Reader] {
		t.resumed[l.Reader] = true
		r.Restart(l.After)
	}
	events := make([]Event, 0, len(l.Events))
	for _, e := range l.Events {
		events = append(events, e.event())
	}
	r.page(l.After, l.Next, events)
	return nil
}

func (h *History) since(unix int64) time.Duration { return time.Unix(0, unix).Sub(h.begun) }
