package postgres

import (
	"context"
	"fmt"
	"iter"
	"math"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// Index: events_version_key, walked in the order asked for. Lock: none.
const readStreamSQL = `
SELECT ` + eventColumns + `
FROM {{schema}}.read_stream_v1($1, $2, $3, $4, $5)`

// streamPage is how many events of a stream one statement reads: the most that
// ReadStream holds in memory.
const streamPage = 1024

const lastVersion = event.Version(1<<63 - 1)

type rowQuerier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// ReadStream implements eventstore.Store. It takes a connection for each page
// of 1024 events and holds none while it yields. Events that are appended while
// it reads forward may be yielded too.
func (d *DB) ReadStream(ctx context.Context, s event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return d.readStream(ctx, d.pool, s, q)
}

func (d *DB) readStream(ctx context.Context, db rowQuerier, s event.Stream, q eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) {
		if err := s.Validate(); err != nil {
			yield(event.Recorded{}, fmt.Errorf("read stream: %w", err))
			return
		}
		from, step := q.From, event.Version(1)
		if q.Backward {
			step = -1
			if from <= 0 {
				from = lastVersion
			}
		}
		buffer := d.takeBuffer()
		defer d.putBuffer(buffer)
		for left := q.Limit; ; {
			most := d.pages.most(streamPage)
			if q.Limit > 0 {
				most = min(most, left)
			}
			page, cancel := d.limit(ctx)
			events, whole, err := d.queryInto(page, (*buffer)[:0], db, d.sql(readStreamSQL), s.Category, s.ID, int64(from), most, q.Backward)
			err = late(page, err)
			cancel()
			if err != nil {
				yield(event.Recorded{}, fmt.Errorf("read stream %s: %w", s, missing(err)))
				return
			}
			*buffer = events
			for i := range events {
				if !yield(events[i], nil) {
					return
				}
			}
			left -= len(events)
			if whole && len(events) < most || q.Limit > 0 && left == 0 {
				return
			}
			from = events[len(events)-1].Version + step
			clear(events)
		}
	}
}

// takeBuffer returns room for a page of a stream. Its events are yielded one by
// one, as copies, so it can be used again.
func (d *DB) takeBuffer() *[]event.Recorded {
	if b, ok := d.buffers.Get().(*[]event.Recorded); ok {
		return b
	}
	return new([]event.Recorded)
}

// putBuffer lets go of what the events point to.
func (d *DB) putBuffer(b *[]event.Recorded) {
	clear(*b)
	d.buffers.Put(b)
}

// query reads a page. It is not whole if it ends for its size in bytes.
func (d *DB) query(ctx context.Context, db rowQuerier, sql string, args ...any) (events []event.Recorded, whole bool, err error) {
	return d.queryInto(ctx, make([]event.Recorded, 0, d.pages.expected()), db, sql, args...)
}

func (d *DB) queryInto(ctx context.Context, events []event.Recorded, db rowQuerier, sql string, args ...any) (_ []event.Recorded, whole bool, err error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close() // passes over what is left, and holds none of it
	var dec *decoder
	bytes, n := 0, 0
	for rows.Next() {
		if dec == nil {
			dec = newDecoder(rows)
		}
		events = append(events, event.Recorded{})
		size, err := dec.decode(rows, &events[n])
		if err != nil {
			return nil, false, err
		}
		n++
		if bytes += size; bytes >= eventstore.PageBytes && !sabotage.UnboundedReads {
			d.pages.saw(n, bytes)
			return events, false, nil
		}
	}
	d.pages.saw(n, bytes)
	return events, true, rows.Err()
}

// pageSize keeps pages of large events short, so that the server does not send
// much more than a page may hold.
type pageSize struct {
	bytes  atomic.Int64 // of an event, lately; large ones count at once, small ones bit by bit
	events atomic.Int64 // of the last page
}

// expected is room for a page like the last one.
func (p *pageSize) expected() int64 { return p.events.Load() }

func (p *pageSize) most(limit int) int {
	limit = min(limit, math.MaxInt32) // which the functions take
	if sabotage.UnboundedReads {
		return math.MaxInt32
	}
	n := p.bytes.Load()
	if n == 0 {
		return limit
	}
	return min(limit, max(1, int(2*eventstore.PageBytes/n)))
}

func (p *pageSize) saw(events, bytes int) {
	p.events.Store(int64(events))
	if events == 0 {
		return
	}
	size, before := int64(bytes/events), p.bytes.Load()
	p.bytes.Store(max(size, (7*before+size)/8))
}
