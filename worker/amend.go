package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrNotParked says that a key is not parked, or not any more.
var ErrNotParked = errors.New("not parked")

// MaxNote is the most bytes of an owner or a note.
const MaxNote = 1000

// Amender changes what is parked, as people ask for it. Each change is written down
// with who has asked for it, in the same transaction: see Parking.Audits. A worker that
// runs takes it into account with its next batch, or when it looks next.
type Amender struct {
	Store Keeper
	Name  string // of the reader
	Actor string // who asks; required

	random func(longest time.Duration) time.Duration // as in Retry
}

// RetryParked has parked keys tried again, one after the other, each from its first
// event on, and with all attempts before it. The first is due at once, the others
// follow, rate of them a second (0: 10), so that what they depend on is not overrun. It
// returns how many keys it has done; after an error it can be called again with the
// others. The error matches ErrNotParked for a key that is not parked.
func (a Amender) RetryParked(ctx context.Context, rate float64, keys ...Key) (int, error) {
	if rate <= 0 {
		rate = 10
	}
	for i, key := range keys {
		due := time.Now().Add(time.Duration(float64(i) / rate * float64(time.Second)))
		err := a.amend(ctx, "retry", key, func(w *Write, p *Parked, _ Item) (string, error) {
			p.State, p.Attempts, p.Next = Retrying, 0, due
			w.Park = []Parked{*p}
			return "", nil
		})
		if err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

// DiscardParked gives up the first event of a parked key for good: it will never take
// effect. The others of the key are tried again, as by RetryParked. The event must be
// the one whose Seq is given, so that no other is given up by accident. The error
// matches ErrNotParked if the key is not parked, or its first event is another one.
func (a Amender) DiscardParked(ctx context.Context, key Key, seq int64, why string) error {
	return a.amend(ctx, "discard", key, func(w *Write, p *Parked, first Item) (string, error) {
		if first.Seq != seq {
			return "", fmt.Errorf("its first event is %d, not %d: %w", first.Seq, seq, ErrNotParked)
		}
		w.Done = []Item{{Key: key, Seq: seq}}
		w.Audit[0].Seq = seq
		if p.Events == 1 {
			w.Free = []Key{key}
			return why, nil
		}
		p.State, p.Attempts, p.Next = Retrying, 0, time.Now()
		w.Park = []Parked{*p}
		return why, nil
	})
}

// AssignParked says who looks after a parked key; "": nobody.
func (a Amender) AssignParked(ctx context.Context, key Key, owner string) error {
	return a.amend(ctx, "assign", key, func(w *Write, p *Parked, _ Item) (string, error) {
		p.Owner = owner
		w.Park = []Parked{*p}
		return owner, tooLong("owner", owner)
	})
}

// NoteParked replaces the note of a parked key.
func (a Amender) NoteParked(ctx context.Context, key Key, note string) error {
	return a.amend(ctx, "note", key, func(w *Write, p *Parked, _ Item) (string, error) {
		p.Note = note
		w.Park = []Parked{*p}
		return note, tooLong("note", note)
	})
}

func tooLong(what, text string) error {
	if len(text) > MaxNote {
		return fmt.Errorf("%s has %d bytes, want at most %d", what, len(text), MaxNote)
	}
	return nil
}

// amendTries is how often a change is made anew because a worker has moved the mark
// meanwhile.
const amendTries = 100

// amend reads a parked key, has it changed, and writes it, together with the mark of
// its part: so a worker that knows it otherwise is fenced and reads it again.
func (a Amender) amend(ctx context.Context, action string, key Key, change func(w *Write, p *Parked, first Item) (detail string, err error)) error {
	fail := func(err error) error { return fmt.Errorf("%s parked key %q of %s: %w", action, key.Key, a.Name, err) }
	if a.Actor == "" || len(a.Actor) > MaxNote {
		return fail(fmt.Errorf("the actor has %d bytes, want 1 to %d", len(a.Actor), MaxNote))
	}
	for try := 1; ; try++ {
		err := a.try(ctx, action, key, change)
		if !errors.Is(err, ErrFenced) || try == amendTries {
			if err != nil {
				return fail(err)
			}
			return nil
		}
		if !pause(ctx, Retry{Cap: 20 * time.Millisecond, Base: time.Millisecond, random: a.random}.Wait(try)) {
			return fail(ctx.Err())
		}
	}
}

func (a Amender) try(ctx context.Context, action string, key Key, change func(w *Write, p *Parked, first Item) (string, error)) error {
	c, err := a.Store.Checkpoint(ctx, a.Name)
	if err != nil {
		return err
	}
	p, err := a.parked(ctx, key)
	if err != nil {
		return err
	}
	items, err := a.Store.Items(ctx, a.Name, key, 0, 1)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return ErrNotParked
	}
	w := Write{
		Marks: Checkpoint{key.Part: c[key.Part]},
		Audit: []Audit{{Key: key, Time: time.Now(), Actor: a.Actor, Action: action}},
	}
	if w.Audit[0].Detail, err = change(&w, &p, items[0]); err != nil {
		return err
	}
	return a.Store.Save(ctx, a.Name, Term{}, w)
}

// parked returns one key.
func (a Amender) parked(ctx context.Context, key Key) (Parked, error) {
	q := ParkedQuery{Name: a.Name, Part: &key.Part, Key: key.Key, Limit: 1}
	page, err := a.Store.Parked(ctx, q)
	switch {
	case err != nil:
		return Parked{}, err
	case len(page) == 0:
		return Parked{}, ErrNotParked
	}
	return page[0], nil
}
