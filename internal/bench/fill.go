package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/event"
)

func filled(i int) event.Stream {
	return event.Stream{Category: "bench", ID: fmt.Sprintf("%06d", i)}
}

// fill writes streams of so many events each, ten at a time and in turns: a
// stream grows over time, so its events are not neighbours on disk.
func fill(ctx context.Context, w write, streams, length int) error {
	const step, writers = 10, 8
	events := batch(step)
	for at := 0; at < length; at += step {
		g, ctx := errgroup.WithContext(ctx)
		for n := range writers {
			g.Go(func() error {
				for i := n; i < streams; i += writers {
					if err := w(ctx, filled(i), event.Version(at), events[:min(step, length-at)]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}
