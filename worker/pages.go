package worker

import (
	"context"
	"sync"

	"github.com/annals-go/annals/eventstore"
)

// pages reads the log for all segments of a run. They are mostly at the same place, so
// the last pages are kept, and one that is being read is waited for.
type pages struct {
	log  eventstore.Log
	most int // pages that are kept
	mu   sync.Mutex
	kept []eventstore.Page // of the server
	of   string
}

// keptPages is the most pages that are kept, if there is more than one segment.
const keptPages = 4

func (p *pages) read(ctx context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
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
