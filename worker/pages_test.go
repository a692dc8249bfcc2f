package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// slowLog has events at the positions 1 to last, and takes a second for a page.
type slowLog struct {
	eventstore.Log
	last event.Position

	mu      sync.Mutex
	reads   int
	reading int
	most    int // at once
	err     error
}

func (l *slowLog) fails(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func (l *slowLog) counts() (reads, reading, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads, l.reading, l.most
}

func (l *slowLog) ReadLog(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	l.mu.Lock()
	l.reads++
	l.reading++
	l.most = max(l.most, l.reading)
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reading--
	}()
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return eventstore.Page{}, ctx.Err()
	}
	page := eventstore.Page{After: q.After, Next: q.After}
	for p := q.After + 1; p <= l.last && len(page.Events) < q.Limit; p++ {
		page.Events, page.Next = append(page.Events, event.Recorded{Position: p}), p
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return page, l.err
}

func newPages(l *slowLog) *pages { return &pages{log: l, turn: make(chan struct{}, 1)} }

func (p *pages) must(t *testing.T, going context.Context, q eventstore.LogQuery, last event.Position, took time.Duration) {
	t.Helper()
	began := time.Now()
	page, err := p.read(t.Context(), going, time.Minute, q)
	if err != nil || page.After != q.After || page.Next != last || time.Since(began) != took {
		t.Errorf("read after %d took %v: to %d, %v; want to %d, %v", q.After, time.Since(began), page.Next, err, last, took)
	}
}

func TestNextPageIsReadMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{last: 25}
		p := newPages(l)
		p.must(t, t.Context(), eventstore.LogQuery{Limit: 10}, 10, time.Second)
		time.Sleep(700 * time.Millisecond) //nolint:forbidigo // the clock is that of the bubble
		p.must(t, t.Context(), eventstore.LogQuery{After: 10, Limit: 10}, 20, 300*time.Millisecond)
		p.must(t, t.Context(), eventstore.LogQuery{After: 20, Limit: 10}, 25, time.Second)
		p.end()
		p.must(t, t.Context(), eventstore.LogQuery{After: 25, Limit: 10}, 25, time.Second)
		if reads, _, most := l.counts(); reads != 4 || most != 1 {
			t.Errorf("%d reads, %d at once, want 4, none after the page that was not full, and 1 at once", reads, most)
		}
	})
}

func TestWhatWasReadAheadIsDropped(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]eventstore.LogQuery{
		"another place":  {After: 5, Limit: 10},
		"another server": {After: 10, Limit: 10, Server: "b"},
		"another limit":  {After: 10, Limit: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &slowLog{last: 25}
				p := newPages(l)
				p.must(t, t.Context(), eventstore.LogQuery{Limit: 10}, 10, time.Second)
				synctest.Wait()
				p.must(t, t.Context(), q, min(q.After+event.Position(q.Limit), 25), time.Second)
				if reads, _, most := l.counts(); most != 1 || reads < 3 {
					t.Errorf("%d reads, %d at once, want another one, alone", reads, most)
				}
			})
		})
	}
}

func TestFailureToReadAheadIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{last: 25}
		p := newPages(l)
		p.must(t, t.Context(), eventstore.LogQuery{Limit: 10}, 10, time.Second)
		synctest.Wait()
		l.fails(errors.New("away"))
		time.Sleep(2 * time.Second) //nolint:forbidigo // the clock is that of the bubble
		l.fails(nil)
		p.must(t, t.Context(), eventstore.LogQuery{After: 10, Limit: 10}, 20, time.Second)
	})
}

// Whoever works on the page ends; the next one reads for itself.
func TestReadingAheadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{last: 25}
		p := newPages(l)
		going, stop := context.WithCancel(t.Context())
		p.must(t, going, eventstore.LogQuery{Limit: 10}, 10, time.Second)
		stop()
		began := time.Now()
		p.end()
		if _, reading, _ := l.counts(); time.Since(began) != 0 || reading != 0 {
			t.Errorf("it goes on for %v", time.Since(began))
		}
		p.must(t, t.Context(), eventstore.LogQuery{After: 10, Limit: 10}, 20, time.Second)
	})
}
