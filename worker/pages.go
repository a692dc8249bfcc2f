package worker

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// pages reads the log for all segments of a run. They are mostly at the same place, so
// the last pages are kept, and one that is being read is waited for. Behind a full page
// the next one is read while that is applied.
type pages struct {
	log  eventstore.Log
	most int           // pages that are kept
	turn chan struct{} // full while somebody reads, who owns the rest then
	kept []eventstore.Page
	of   string // the server that they are from
	next *ahead // nil: nothing is read ahead
	all  sync.WaitGroup
}

// ahead is a page that is read before it is asked for.
type ahead struct {
	q      eventstore.LogQuery
	cancel context.CancelFunc
	done   chan struct{} // closed when page and err are set
	page   eventstore.Page
	err    error
}

// keptPages is the most pages that are kept, if there is more than one segment.
const keptPages = 4

// read returns the page for a query. Going is the context of whoever works on the page,
// under which the next one may be read meanwhile, for so long at most.
func (p *pages) read(ctx, going context.Context, timeout time.Duration, q eventstore.LogQuery) (eventstore.Page, error) {
	if err := ctx.Err(); err != nil {
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: %w", q.After, err)
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return eventstore.Page{After: q.After, Next: q.After}, fmt.Errorf("read log after %d: another segment reads it: %w", q.After, ctx.Err())
	}
	if p.of != q.Server {
		p.kept, p.of = nil, q.Server
	}
	for _, page := range p.kept {
		if page.After <= q.After && q.After < page.Next {
			return part(page, q), nil
		}
	}
	page, ok := p.wasAhead(ctx, q)
	if !ok {
		var err error
		if page, err = p.log.ReadLog(ctx, q); err != nil {
			return page, err
		}
	}
	if len(page.Events) > 0 && p.most > 0 {
		p.kept = append(p.kept[max(0, len(p.kept)-p.most+1):], page)
	}
	if q.Limit > 0 && len(page.Events) >= q.Limit { // else there may be no more
		q.After = page.Next
		p.readAhead(going, timeout, q)
	}
	return page, nil
}

// wasAhead returns the page for a query if it was read ahead. No read is under way
// afterwards.
func (p *pages) wasAhead(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, bool) {
	a := p.next
	if a == nil {
		return eventstore.Page{}, false
	}
	p.next = nil
	same := a.q.After == q.After && a.q.Limit == q.Limit && a.q.Server == q.Server
	if !same {
		a.cancel()
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		a.cancel()
		<-a.done
	}
	a.cancel()
	return a.page, same && a.err == nil
}

func (p *pages) readAhead(ctx context.Context, timeout time.Duration, q eventstore.LogQuery) {
	ctx, cancel := context.WithTimeout(pprof.WithLabels(ctx, pprof.Labels("read", "ahead")), timeout)
	a := &ahead{q: q, cancel: cancel, done: make(chan struct{})}
	p.next = a
	p.all.Go(func() {
		defer close(a.done)
		pprof.SetGoroutineLabels(ctx)
		a.err = Guard(func() (err error) { // what it is, the next one who reads is told
			a.page, err = p.log.ReadLog(ctx, q)
			return err
		})
	})
}

// end waits until nothing is read ahead any more.
func (p *pages) end() {
	if p != nil {
		p.all.Wait()
	}
}

// part returns what a query asks for out of a page that has it.
func part(page eventstore.Page, q eventstore.LogQuery) eventstore.Page {
	i := 0
	for i < len(page.Events) && page.Events[i].Position <= q.After {
		i++
	}
	page.After, page.Events = q.After, page.Events[i:]
	if q.Limit > 0 && len(page.Events) > q.Limit {
		page.Events = page.Events[:q.Limit:q.Limit]
		page.Next = page.Events[q.Limit-1].Position
	}
	return page
}
