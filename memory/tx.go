package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Tx is a transaction: its appends become visible together, on Commit. A
// transaction that has appended keeps every other append waiting until it
// ends, so do not append outside of it meanwhile. It is not safe for
// concurrent use.
type Tx struct {
	db     *DB
	staged []event.Recorded
	done   bool
	term   worker.Term // that it was begun under

	remembers map[inboxKey]remembered

	// guarded by db.mu
	writing  bool
	reserved []inboxKey
	fenced   bool // the term is over
	ended    bool
	over     chan struct{} // closed when ended, fenced or not
}

// ErrTxDone says that the transaction was committed or rolled back before.
var ErrTxDone = errors.New("transaction has ended")

// Begin starts a transaction. It takes no lock before its first append.
func (d *DB) Begin() *Tx {
	return &Tx{db: d, over: make(chan struct{}), remembers: map[inboxKey]remembered{}}
}

// Tx returns the store within a transaction, for aggregate.Repository.With.
func (d *DB) Tx(tx *Tx) eventstore.Store { return txStore{tx} }

// Commit makes the appends visible. The error is ErrTxDone, or worker.ErrFenced if
// it is the transaction of an Advance whose term is over.
func (t *Tx) Commit() error {
	if t.done {
		return ErrTxDone
	}
	return t.commit(func() error { return nil })
}

// Rollback drops the appends. After Commit it does nothing, so it can be deferred.
func (t *Tx) Rollback() {
	t.staged = nil
	t.end()
}

// commit publishes the appends, and what also does, in one moment. If that
// fails, nothing is published.
func (t *Tx) commit(also func() error) error {
	defer t.end()
	d := t.db
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.fenced {
		return overError(t.term)
	}
	if err := also(); err != nil {
		return err
	}
	for _, r := range t.staged {
		d.log = append(d.log, r)
		d.streams[r.Stream] = append(d.streams[r.Stream], r.Position)
	}
	maps.Copy(d.inbox, t.remembers)
	if len(t.staged) > 0 {
		close(d.grown)
		d.grown = make(chan struct{})
	}
	return nil
}

func (t *Tx) end() {
	t.done = true
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.yieldLocked()
}

// yieldLocked lets others append, and remember.
func (t *Tx) yieldLocked() {
	if t.writing {
		t.writing = false
		<-t.db.writer
	}
	for _, key := range t.reserved {
		delete(t.db.reserved, key)
	}
	t.reserved = nil
	if !t.ended {
		t.ended = true
		close(t.over)
	}
}

// fenceLocked makes it end without effect, while its owner may be using it.
func (t *Tx) fenceLocked() {
	t.fenced = true
	t.yieldLocked()
}

func (t *Tx) isFenced() bool {
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	return t.fenced
}

type txStore struct{ tx *Tx }

func (s txStore) ReadStream(ctx context.Context, st event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return s.tx.db.readStream(ctx, st, q, s.tx.staged)
}

func (s txStore) Append(ctx context.Context, st event.Stream, expect eventstore.Expect, events ...event.Raw) (eventstore.Result, error) {
	prepared, err := eventstore.Prepare(st, events)
	if err != nil {
		return eventstore.Result{}, err
	}
	if s.tx.done {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", st, ErrTxDone)
	}
	if err := s.tx.db.admit(ctx, len(prepared)); err != nil {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", st, err)
	}
	if err := s.tx.lockWriter(ctx); err != nil {
		return eventstore.Result{}, fmt.Errorf("append %s: %w", st, err)
	}
	return s.append(eventstore.PreparedWrite{Stream: st, Expect: expect, Events: prepared})
}

// append is for the only writer.
func (s txStore) append(w eventstore.PreparedWrite) (eventstore.Result, error) {
	st, expect, prepared := w.Stream, w.Expect, w.Events
	all := s.tx.db.stream(st, s.tx.staged)
	if res, repeated, err := repeat(st, all, prepared); repeated || err != nil {
		return res, err
	}
	at := event.Version(len(all))
	if at > 0 && all[at-1].Closes {
		return eventstore.Result{}, &eventstore.ClosedError{Stream: st, Version: at}
	}
	if !expect.Allows(at) {
		return eventstore.Result{}, &eventstore.ConflictError{Stream: st, Expected: expect, Actual: at}
	}
	return s.tx.stage(st, at, prepared), nil
}

// AppendAll makes all writes or none, and leaves the transaction as it was then.
func (s txStore) AppendAll(ctx context.Context, writes ...eventstore.Write) ([]eventstore.Result, error) {
	prepared, err := eventstore.PrepareAll(writes)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%s and %d more", prepared[0].Stream, len(prepared)-1)
	if s.tx.done {
		return nil, fmt.Errorf("append %s: %w", what, ErrTxDone)
	}
	events := 0
	for _, w := range prepared {
		events += len(w.Events)
	}
	if err := s.tx.db.admit(ctx, events); err != nil {
		return nil, fmt.Errorf("append %s: %w", what, err)
	}
	if err := s.tx.lockWriter(ctx); err != nil {
		return nil, fmt.Errorf("append %s: %w", what, err)
	}
	before := len(s.tx.staged)
	out := make([]eventstore.Result, len(writes))
	repeated := 0
	for _, w := range prepared {
		res, err := s.append(w)
		if err != nil {
			s.tx.staged = s.tx.staged[:before]
			return nil, err
		}
		if out[w.Place] = res; res.Repeated {
			repeated++
		}
	}
	if repeated == 0 || repeated == len(writes) {
		return out, nil
	}
	s.tx.staged = s.tx.staged[:before]
	for _, w := range prepared {
		if r := out[w.Place]; r.Repeated { // but not in this company
			err = &eventstore.IDReusedError{Stream: w.Stream, ID: w.Events[len(w.Events)-1].Metadata.ID, Version: r.Version}
		}
	}
	return nil, err
}

// admit asks the gate.
func (d *DB) admit(ctx context.Context, events int) error {
	if d.gate == nil {
		return nil
	}
	if err := d.gate.Admit(ctx, events); err != nil {
		return err
	}
	return ctx.Err()
}

func (t *Tx) lockWriter(ctx context.Context) error {
	t.db.mu.Lock()
	writing, fenced := t.writing, t.fenced
	t.db.mu.Unlock()
	if fenced {
		return overError(t.term)
	}
	if writing {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case t.db.writer <- struct{}{}:
	case <-t.over:
		return overError(t.term)
	case <-ctx.Done():
		return ctx.Err()
	}
	t.db.mu.Lock()
	defer t.db.mu.Unlock()
	t.writing = true
	if t.fenced { // while it waited
		t.yieldLocked()
		return overError(t.term)
	}
	return nil
}

// stage gives the events their places. They cannot be taken by anybody else,
// because the transaction is the only writer until it ends.
func (t *Tx) stage(s event.Stream, at event.Version, prepared []eventstore.Prepared) eventstore.Result {
	head := t.db.head() + event.Position(len(t.staged))
	now := t.db.moment()
	for _, p := range prepared {
		at++
		head++
		raw := p.Raw
		raw.Payload = slices.Clone(raw.Payload)
		raw.Metadata = restored(p)
		t.staged = append(t.staged, event.Recorded{Raw: raw, Stream: s, Version: at, Position: head, RecordedTime: now})
	}
	return eventstore.Result{Version: at, Position: head}
}

// restored is the metadata as a store of bytes gives it back.
func restored(p eventstore.Prepared) event.Metadata {
	m := event.Metadata{ID: p.Metadata.ID}
	_ = json.Unmarshal(p.StoredMetadata, &m) // Prepare has just written it
	return m
}

// repeat finds out whether the append was made before: all ids in a row with
// the same content. Some of them only, or other content, is a reused id.
func repeat(s event.Stream, all []event.Recorded, prepared []eventstore.Prepared) (eventstore.Result, bool, error) {
	found := func(id event.ID) int {
		return slices.IndexFunc(all, func(r event.Recorded) bool { return r.Metadata.ID == id })
	}
	first := found(prepared[0].Metadata.ID)
	for i, p := range prepared {
		at := found(p.Metadata.ID)
		if at < 0 && first < 0 {
			continue
		}
		if at < 0 || first < 0 || at != first+i || !p.Same(all[at].Raw) {
			reused := max(at, 0)
			if at < 0 {
				reused = first
			}
			return eventstore.Result{}, false, &eventstore.IDReusedError{Stream: s, ID: all[reused].Metadata.ID, Version: all[reused].Version}
		}
	}
	if first < 0 {
		return eventstore.Result{}, false, nil
	}
	last := all[first+len(prepared)-1]
	return eventstore.Result{Version: last.Version, Position: last.Position, Repeated: true}, true, nil
}
