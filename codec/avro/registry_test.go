package avro_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
)

// registry is a Registry in memory, which can be away, and counts what it is asked.
type registry struct {
	mu       sync.Mutex
	schemas  []avro.Schema // by id, from 1
	subjects map[string][]int
	refuse   func(subject string, s avro.Schema) error
	away     bool
	asked    int
	block    chan struct{} // not nil: calls wait for it
}

func (r *registry) call(ctx context.Context) error {
	r.mu.Lock()
	block := r.block
	r.asked++
	away := r.away
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if away {
		return fmt.Errorf("ask the registry: %w", codec.ErrUnavailable)
	}
	return nil
}

func (r *registry) setAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *registry) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

func (r *registry) Schema(ctx context.Context, id int) (avro.Schema, error) {
	if err := r.call(ctx); err != nil {
		return avro.Schema{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if id < 1 || id > len(r.schemas) {
		return avro.Schema{}, avro.ErrUnknownID
	}
	return r.schemas[id-1], nil
}

func (r *registry) Lookup(ctx context.Context, subject string, s avro.Schema) (int, error) {
	if err := r.call(ctx); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.subjects[subject] {
		if r.schemas[id-1].Text == s.Text {
			return id, nil
		}
	}
	return 0, avro.ErrNotRegistered
}

func (r *registry) Register(ctx context.Context, subject string, s avro.Schema) (int, error) {
	if r.refuse != nil {
		if err := r.refuse(subject, s); err != nil {
			return 0, err
		}
	}
	if id, err := r.Lookup(ctx, subject, s); err == nil {
		return id, nil
	} else if r.away || ctx.Err() != nil {
		return 0, err
	}
	return r.add(subject, s.Text), nil
}

// add gives a schema the next id.
func (r *registry) add(subject, text string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas = append(r.schemas, avro.Schema{Text: text})
	if r.subjects == nil {
		r.subjects = map[string][]int{}
	}
	r.subjects[subject] = append(r.subjects[subject], len(r.schemas))
	return len(r.schemas)
}

// lose forgets all schemas, find has them again.
func (r *registry) lose() []avro.Schema {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost := r.schemas
	r.schemas = nil
	return lost
}

func (r *registry) find(lost []avro.Schema) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.schemas = lost
}
