package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// followed is a side whose events a reader gets while they are appended.
type followed struct {
	reader   *reader
	authors  []*author
	answered atomic.Int64 // events that were committed
	slowest  float64      // appends per second of the slowest round, 0 before the first
	// appends runs the callers; it is given what one of them does.
	appends func(ctx context.Context, d time.Duration) (sample, error)
}

// run returns the count and time of the appends, and the latencies of the
// reader, which ends later.
func (f *followed) run(ctx context.Context, d time.Duration) (sample, error) {
	var (
		s         sample
		latencies []time.Duration
		written   = make(chan struct{})
	)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		s, err = f.appends(ctx, d)
		if err == nil {
			close(written)
		}
		return err
	})
	g.Go(func() (err error) {
		latencies, err = f.reader.follow(ctx, written, f.answered.Load)
		return err
	})
	err := g.Wait()
	s.latencies = latencies
	if pace := perSecond(s); f.slowest == 0 || pace < f.slowest {
		f.slowest = pace
	}
	return s, err
}

// lost says what became of the events of a reader that promises nothing.
func (f *followed) lost() string {
	all := f.answered.Load()
	return fmt.Sprintf("the reader by hand lost %d of %d committed events", all-f.reader.seen, all)
}

// append does what one caller does once.
func (f *followed) append(ctx context.Context, caller int, w write) error {
	a := f.authors[caller]
	a.events[0].Payload = f.reader.clock.stamp()
	return w(ctx, a.current(), a.at, a.events)
}

// committed is called when the append of a caller has come to stay.
func (f *followed) committed(caller int) {
	a := f.authors[caller]
	a.wrote()
	f.answered.Add(int64(len(a.events)))
}
