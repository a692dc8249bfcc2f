package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// ErrNotParked says that a key is not parked, or not any more.
var ErrNotParked = errors.New("not parked")

// MaxNote is the most bytes of an owner, a note, a reason, or the name of an actor.
const MaxNote = 1000

// DefaultRetryRate is how many parked keys a second are tried again.
const DefaultRetryRate = 10

// Amender changes what is parked, as people ask for it. Each change is written down
// with who has asked for it, in the same transaction: see Parking.Audits. A worker that
// runs is fenced by it, reads again what is parked, and goes on; so a change needs no
// stop. It competes with the batches of the worker for the mark of the part, and gives
// up with ErrFenced after a hundred times.
//
// If the outcome of a change is unknown, make it again: a discard that was made is
// refused then, the others come to the same.
type Amender struct {
	Store Keeper
	Name  string // of the reader
	Actor string // who asks; required, at most MaxNote bytes

	random func(longest time.Duration) time.Duration // as in Retry
}

// RetryParked has parked keys tried again, one after the other, each from its first
// event on, and with all attempts before it. The first is due at once, the others
// follow, rate of them a second (0: DefaultRetryRate), so that what they depend on is
// not overrun. It returns how many keys it has done; after an error it can be called
// again with the others. The error matches ErrNotParked for a key that is not parked.
func (a Amender) RetryParked(ctx context.Context, rate float64, keys ...Key) (int, error) {
	from := time.Now()
	for i, key := range keys {
		if err := a.retry(ctx, key, from.Add(paced(i, rate))); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

// RetryAll is RetryParked for all keys that wait, or those of one part if it is not
// nil. It takes as long as the rate says, so that it is never far ahead of the worker,
// and passes over keys that somebody else has seen to meanwhile. After an error, or the
// end of ctx, it can be called again: what it has done does not wait any more. After
// each of some keys it calls told, unless that is nil, with how many are done.
func (a Amender) RetryAll(ctx context.Context, rate float64, part *string, told func(done int)) (int, error) {
	from, done := time.Now(), 0
	q := ParkedQuery{Name: a.Name, Part: part, State: Waiting, Limit: retryPage}
	for {
		page, err := a.Store.Parked(ctx, q)
		if err != nil {
			return done, err
		}
		for _, p := range page {
			switch err := a.retry(ctx, p.Key, from.Add(paced(done, rate))); {
			case errors.Is(err, ErrNotParked):
				continue
			case err != nil:
				return done, err
			}
			done++
		}
		if told != nil {
			told(done)
		}
		if len(page) < retryPage {
			return done, nil
		}
		q.After = page[len(page)-1].Key
		if !pause(ctx, time.Until(from.Add(paced(done, rate)))) {
			return done, fmt.Errorf("retry what is parked of %s: %w", a.Name, ctx.Err())
		}
	}
}

// retryPage is how many keys RetryAll is ahead of the rate at most.
const retryPage = 100

// paced returns when the i-th of many is due.
func paced(i int, rate float64) time.Duration {
	if !(rate > 0) { // NaN too
		rate = DefaultRetryRate
	}
	return time.Duration(float64(i) / rate * float64(time.Second))
}

func (a Amender) retry(ctx context.Context, key Key, due time.Time) error {
	return a.amend(ctx, "retry", key, func(w *Write, p *Parked) (string, error) {
		p.State, p.Attempts, p.Next = Retrying, 0, due
		w.Park = []Parked{*p}
		return "", nil
	})
}

// DiscardParked gives up the first event of a parked key for good: it will never take
// effect. The others of the key are tried again, as by RetryParked. The event must be
// the one whose Seq is given, so that no other is given up by accident. The error
// matches ErrNotParked if the key is not parked, or its first event is another one.
func (a Amender) DiscardParked(ctx context.Context, key Key, seq int64, why string) error {
	return a.amend(ctx, "discard", key, func(w *Write, p *Parked) (string, error) {
		if err := tooLong("the reason", why); err != nil {
			return "", err
		}
		if p.First != seq {
			return "", fmt.Errorf("its first event is %d, not %d: %w", p.First, seq, ErrNotParked)
		}
		w.Done = []Item{{Key: key, Seq: seq}}
		w.Audit[0].Seq = seq
		if p.Events == 1 {
			w.Free = []Key{key}
			return why, nil
		}
		p.State, p.Attempts, p.Next = Retrying, 0, time.Now()
		p.Error, p.Stack = "", "" // those of the event that is gone
		w.Park = []Parked{*p}
		return why, nil
	})
}

// AssignParked says who looks after a parked key; "": nobody.
func (a Amender) AssignParked(ctx context.Context, key Key, owner string) error {
	return a.amend(ctx, "assign", key, func(w *Write, p *Parked) (string, error) {
		p.Owner = owner
		w.Park = []Parked{*p}
		return owner, tooLong("the owner", owner)
	})
}

// NoteParked replaces the note of a parked key.
func (a Amender) NoteParked(ctx context.Context, key Key, note string) error {
	return a.amend(ctx, "note", key, func(w *Write, p *Parked) (string, error) {
		p.Note = note
		w.Park = []Parked{*p}
		return note, tooLong("the note", note)
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
//
// A worker with much to do holds the mark nearly all the time. Who waits for it is
// fenced just when it is free, while the worker reads its next page; so every other
// try follows at once.
func (a Amender) amend(ctx context.Context, action string, key Key, change func(w *Write, p *Parked) (detail string, err error)) error {
	fail := func(err error) error { return fmt.Errorf("%s parked key %q of %s: %w", action, key.Key, a.Name, err) }
	if a.Actor == "" || len(a.Actor) > MaxNote {
		return fail(fmt.Errorf("the actor has %d bytes, want 1 to %d", len(a.Actor), MaxNote))
	}
	for try := 1; ; try++ {
		err := a.try(ctx, action, key, change)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrFenced) || try == amendTries {
			return fail(err)
		}
		if try%2 == 0 && !pause(ctx, Retry{Cap: 20 * time.Millisecond, Base: time.Millisecond, random: a.random}.Wait(try)) {
			return fail(ctx.Err())
		}
	}
}

func (a Amender) try(ctx context.Context, action string, key Key, change func(w *Write, p *Parked) (string, error)) error {
	c, err := a.Store.Checkpoint(ctx, a.Name) // first, so that the revision guards what comes then
	if err != nil {
		return err
	}
	p, err := a.parked(ctx, key)
	if err != nil {
		return err
	}
	w := Write{
		Marks: Checkpoint{key.Part: c[key.Part]},
		Audit: []Audit{{Key: key, Time: time.Now(), Actor: a.Actor, Action: action}},
	}
	if w.Audit[0].Detail, err = change(&w, &p); err != nil {
		return err
	}
	err = a.Store.Save(ctx, a.Name, Term{}, w)
	log, ok := a.Store.(eventstore.Log)
	if !ok || !errors.Is(err, eventstore.ErrOtherServer) {
		return err
	}
	// Another server has the log, and nothing has come since: so the mark stands still.
	if w.Marks[key.Part], err = Resume(ctx, log, a.Name, c[key.Part]); err != nil {
		return err
	}
	return a.Store.Save(ctx, a.Name, Term{}, w)
}

// parked returns one key.
func (a Amender) parked(ctx context.Context, key Key) (Parked, error) {
	page, err := a.Store.Parked(ctx, ParkedQuery{Name: a.Name, Part: &key.Part, Key: key.Key})
	if err != nil {
		return Parked{}, err
	}
	for _, p := range page { // all of the part, if the name of the key is empty
		if p.Key == key && p.Events > 0 {
			return p, nil
		}
	}
	return Parked{}, ErrNotParked
}
