package memory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// Status says how a reader does. For a reader that is not known it has no parts.
func (d *DB) Status(ctx context.Context, name string) (worker.Status, error) {
	if err := ctx.Err(); err != nil {
		return worker.Status{}, fmt.Errorf("read status of %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now, roster := d.moment(), d.rosterLocked(name)
	s := worker.Status{Name: name, Time: now, Head: event.Position(len(d.log)), Members: roster.Members}
	parts := map[string]*worker.PartStatus{}
	part := func(name string) *worker.PartStatus {
		if parts[name] == nil {
			parts[name] = &worker.PartStatus{Part: name}
		}
		return parts[name]
	}
	for k, m := range d.marks {
		if k.name == name {
			p := part(k.part)
			p.Mark, p.Updated = m, d.updated[k]
		}
	}
	for _, seat := range roster.Seats {
		part(seat.Segment).Seat = &seat
	}
	for k, parked := range d.parked {
		if k.name != name {
			continue
		}
		p := part(k.Part)
		if parked.State == worker.Retrying {
			p.Retrying++
		} else {
			p.Waiting++
		}
		p.Parked += int64(len(parked.items))
		p.Oldest = max(p.Oldest, now.Sub(parked.Since))
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		p := parts[name]
		p.Lag, p.Behind = d.lagLocked(p.Mark.Position, now)
		p.Estimated = p.Lag > worker.MaxLag
		s.Parts = append(s.Parts, *p)
	}
	return s, nil
}

// lagLocked says how many events are behind a position, and for how long the first.
func (d *DB) lagLocked(after event.Position, now time.Time) (int64, time.Duration) {
	if int(after) >= len(d.log) {
		return 0, 0
	}
	behind := d.log[max(after, 0):]
	return int64(len(behind)), max(0, now.Sub(behind[0].RecordedTime))
}
