package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/annals-go/annals/worker"
)

// defaultRows is how many a query returns that names no limit.
const defaultRows = 1000

type parkedKey struct {
	name string
	worker.Key
}

// parked is a parked key with its items by Seq.
type parked struct {
	worker.Parked
	items map[int64][]byte
}

// parkLocked makes all of a write but its marks, or nothing if there is an error.
func (d *DB) parkLocked(name string, w worker.Write) error {
	changed := map[worker.Key]*parked{} // nil: it goes
	find := func(k worker.Key, what string) (*parked, error) {
		if p, ok := changed[k]; ok {
			return p, nil
		}
		if _, ok := w.Marks[k.Part]; !ok {
			return nil, fmt.Errorf("part %q: key %q is %s, but the mark of the part is not written: write both together", k.Part, k.Key, what)
		}
		p, ok := d.parked[parkedKey{name, k}]
		if !ok {
			return nil, nil
		}
		changed[k] = &parked{p.Parked, maps.Clone(p.items)}
		return changed[k], nil
	}
	for _, want := range w.Park {
		p, err := find(want.Key, "parked")
		if err != nil {
			return err
		}
		if err := checkParked(want); err != nil {
			return fmt.Errorf("part %q: key %q %w", want.Part, want.Key.Key, err)
		}
		if p == nil {
			p = &parked{items: map[int64][]byte{}}
			changed[want.Key] = p
		}
		p.Parked = keptParked(want)
	}
	for _, i := range w.Items {
		p, err := find(i.Key, "given an item")
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("part %q: key %q cannot be given an item: it is not parked", i.Part, i.Key.Key)
		}
		if _, ok := p.items[i.Seq]; !ok {
			p.items[i.Seq] = slices.Clone(i.Data)
		}
	}
	for _, i := range w.Done {
		p, err := find(i.Key, "done with an item")
		if err != nil {
			return err
		}
		if p != nil {
			delete(p.items, i.Seq)
		}
	}
	for _, k := range w.Free {
		p, err := find(k, "freed")
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("part %q: key %q cannot be freed: it is not parked", k.Part, k.Key)
		case len(p.items) > 0:
			return fmt.Errorf("part %q: key %q cannot be freed: it still has items", k.Part, k.Key)
		}
		changed[k] = nil
	}
	for k, p := range changed {
		if p == nil {
			delete(d.parked, parkedKey{name, k})
		} else {
			d.parked[parkedKey{name, k}] = *p
		}
	}
	for _, a := range w.Audit {
		if a.Time = kept(a.Time); a.Time.IsZero() {
			a.Time = d.moment()
		}
		a.Actor, a.Action, a.Detail = worker.Cut(a.Actor), worker.Cut(a.Action), worker.Cut(a.Detail)
		d.audits[name] = append(d.audits[name], a)
	}
	return nil
}

func checkParked(p worker.Parked) error {
	switch {
	case p.State != worker.Retrying && p.State != worker.Waiting:
		return fmt.Errorf("has the state %q, want %s or %s", p.State, worker.Retrying, worker.Waiting)
	case p.Attempts < 0:
		return fmt.Errorf("has %d attempts, want at least 0", p.Attempts)
	case len(p.History) > worker.MaxHistory:
		return fmt.Errorf("has %d attempts in its history, want at most %d", len(p.History), worker.MaxHistory)
	}
	return nil
}

func keptParked(p worker.Parked) worker.Parked {
	p.Since, p.Next = kept(p.Since), kept(p.Next)
	p.Error, p.Stack, p.Version = worker.Cut(p.Error), worker.Cut(p.Stack), worker.Cut(p.Version)
	p.Owner, p.Note = worker.Cut(p.Owner), worker.Cut(p.Note)
	p.History = slices.Clone(p.History)
	for i, a := range p.History {
		p.History[i] = worker.Attempt{Time: kept(a.Time), Error: worker.Cut(a.Error), Version: worker.Cut(a.Version)}
	}
	p.Events, p.First = 0, 0
	return p
}

// Parked implements worker.Parking.
func (d *DB) Parked(ctx context.Context, q worker.ParkedQuery) ([]worker.Parked, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list parked keys of %s: %w", q.Name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []worker.Parked
	for k, p := range d.parked {
		if k.name != q.Name || q.Part != nil && *q.Part != k.Part || q.Key != "" && q.Key != k.Key.Key || q.State != "" && q.State != p.State || q.After != (worker.Key{}) && byKey(k.Key, q.After) <= 0 {
			continue
		}
		one := p.Parked
		one.History = slices.Clone(one.History)
		if one.Events = len(p.items); one.Events > 0 {
			one.First = slices.Min(slices.Collect(maps.Keys(p.items)))
		}
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b worker.Parked) int { return byKey(a.Key, b.Key) })
	return out[:min(orDefault(q.Limit), len(out))], nil
}

func orDefault(limit int) int {
	if limit <= 0 {
		return defaultRows
	}
	return limit
}

func byKey(a, b worker.Key) int {
	return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Key, b.Key))
}

// Items implements worker.Parking.
func (d *DB) Items(ctx context.Context, name string, key worker.Key, after int64, limit int) ([]worker.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read items of %s: part %q: key %q: %w", name, key.Part, key.Key, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []worker.Item
	items := d.parked[parkedKey{name, key}].items
	for _, seq := range slices.Sorted(maps.Keys(items)) {
		if seq > after && len(out) < orDefault(limit) {
			out = append(out, worker.Item{Key: key, Seq: seq, Data: slices.Clone(items[seq])})
		}
	}
	return out, nil
}

// Audits implements worker.Parking.
func (d *DB) Audits(ctx context.Context, name string, before time.Time, limit int) ([]worker.Audit, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list audits of %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []worker.Audit
	for _, a := range slices.Backward(d.audits[name]) {
		if before.IsZero() || a.Time.Before(before) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b worker.Audit) int { return b.Time.Compare(a.Time) })
	return out[:min(orDefault(limit), len(out))], nil
}
