package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/annals-go/annals/worker"
)

type (
	segmentKey struct{ name, segment string }
	memberKey  struct{ name, holder string }
)

// Renew implements worker.Terms.
func (d *DB) Renew(ctx context.Context, r worker.Renewal) (worker.Roster, error) {
	if err := ctx.Err(); err != nil {
		return worker.Roster{}, fmt.Errorf("renew %s for %s: %w", r.Name, r.Holder, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	until := d.moment().Add(r.Lease)
	d.members[memberKey{r.Name, r.Holder}] = until
	for _, t := range r.Terms {
		key := segmentKey{r.Name, t.Segment}
		s := d.seats[key]
		if s.Term != t || s.Holder != r.Holder {
			continue
		}
		s.Until = until
		if report, ok := r.Reports[t.Segment]; ok {
			s.Report = worker.Report{Paused: worker.Cut(report.Paused), Error: worker.Cut(report.Error), Time: kept(report.Time)}
		}
		d.seats[key] = s
	}
	return d.rosterLocked(r.Name), nil
}

// Claim implements worker.Terms. It does not wait for what it ends: see Advance.
func (d *DB) Claim(ctx context.Context, c worker.Claiming) (worker.Term, error) {
	fail := func(err error) (worker.Term, error) {
		return worker.Term{}, fmt.Errorf("claim segment %q of %s: %w", c.Segment, c.Name, err)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	key, now := segmentKey{c.Name, c.Segment}, d.moment()
	s := d.seats[key]
	switch {
	case c.Seize:
	case s.Epoch != c.Epoch:
		return fail(fmt.Errorf("%w: its epoch is %d, not %d", worker.ErrTaken, s.Epoch, c.Epoch))
	case s.Until.After(now):
		return fail(fmt.Errorf("%w: term %d of %s runs until %s", worker.ErrTaken, s.Epoch, s.Holder, s.Until.Format(time.RFC3339Nano)))
	}
	d.fenceLocked(c.Name, c.Segment, s.Epoch)
	s.Term = worker.Term{Segment: c.Segment, Epoch: s.Epoch + 1}
	s.Holder, s.Until = c.Holder, now.Add(c.Lease)
	d.seats[key] = s
	return s.Term, nil
}

// Resign implements worker.Terms.
func (d *DB) Resign(ctx context.Context, name, holder string, leave bool, terms ...worker.Term) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("resign %s for %s: %w", name, holder, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range terms {
		key := segmentKey{name, t.Segment}
		if s := d.seats[key]; s.Term == t && s.Holder == holder {
			s.Holder, s.Until = "", d.moment()
			d.seats[key] = s
		}
	}
	if leave {
		delete(d.members, memberKey{name, holder})
	}
	return nil
}

// Roster implements worker.Terms.
func (d *DB) Roster(ctx context.Context, name string) (worker.Roster, error) {
	if err := ctx.Err(); err != nil {
		return worker.Roster{}, fmt.Errorf("read roster of %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rosterLocked(name), nil
}

func (d *DB) rosterLocked(name string) worker.Roster {
	var r worker.Roster
	now := d.moment()
	for k, until := range d.members {
		if k.name == name && until.After(now) {
			r.Members = append(r.Members, k.holder)
		}
	}
	for k, s := range d.seats {
		if k.name == name {
			s.Live = s.Until.After(now)
			r.Seats = append(r.Seats, s)
		}
	}
	slices.Sort(r.Members)
	slices.SortFunc(r.Seats, func(a, b worker.Seat) int { return cmp.Compare(a.Segment, b.Segment) })
	return r
}

// presentLocked is an error unless the term is the present one of its segment.
func (d *DB) presentLocked(name string, t worker.Term) error {
	if t == (worker.Term{}) {
		return nil
	}
	if have := d.seats[segmentKey{name, t.Segment}].Epoch; have != t.Epoch || t.Epoch == 0 {
		return overError(t)
	}
	return nil
}

func overError(t worker.Term) error {
	return fmt.Errorf("term %d of segment %q is over: %w", t.Epoch, t.Segment, worker.ErrFenced)
}

func (d *DB) moment() time.Time { return kept(d.now()) }

// kept is a time as Postgres keeps it.
func kept(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }
