package avro

import (
	"context"
	"errors"
	"sync"
	"time"
)

// pause is how long a failure of a key is the answer for it: a registry that is away, or
// does not have a schema, is not asked for it by every event.
const pause = time.Second

// cache keeps what was fetched for a key. Concurrent callers of a key share one fetch.
type cache[K comparable, V any] struct {
	limit int

	mu      sync.RWMutex
	kept    map[K]V          // guarded by mu; at most limit
	failed  map[K]failure    // guarded by mu; at most limit, and short-lived
	flights map[K]*flight[V] // guarded by mu
}

type failure struct {
	err   error
	until time.Time
}

type flight[V any] struct {
	done  chan struct{}
	value V     // before done is closed, of the leader
	err   error // as value
	left  bool  // as value: the leader's context ended, so err says nothing of the key
}

func newCache[K comparable, V any](limit int) *cache[K, V] {
	return &cache[K, V]{limit: limit, kept: map[K]V{}, failed: map[K]failure{}, flights: map[K]*flight[V]{}}
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.kept[key]
	return v, ok
}

// fetch returns the value of the key, from one of the callers that ask for it at the same
// time. With again it asks although it has just failed. A caller whose context ends gets
// its error; the others go on, one of them as the next leader.
func (c *cache[K, V]) fetch(ctx context.Context, key K, again bool, ask func(context.Context) (V, error)) (V, error) {
	for {
		c.mu.Lock()
		if v, ok := c.kept[key]; ok {
			c.mu.Unlock()
			return v, nil
		}
		if f, ok := c.failed[key]; ok && !again && time.Now().Before(f.until) {
			c.mu.Unlock()
			var none V
			return none, f.err
		}
		f, others := c.flights[key]
		if !others {
			f = &flight[V]{done: make(chan struct{}), err: errors.New("the registry's client panicked")}
			c.flights[key] = f
		}
		c.mu.Unlock()
		if !others {
			c.lead(ctx, key, f, ask)
			return f.value, f.err
		}
		select {
		case <-f.done:
			if !f.left {
				return f.value, f.err
			}
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		}
	}
}

func (c *cache[K, V]) lead(ctx context.Context, key K, f *flight[V], ask func(context.Context) (V, error)) {
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.flights, key)
		delete(c.failed, key)
		switch {
		case f.err == nil:
			put(c.kept, c.limit, key, f.value)
		case !f.left:
			put(c.failed, c.limit, key, failure{f.err, time.Now().Add(pause)})
		}
		close(f.done)
	}()
	f.value, f.err = ask(ctx)
	f.left = f.err != nil && ctx.Err() != nil
}

// put adds to a map that holds no more than limit: one that is there already makes room,
// whichever.
func put[K comparable, V any](m map[K]V, limit int, key K, v V) {
	if _, there := m[key]; !there && len(m) >= limit {
		for other := range m {
			delete(m, other)
			break
		}
	}
	m[key] = v
}
