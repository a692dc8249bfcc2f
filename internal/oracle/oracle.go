// Package oracle judges a run of writers, readers and workers against what is
// promised. The harness tells a History what it asked for and what it was
// answered, and at the end what the database holds; Check says what does not fit.
// The other functions judge what a History does not see.
//
//	| number | asks                                                         | by                           |
//	| ------ | ------------------------------------------------------------ | ---------------------------- |
//	| O-1    | is every acknowledged event stored, and given to each reader | lost, missed                 |
//	| O-2    | was every stored event sent, and none of them refused        | phantom, stray               |
//	| O-3    | is an append without an answer there wholly, or not at all,  |                              |
//	|        | and does every reader agree                                  | torn, unsettled              |
//	| O-4    | are versions dense, and the events of an append together     | dense, contiguous            |
//	| O-5    | do two reads of the log agree, and nothing appears behind    | order, behind, reread,       |
//	|        | a cursor                                                     | unequal                      |
//	| O-6    | is there an order that explains the answers of each stream   | linear, answer, expectation  |
//	| O-7    | is a read model the fold of the events: Effects              | effect                       |
//	| O-8    | does a broker have every event, in order by key: Published   | unsent, unstored, overtaken, |
//	|        |                                                              | scattered, duplicates        |
//	| O-9    | is every event delivered, parked or pending: Accounted       | skipped                      |
//	| O-10   | do readers catch up after the last fault: Progress           | stalled                      |
//	| O-11   | does nothing grow, or stay behind: Hygiene                   | growth, idle in transaction  |
//	| O-12   | does verification see a changed event, and no other: Flipped | chain                        |
//
// # Usage
//
//	h := oracle.New()
//	a := h.Begin(write)                 // before the call
//	res, err := db.AppendAll(ctx, write)
//	a.End(res, err)                     // after it
//
//	r := h.Reader("all", eventstore.LogQuery{})
//	page, err := db.ReadLog(ctx, r.Query())
//	r.Page(page)
//
//	err := h.ReadStream(ctx, db, stream)
//
//	findings := h.Check(committed) // nothing: the history is as promised
//
// Every event needs an id of its own, also across streams; an append that is
// sent again has the ids that it had.
//
// A process that is to be killed writes its part of the history with a Recorder,
// and History.Take reads it in a process that lives on.
//
// # Testing
//
// Each check has a history that it refuses, in the tests of this package: a
// check that has never failed proves nothing.
package oracle

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// ErrRolledBack is the error to End a transaction with that was rolled back.
var ErrRolledBack = errors.New("rolled back")

// Event is what the oracle keeps of an event that is stored.
type Event struct {
	Position event.Position
	Version  event.Version
	Stream   event.Stream
	Name     string
	ID       event.ID
	sum      sum
}

// Note makes an Event of what a store has returned.
func Note(e event.Recorded) Event {
	return Event{Position: e.Position, Version: e.Version, Stream: e.Stream, Name: e.Name, ID: e.Metadata.ID, sum: sumOf(e.Stream, e.Raw)}
}

// sum stands for the stream and the content of an event.
type sum [8]byte

func sumOf(s event.Stream, e event.Raw) sum {
	h := sha256.New()
	for _, text := range []string{s.Category, s.ID, e.Name, e.ContentType} {
		_ = binary.Write(h, binary.BigEndian, int64(len(text))) // a hash takes everything
		_, _ = h.Write([]byte(text))
	}
	_ = binary.Write(h, binary.BigEndian, int64(e.Schema))
	_ = binary.Write(h, binary.BigEndian, e.Closes)
	_, _ = h.Write(e.Payload)
	return sum(h.Sum(nil)[:8])
}

// History is what the writers and readers of one run have seen. It is safe for
// concurrent use, except that an Append or a Reader belongs to one goroutine.
type History struct {
	begun  time.Time
	search time.Duration // how long to look for an order of one stream; then it is a finding

	mu      sync.Mutex
	appends []*Append
	readers []*Reader
	reads   []*StreamRead
}

// New returns an empty history. Its clock starts.
func New() *History { return &History{begun: time.Now(), search: 30 * time.Second} }

func (h *History) now() time.Duration { return time.Since(h.begun) }

type outcome int

const (
	unknown outcome = iota // also of an append that nobody has ended
	acked
	refused
)

// Append is one append, or a transaction of several that stand and fall
// together.
type Append struct {
	history      *History
	writes       []write
	outcome      outcome
	began, ended time.Duration
	conflict     *eventstore.ConflictError // nil: it was not refused, or saw what nobody else could
}

// write is what an append did to one stream.
type write struct {
	stream event.Stream
	expect eventstore.Expect
	ids    []event.ID
	sums   []sum
	result eventstore.Result
	resent bool // a repeat of what nobody else has sent
}

func noteWrite(w eventstore.Write) write {
	out := write{stream: w.Stream, expect: w.Expect}
	for _, e := range w.Events {
		out.ids = append(out.ids, e.Metadata.ID)
		out.sums = append(out.sums, sumOf(w.Stream, e))
	}
	return out
}

// Begin notes that an append is about to be sent. Without writes it is a
// transaction, which says what it does with Wrote.
func (h *History) Begin(writes ...eventstore.Write) *Append {
	a := &Append{history: h, began: h.now()}
	for _, w := range writes {
		a.writes = append(a.writes, noteWrite(w))
	}
	h.add(a)
	return a
}

func (h *History) add(a *Append) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.appends = append(h.appends, a)
}

// End notes the answer. An error that matches eventstore.ErrOutcomeUnknown leaves
// the outcome open, any other says that nothing is stored. The results are in
// the order of the writes; a transaction has none.
func (a *Append) End(results []eventstore.Result, err error) {
	h := a.history
	h.mu.Lock()
	defer h.mu.Unlock()
	a.ended = h.now()
	if a.outcome = outcomeOf(err); a.outcome == acked {
		for i, r := range results {
			a.writes[i].result = r
		}
	}
	if a.outcome == refused {
		errors.As(err, &a.conflict)
	}
}

func outcomeOf(err error) outcome {
	switch {
	case err == nil:
		return acked
	case errors.Is(err, eventstore.ErrOutcomeUnknown):
		return unknown
	}
	return refused
}

// Wrote notes one append within a transaction, and its answer. One that was
// refused counts as refused whatever becomes of the transaction.
func (a *Append) Wrote(w eventstore.Write, result eventstore.Result, err error) {
	noted := noteWrite(w)
	if err != nil {
		a.history.add(&Append{history: a.history, writes: []write{noted}, outcome: refused})
		return
	}
	noted.result = result
	a.writes = append(a.writes, noted)
}

// Savepoint returns what RollbackTo goes back to.
func (a *Append) Savepoint() int { return len(a.writes) }

// RollbackTo notes that the transaction has undone what it wrote since.
func (a *Append) RollbackTo(savepoint int) {
	undone := a.writes[savepoint:]
	a.writes = a.writes[:savepoint:savepoint]
	a.history.add(&Append{history: a.history, writes: undone, outcome: refused})
}

// Counts says what the appends of a history came to.
type Counts struct {
	Acked, Refused, Unknown int // appends; a transaction counts as one
	Events                  int // of the acked ones
	Reads                   int // of streams, to the end
}

// Counts counts the appends so far.
func (h *History) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	var c Counts
	for _, a := range h.appends {
		switch a.outcome {
		case acked:
			c.Acked++
			for _, w := range a.writes {
				c.Events += len(w.ids)
			}
		case refused:
			c.Refused++
		case unknown:
			c.Unknown++
		}
	}
	for _, r := range h.reads {
		if r.whole {
			c.Reads++
		}
	}
	return c
}
