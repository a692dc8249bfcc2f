package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/annals-go/annals/event"
)

// Lock: none. Promise: P5; migrations/002_log.sql says how.
const boundSQL = `
SELECT bound, server
FROM {{schema}}.log_bound_v1()`

// bound says that every position up to it is decided, on that server. What has
// been decided stays so, and a reader may use an old bound for as long as it
// likes: but only on the same server, because one that has taken over after a
// failover may draw positions again.
type bound struct {
	upTo   event.Position
	server time.Time // when it started; zero: nothing is known
}

// tracker knows the bound for all readers of the process. Those that need a
// newer one share a question to the server.
type tracker struct {
	turn chan struct{} // held by who asks

	mu       sync.Mutex
	known    bound
	begun    int // questions
	answered int // the last question with an answer
}

// on returns the bound that is known of the server which has been there since a
// time, zero for any. If there is none, it still names the server.
func (t *tracker) on(since time.Time) bound {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !since.IsZero() && since != t.known.server {
		return bound{server: since}
	}
	return t.known
}

// forget is called when the server is another one.
func (t *tracker) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = bound{}
}

// refresh returns a bound that was asked for after the call began: one that
// somebody else is asking for right now may miss what the caller knows of.
func (t *tracker) refresh(ctx context.Context, ask func(context.Context) (bound, error)) (bound, error) {
	t.mu.Lock()
	seen := t.begun
	t.mu.Unlock()
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return bound{}, ctx.Err()
	}
	defer func() { <-t.turn }()

	t.mu.Lock()
	if t.answered > seen {
		defer t.mu.Unlock()
		return t.known, nil
	}
	t.begun++
	question := t.begun
	t.mu.Unlock()

	b, err := ask(ctx)
	if err != nil {
		return bound{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered = question
	if b.server != t.known.server || b.upTo > t.known.upTo {
		t.known = b
	}
	return t.known, nil
}

// refreshBound is refresh for a reader that goes by one server.
func (d *DB) refreshBound(ctx context.Context, since time.Time) (bound, error) {
	b, err := d.bound.refresh(ctx, d.askBound)
	if err == nil && !since.IsZero() && b.server != since {
		return bound{server: since}, nil // what is read next finds out
	}
	return b, err
}

// askBound is one statement, and what it returns holds for every later one. It
// looks at no snapshot that could be old: the order of its reads does not depend
// on the isolation level.
func (d *DB) askBound(ctx context.Context) (bound, error) {
	var b bound
	err := d.pool.QueryRow(ctx, d.sql(boundSQL)).Scan((*int64)(&b.upTo), &b.server)
	return b, err
}
