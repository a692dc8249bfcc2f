package worker

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/eventstore"
)

// pages reads the log for all segments of a run. They are mostly at the same place, so
// the last pages are kept, and one that is being read is waited for.
type pages struct {
	log  eventstore.Log
	most int           // pages that are kept
	turn chan struct{} // full while somebody reads, who owns the rest then
	kept []eventstore.Page
	of   string // the server that they are from
}

// keptPages is the most pages that are kept, if there is more than one segment.
const keptPages = 4

func (p *pages) read(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
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
	page, err := p.log.ReadLog(ctx, q)
	if err == nil && len(page.Events) > 0 && p.most > 0 {
		p.kept = append(p.kept[max(0, len(p.kept)-p.most+1):], page)
	}
	return page, err
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
