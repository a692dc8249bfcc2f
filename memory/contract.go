package memory

import (
	"context"
	"fmt"
	"maps"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

type contractKey struct{ relay, topic string }

// Contracts implements bus.Contracts.
func (d *DB) Contracts(ctx context.Context, relay string) (map[string]bus.Agreed, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read contracts of %s: %w", relay, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := map[string]bus.Agreed{}
	for k, a := range d.agreed {
		if k.relay == relay {
			a.Config = maps.Clone(a.Config)
			out[k.topic] = a
		}
	}
	return out, nil
}

// Agree implements bus.Contracts.
func (d *DB) Agree(ctx context.Context, relay string, a bus.Agreed) error {
	fail := func(err error) error { return fmt.Errorf("agree on topic %s for %s: %w", a.Topic, relay, err) }
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key := contractKey{relay, a.Topic}
	if have := d.agreed[key].Revision; have != a.Revision {
		return fail(fmt.Errorf("its contract is not at revision %d: %w", a.Revision, worker.ErrFenced))
	}
	if a.Config = maps.Clone(a.Config); len(a.Config) == 0 {
		a.Config = nil
	}
	a.Since = d.moment()
	a.Revision++
	d.agreed[key] = a
	return nil
}
