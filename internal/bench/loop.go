package main

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// closedLoop lets callers do op, each one after the other, until d has passed.
// An op that has begun is finished: it counts, and so does its time. Op returns
// how many events it was.
func closedLoop(ctx context.Context, callers int, d time.Duration, op func(ctx context.Context, caller int) (int, error)) (sample, error) {
	counts := make([]int, callers)
	latencies := make([][]time.Duration, callers)
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for c := range callers {
		g.Go(func() error {
			// Both are a caller's own until the end: neighbours in memory slow
			// each other down.
			count, took := 0, make([]time.Duration, 0, 1024)
			for at := time.Now(); at.Sub(start) < d; {
				n, err := op(ctx, c)
				if err != nil {
					return err
				}
				now := time.Now()
				count, took = count+n, append(took, now.Sub(at))
				at = now
			}
			counts[c], latencies[c] = count, took
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	s := sample{took: time.Since(start), latencies: slices.Concat(latencies...)}
	for _, n := range counts {
		s.n += n
	}
	return s, nil
}

// paced lets callers do op in turns, so many times a second in all. Who is late
// does not wait; none is left out.
func paced(ctx context.Context, callers, perSecond int, d time.Duration, op func(ctx context.Context, caller int) error) (sample, error) {
	step := time.Second / time.Duration(perSecond)
	total := max(1, int(d/step))
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	for c := range callers {
		g.Go(func() error {
			for i := c; i < total; i += callers {
				if err := sleep(ctx, time.Until(start.Add(time.Duration(i)*step))); err != nil {
					return err
				}
				if err := op(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return sample{}, err
	}
	return sample{n: total, took: time.Since(start)}, nil
}
