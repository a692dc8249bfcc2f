package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
)

type (
	inboxKey struct {
		consumer string
		id       event.ID
	}
	floorKey struct{ consumer, topic string }
)

// remembered is a message that has taken effect.
type remembered struct {
	bus.Identity
	at time.Time // when it was remembered
}

// floor is how far a consumer has forgotten of a topic. Zero: nothing that has a
// position, or that has none.
type floor struct {
	position event.Position
	time     *time.Time
}

func (f floor) covers(m bus.Identity) bool {
	if m.Position > 0 {
		return f.position >= m.Position
	}
	return f.time != nil && !f.time.Before(m.Time)
}

// RememberTx implements bus.InboxStore. A message that another transaction is
// remembering is waited for, until that one ends or ctx does. Two that wait for each
// other, because each calls RememberTx more than once, wait until ctx ends.
func (d *DB) RememberTx(ctx context.Context, tx *Tx, consumer string, messages []bus.Identity) ([]bus.Memory, error) {
	fail := func(err error) ([]bus.Memory, error) {
		return nil, fmt.Errorf("remember %d messages for %s: %w", len(messages), consumer, err)
	}
	if tx.done {
		return fail(ErrTxDone)
	}
	// In one order, so that two batches do not wait for each other.
	ids := make([]event.ID, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
	}
	slices.SortFunc(ids, func(a, b event.ID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range slices.Compact(ids) {
		if err := tx.reserve(ctx, inboxKey{consumer, id}); err != nil {
			return fail(err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if tx.fenced {
		return fail(overError(tx.term))
	}
	out := make([]bus.Memory, len(messages))
	for i, m := range messages {
		m.Time = kept(m.Time)
		key := inboxKey{consumer, m.ID}
		_, before := d.inbox[key]
		_, now := tx.remembers[key]
		switch {
		case before || now:
			out[i] = bus.Repeated
		case !m.Held && d.floors[floorKey{consumer, m.Topic}].covers(m):
			out[i] = bus.Forgotten
		default:
			tx.remembers[key] = remembered{m, d.moment()}
		}
	}
	return out, nil
}

// reserve waits until no other transaction may come to remember the message.
func (t *Tx) reserve(ctx context.Context, key inboxKey) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		t.db.mu.Lock()
		if t.fenced {
			t.db.mu.Unlock()
			return overError(t.term)
		}
		other := t.db.reserved[key]
		if other == nil || other == t {
			t.db.reserved[key] = t
			t.reserved = append(t.reserved, key)
			t.db.mu.Unlock()
			return nil
		}
		t.db.mu.Unlock()
		select {
		case <-other.over:
		case <-t.over:
		case <-ctx.Done():
		}
	}
}

// Forget implements bus.InboxStore.
func (d *DB) Forget(ctx context.Context, consumer string, before time.Time, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("forget what %s remembered before %s: %w", consumer, before.UTC().Format(time.RFC3339), err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var old []remembered
	for k, r := range d.inbox {
		if k.consumer == consumer && r.at.Before(before) {
			old = append(old, r)
		}
	}
	slices.SortFunc(old, func(a, b remembered) int {
		return cmp.Or(a.at.Compare(b.at), slices.Compare(a.ID[:], b.ID[:]))
	})
	old = old[:min(max(limit, 0), len(old))]
	for _, r := range old {
		delete(d.inbox, inboxKey{consumer, r.ID})
		key := floorKey{consumer, r.Topic}
		f := d.floors[key]
		switch {
		case r.Position > 0:
			f.position = max(f.position, r.Position)
		case f.time == nil || f.time.Before(r.Time):
			f.time = &r.Time
		}
		d.floors[key] = f
	}
	return len(old), nil
}
