// Package memory implements every port in process, for unit tests of domain
// code and for examples. It keeps what the ports promise, except that nothing
// survives the process.
//
// A DB is safe for concurrent use. Memory grows with every event: it is not a
// store for production.
package memory

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

var (
	_ eventstore.Store  = (*DB)(nil)
	_ worker.Store[*Tx] = (*DB)(nil)
	_ eventstore.Store  = txStore{}

	_ bus.Contracts       = (*DB)(nil)
	_ bus.InboxStore[*Tx] = (*DB)(nil)
)

// DB is an event store with checkpoints and snapshots. Build it with New.
type DB struct {
	now         func() time.Time
	gate        eventstore.Gate // nil: none
	incarnation event.ID
	// writer is held by whoever appends: by an append for its moment, by a
	// transaction from its first append to its end. A channel, so that waiting
	// for it ends with the caller's context.
	writer chan struct{}

	mu      sync.Mutex
	log     []event.Recorded // the position of log[i] is i+1
	streams map[event.Stream][]event.Position
	grown   chan struct{} // closed when log grows

	marks   map[partKey]worker.Mark
	updated map[partKey]time.Time // when the mark was written
	holders map[partKey]*advance
	seats   map[segmentKey]worker.Seat
	members map[memberKey]time.Time // until when
	parked  map[parkedKey]parked
	audits  map[string][]worker.Audit // by reader, as they came

	snapshots map[snapshotKey]savedSnapshot // guarded by mu

	// guarded by mu
	agreed   map[contractKey]bus.Agreed
	inbox    map[inboxKey]remembered
	floors   map[floorKey]floor
	reserved map[inboxKey]*Tx // by a transaction that may come to remember it
}

type partKey struct{ name, part string }

// Option changes a DB.
type Option func(*DB)

// WithClock sets where RecordedTime comes from, and what leases go by. Default:
// time.Now.
func WithClock(now func() time.Time) Option { return func(d *DB) { d.now = now } }

// WithGate sets what is asked before each append. Default: none.
func WithGate(g eventstore.Gate) Option { return func(d *DB) { d.gate = g } }

// New returns an empty store.
func New(opts ...Option) *DB {
	d := &DB{
		now:         time.Now,
		incarnation: event.NewID(),
		writer:      make(chan struct{}, 1),
		streams:     map[event.Stream][]event.Position{},
		grown:       make(chan struct{}),

		marks:   map[partKey]worker.Mark{},
		updated: map[partKey]time.Time{},
		holders: map[partKey]*advance{},
		seats:   map[segmentKey]worker.Seat{},
		members: map[memberKey]time.Time{},
		parked:  map[parkedKey]parked{},
		audits:  map[string][]worker.Audit{},

		snapshots: map[snapshotKey]savedSnapshot{},

		agreed:   map[contractKey]bus.Agreed{},
		inbox:    map[inboxKey]remembered{},
		floors:   map[floorKey]floor{},
		reserved: map[inboxKey]*Tx{},
	}
	for _, o := range opts {
		o(d)
	}
	return d
}

// Append implements eventstore.Store. While a transaction that has appended is
// open, it waits until that one ends or ctx does.
func (d *DB) Append(ctx context.Context, s event.Stream, expect eventstore.Expect, events ...event.Raw) (eventstore.Result, error) {
	tx := d.Begin()
	defer tx.Rollback()
	res, err := d.Tx(tx).Append(ctx, s, expect, events...)
	if err != nil {
		return res, err
	}
	return res, tx.Commit()
}

// AppendAll implements eventstore.Store, and waits as Append does.
func (d *DB) AppendAll(ctx context.Context, writes ...eventstore.Write) ([]eventstore.Result, error) {
	tx := d.Begin()
	defer tx.Rollback()
	res, err := d.Tx(tx).AppendAll(ctx, writes...)
	if err != nil {
		return nil, err
	}
	return res, tx.Commit()
}

// ReadStream implements eventstore.Store. What is appended while it yields is
// not yielded.
func (d *DB) ReadStream(ctx context.Context, s event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return d.readStream(ctx, s, q, nil)
}

func (d *DB) readStream(ctx context.Context, s event.Stream, q eventstore.StreamQuery, staged []event.Recorded) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) {
		if err := s.Validate(); err != nil {
			yield(event.Recorded{}, fmt.Errorf("read stream: %w", err))
			return
		}
		if err := ctx.Err(); err != nil {
			yield(event.Recorded{}, fmt.Errorf("read stream %s: %w", s, err))
			return
		}
		for _, r := range selected(d.stream(s, staged), q) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (d *DB) stream(s event.Stream, staged []event.Recorded) []event.Recorded {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []event.Recorded
	for _, p := range d.streams[s] {
		all = append(all, d.log[p-1])
	}
	for _, r := range staged {
		if r.Stream == s {
			all = append(all, r)
		}
	}
	return all
}

func selected(all []event.Recorded, q eventstore.StreamQuery) []event.Recorded {
	if q.Backward {
		slices.Reverse(all)
	}
	if q.From > 0 {
		all = slices.DeleteFunc(all, func(r event.Recorded) bool {
			return q.Backward && r.Version > q.From || !q.Backward && r.Version < q.From
		})
	}
	if q.Limit > 0 {
		all = all[:min(q.Limit, len(all))]
	}
	return all
}

// ReadLog implements eventstore.Log.
func (d *DB) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	if err := ctx.Err(); err != nil {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: %w", q.After, err)
	}
	if q.Limit <= 0 {
		q.Limit = eventstore.DefaultPage
	}
	if err := q.Validate(); err != nil {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: %w", q.After, err)
	}
	if server := d.incarnation.String(); q.Server != "" && q.Server != server {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: held by %s, want %s: %w", q.After, server, q.Server, eventstore.ErrOtherServer)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	page := eventstore.Page{After: q.After, Next: q.After}
	bytes := 0 // of payloads: metadata is not held as bytes here
	for i := min(max(int(q.After), 0), len(d.log)); i < len(d.log) && len(page.Events) < q.Limit && bytes < eventstore.PageBytes; i++ {
		r := d.log[i]
		if selects(q.Categories, r.Stream.Category) && selects(q.Names, r.Name) {
			page.Events = append(page.Events, r)
			bytes += len(r.Payload)
		}
		page.Next = r.Position
	}
	return page, nil
}

func selects(wanted []string, name string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, name)
}

// PositionBefore implements eventstore.Log.
func (d *DB) PositionBefore(ctx context.Context, t time.Time) (event.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("find position at %s: %w", t.UTC().Format(time.RFC3339Nano), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	i, _ := slices.BinarySearchFunc(d.log, t, func(r event.Recorded, t time.Time) int { return r.RecordedTime.Compare(t) })
	return event.Position(i), nil
}

// Head implements eventstore.Log.
func (d *DB) Head(ctx context.Context) (event.Position, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("read head of log: %w", err)
	}
	return d.head(), nil
}

func (d *DB) head() event.Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return event.Position(len(d.log))
}

// Lineage implements eventstore.Log. There is one generation: nothing sets the
// store back.
func (d *DB) Lineage(ctx context.Context) (eventstore.Lineage, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read lineage: %w", err)
	}
	return eventstore.Lineage{{Incarnation: d.incarnation, Server: d.incarnation.String()}}, nil
}

// Wait implements eventstore.Log. It never wakes in vain, so it does not poll.
func (d *DB) Wait(ctx context.Context, after event.Position) error {
	d.mu.Lock()
	grown, behind := d.grown, int(after) < len(d.log)
	d.mu.Unlock()
	if behind {
		return nil
	}
	select {
	case <-grown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
