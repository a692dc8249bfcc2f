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

// defaultParked is how many parked keys a query returns that names no limit.
const defaultParked = 1000

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
	find := func(k worker.Key) (*parked, error) {
		if p, ok := changed[k]; ok {
			return p, nil
		}
		if _, ok := w.Marks[k.Part]; !ok {
			return nil, fmt.Errorf("key %q of part %q: the write does not move the mark of the part", k.Key, k.Part)
		}
		p, ok := d.parked[parkedKey{name, k}]
		if !ok {
			return nil, nil
		}
		changed[k] = &parked{p.Parked, maps.Clone(p.items)}
		return changed[k], nil
	}
	for _, want := range w.Park {
		p, err := find(want.Key)
		if err != nil {
			return err
		}
		if p == nil {
			p = &parked{items: map[int64][]byte{}}
			changed[want.Key] = p
		}
		p.Parked = keptParked(want)
	}
	for _, i := range w.Items {
		p, err := find(i.Key)
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("key %q of part %q is not parked: an event cannot be put behind it", i.Key.Key, i.Part)
		}
		if _, ok := p.items[i.Seq]; !ok {
			p.items[i.Seq] = slices.Clone(i.Data)
		}
	}
	for _, i := range w.Done {
		p, err := find(i.Key)
		if err != nil {
			return err
		}
		if p != nil {
			delete(p.items, i.Seq)
		}
	}
	for _, k := range w.Free {
		p, err := find(k)
		switch {
		case err != nil:
			return err
		case p == nil:
			return fmt.Errorf("key %q of part %q is not parked: it cannot be freed", k.Key, k.Part)
		case len(p.items) > 0:
			return fmt.Errorf("key %q of part %q still has %d events: it cannot be freed", k.Key, k.Part, len(p.items))
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
		a.Time = kept(a.Time)
		d.audits[name] = append(d.audits[name], a)
	}
	return nil
}

func keptParked(p worker.Parked) worker.Parked {
	p.Since, p.Next = kept(p.Since), kept(p.Next)
	p.History = slices.Clone(p.History)
	for i := range p.History {
		p.History[i].Time = kept(p.History[i].Time)
	}
	p.Events, p.First = 0, 0
	return p
}

// Parked implements worker.Parking.
func (d *DB) Parked(ctx context.Context, q worker.ParkedQuery) ([]worker.Parked, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read parked keys of %s: %w", q.Name, err)
	}
	if q.Limit <= 0 {
		q.Limit = defaultParked
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []worker.Parked
	for k, p := range d.parked {
		if k.name != q.Name || q.Part != nil && *q.Part != k.Part || q.Key != "" && q.Key != k.Key.Key || q.State != "" && q.State != p.State || byKey(k.Key, q.After) <= 0 {
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
	return out[:min(q.Limit, len(out))], nil
}

func byKey(a, b worker.Key) int {
	return cmp.Or(cmp.Compare(a.Part, b.Part), cmp.Compare(a.Key, b.Key))
}

// Items implements worker.Parking.
func (d *DB) Items(ctx context.Context, name string, key worker.Key, after int64, limit int) ([]worker.Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read events parked for %s: %w", name, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []worker.Item
	items := d.parked[parkedKey{name, key}].items
	for _, seq := range slices.Sorted(maps.Keys(items)) {
		if seq > after && len(out) < limit {
			out = append(out, worker.Item{Key: key, Seq: seq, Data: slices.Clone(items[seq])})
		}
	}
	return out, nil
}

// Audits implements worker.Parking.
func (d *DB) Audits(ctx context.Context, name string, before time.Time, limit int) ([]worker.Audit, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read audits of %s: %w", name, err)
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
	return out[:min(max(limit, 0), len(out))], nil
}
