package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
)

const (
	// Index: inbox_pkey. Lock: the new keys, until the end of the transaction, in one
	// order for all, so that two batches do not deadlock; it waits for a transaction that
	// has inserted or deleted one of them. Promise: of several transactions that remember
	// a message, one that commits has inserted it.
	rememberSQL = `
INSERT INTO {{schema}}.inbox (consumer, id, topic, position, recorded_at)
SELECT $1, g.id, g.topic, g.position, g.recorded_at
FROM unnest($2::uuid[], $3::text[], $4::bigint[], $5::timestamptz[]) AS g (id, topic, position, recorded_at)
ORDER BY g.id
ON CONFLICT ON CONSTRAINT inbox_pkey DO NOTHING
RETURNING id`

	// Index: inbox_floors_pkey. Lock: none. Promise: behind rememberSQL, with a snapshot of
	// its own, it sees the floor of every row that was not there any more.
	floorsSQL = `
SELECT f.topic, f.position, f.recorded_at
FROM {{schema}}.inbox_floors f
WHERE f.consumer = $1
  AND f.topic = ANY ($2)`

	// migrations/011_bus.sql says what these two lock and promise.
	takeBackSQL = `SELECT {{schema}}.take_back_v1($1, $2)`
	forgetSQL   = `SELECT {{schema}}.forget_v1($1, $2, $3)`
)

// forgetChunk is how many messages are forgotten in one transaction.
const forgetChunk = 5000

// RememberTx implements bus.InboxStore, in one round trip. The transaction must be
// READ COMMITTED, as that of Advance is. It waits for another one that is remembering,
// or forgetting, one of the messages. DESIGN.md has a section about it.
func (d *DB) RememberTx(ctx context.Context, tx pgx.Tx, consumer string, messages []bus.Identity) ([]bus.Memory, error) {
	if len(messages) == 0 {
		return nil, nil
	}
	fail := func(err error) ([]bus.Memory, error) {
		return nil, fmt.Errorf("remember %d messages for %s: %w", len(messages), consumer, missing(late(ctx, err)))
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	b := newInboxBatch(messages)
	batch := &pgx.Batch{}
	batch.Queue(d.sql(rememberSQL), consumer, b.ids, b.topics, b.positions, b.times).Query(b.scanNew)
	batch.Queue(d.sql(floorsSQL), consumer, b.distinctTopics()).Query(b.scanFloors)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fail(err)
	}
	out, back := b.result(messages)
	if len(back) > 0 {
		if _, err := tx.Exec(ctx, d.sql(takeBackSQL), consumer, back); err != nil {
			return fail(err)
		}
	}
	return out, nil
}

// inboxBatch is what is asked of the inbox, each message once, and what it answers.
type inboxBatch struct {
	ids       pgtype.FlatArray[pgtype.UUID]
	topics    []string
	positions []int64
	times     []*time.Time // nil where there is a position
	held      []bool
	place     map[event.ID]int
	isNew     []bool
	floors    map[string]inboxFloor
}

type inboxFloor struct {
	position int64
	time     *time.Time
}

func newInboxBatch(messages []bus.Identity) *inboxBatch {
	n := len(messages)
	b := &inboxBatch{
		ids:    make(pgtype.FlatArray[pgtype.UUID], 0, n),
		topics: make([]string, 0, n), positions: make([]int64, 0, n), times: make([]*time.Time, 0, n),
		place: make(map[event.ID]int, n), floors: map[string]inboxFloor{},
	}
	for _, m := range messages {
		if _, twice := b.place[m.ID]; twice {
			continue
		}
		b.place[m.ID] = len(b.ids)
		position, at := max(int64(m.Position), 0), (*time.Time)(nil)
		if position == 0 {
			kept := recordTime(m.Time)
			at = &kept
		}
		b.ids = append(b.ids, pgtype.UUID{Bytes: m.ID, Valid: true})
		b.held = append(b.held, m.Held)
		b.topics, b.positions, b.times = append(b.topics, m.Topic), append(b.positions, position), append(b.times, at)
	}
	b.isNew = make([]bool, len(b.ids))
	return b
}

var (
	firstTime = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// recordTime is a time as the database keeps it, so that it compares with itself. Any
// producer can put any time into a record.
func recordTime(t time.Time) time.Time {
	switch t = t.UTC().Truncate(time.Microsecond); {
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	return t
}

func (b *inboxBatch) distinctTopics() []string {
	var out []string
	seen := map[string]bool{}
	for _, topic := range b.topics {
		if !seen[topic] {
			seen[topic], out = true, append(out, topic)
		}
	}
	return out
}

func (b *inboxBatch) scanNew(rows pgx.Rows) error {
	var id [16]byte
	return eachRow(rows, func() error {
		err := rows.Scan(&id)
		b.isNew[b.place[id]] = true
		return err
	})
}

func (b *inboxBatch) scanFloors(rows pgx.Rows) error {
	return eachRow(rows, func() error {
		var (
			topic string
			f     inboxFloor
		)
		err := rows.Scan(&topic, &f.position, &f.time)
		b.floors[topic] = f
		return err
	})
}

// result says what is known of the messages, and which rows are to be taken back.
func (b *inboxBatch) result(messages []bus.Identity) ([]bus.Memory, pgtype.FlatArray[pgtype.UUID]) {
	var back pgtype.FlatArray[pgtype.UUID]
	out := make([]bus.Memory, len(messages))
	said := make([]bool, len(b.ids))
	for i, m := range messages {
		at := b.place[m.ID]
		switch {
		case b.isNew[at] && !b.held[at] && b.forgotten(at):
			out[i] = bus.Forgotten
			if !said[at] {
				back = append(back, b.ids[at])
			}
		case !b.isNew[at] || said[at]:
			out[i] = bus.Repeated
		}
		said[at] = true
	}
	return out, back
}

func (b *inboxBatch) forgotten(at int) bool {
	f := b.floors[b.topics[at]]
	if t := b.times[at]; t != nil {
		return f.time != nil && !f.time.Before(*t)
	}
	return f.position >= b.positions[at]
}

// Forget implements bus.InboxStore: in chunks, each in a transaction of its own. With an
// error it returns how many are forgotten already. Of several at once for one consumer
// each waits for the chunk of another.
func (d *DB) Forget(ctx context.Context, consumer string, before time.Time, limit int) (int, error) {
	for n := 0; ; {
		chunk := min(limit-n, forgetChunk)
		if chunk <= 0 {
			return n, nil
		}
		gone, err := d.forget(ctx, consumer, before, chunk)
		if err != nil {
			return n, fmt.Errorf("forget what %s remembered before %s: %w", consumer, before.UTC().Format(time.RFC3339), missing(err))
		}
		if n += gone; gone < chunk {
			return n, nil
		}
	}
}

func (d *DB) forget(ctx context.Context, consumer string, before time.Time, limit int) (n int, err error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	err = d.pool.QueryRow(ctx, d.sql(forgetSQL), consumer, before, limit).Scan(&n)
	return n, late(ctx, err)
}
