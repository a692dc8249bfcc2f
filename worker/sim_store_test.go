package worker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

var (
	errDead   = errors.New("the process has ended")
	errStore  = errors.New("the store is away")
	errOutage = errors.New("everything is away")
)

// simStore is the store as one worker sees it: calls take time, fail before they have
// done anything, or after.
type simStore struct{ *simWorker }

// simStormStore also knows what its errors mean.
type simStormStore struct{ simStore }

func (simStormStore) Classify(err error) worker.Class {
	if errors.Is(err, errStore) || errors.Is(err, errOutage) {
		return worker.ClassSystemic
	}
	return worker.Unclassified
}

// call is one call of the store. It is made by do, unless the seed has it fail before.
func (s simStore) call(ctx context.Context, what string, do func(ctx context.Context) error) error {
	if err := s.step(ctx, what, s.before, true); err != nil {
		return err
	}
	s.mu.Lock()
	a := s.actorLocked(ctx)
	late := s.late && !s.calm && what != "Advance" && a.Float64() < .05
	s.mu.Unlock()
	within := ctx
	if late { // the request is on its way, whatever the caller thinks by now
		within = context.WithoutCancel(ctx)
	}
	err := do(within)
	s.mu.Lock()
	s.traceLocked(s.holder, "did "+what, a.id, err)
	s.mu.Unlock()
	if after := s.step(ctx, what+" answer", s.after, true); err == nil && after != nil {
		return after
	}
	return err
}

// step takes a moment, and may fail.
func (w *simWorker) step(ctx context.Context, what string, share float64, store bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errDead
	}
	if w.ended {
		w.violatedLocked("%s calls %s after Run has returned", w.holder, what)
		return errDead
	}
	a := w.actorLocked(ctx)
	if w.ops++; w.ops > 200_000 {
		w.violatedLocked("there is no end to it")
		w.dead = true
		return errDead
	}
	if now := time.Now(); now.Sub(w.since) > 3*time.Second {
		w.turns, w.since = 0, now
	}
	if w.turns++; w.turns == 1500 {
		w.violatedLocked("%d calls in %v, and nothing was done", w.turns, time.Since(w.since))
	}
	d := time.Duration(10_000 + a.IntN(2_000_000))
	fails, unknown := a.Float64() < share, a.IntN(2) == 0
	if !w.calm {
		if a.Float64() < w.slow {
			d = time.Duration(a.Int64N(int64(2 * w.lease)))
		}
		if a.Float64() < w.freeze {
			w.frozen = time.Now().Add(d + w.lease/2 + time.Duration(a.Int64N(int64(3*w.lease))))
		}
	}
	for first := true; first || time.Now().Before(w.frozen); first = false {
		until := time.Now().Add(d)
		if until.Before(w.frozen) {
			until = w.frozen
		}
		d = a.moment(until)
		w.mu.Unlock()
		time.Sleep(d) //nolint:forbidigo // the clock is that of the bubble
		w.mu.Lock()
		d = 0
	}
	err := w.outcomeLocked(ctx, a, store, fails, unknown)
	w.traceLocked(w.holder, what, a.id, err)
	return err
}

func (w *simWorker) outcomeLocked(ctx context.Context, a *simActor, store, fails, unknown bool) error {
	for {
		now := time.Now()
		o := w.outLocked(now)
		switch {
		case w.dead:
			return errDead
		case o != nil && (store && o.store || !store && o.app):
			if !o.silent || ctx.Done() == nil {
				if o.marked {
					return worker.Systemic(errOutage)
				}
				return errOutage
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			w.blockLocked(ctx, a, o.until)
		case fails && !w.calm && unknown:
			return fmt.Errorf("%w: %w", errStore, eventstore.ErrOutcomeUnknown)
		case fails && !w.calm:
			return errStore
		default:
			return nil
		}
	}
}

// blockLocked waits until the end of ctx or a time.
func (w *simWorker) blockLocked(ctx context.Context, a *simActor, until time.Time) {
	w.mu.Unlock()
	timer := time.NewTimer(time.Until(until))
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	timer.Stop()
	time.Sleep(a.moment(time.Now())) //nolint:forbidigo // the clock is that of the bubble
	w.mu.Lock()
}

// ReadLog implements eventstore.Log.
func (s simStore) ReadLog(ctx context.Context, q eventstore.LogQuery) (page eventstore.Page, err error) {
	page = eventstore.Page{After: q.After, Next: q.After}
	if _, ahead := pprof.Label(ctx, "read"); ahead { // it begins in the moment of a segment
		s.mu.Lock()
		d := s.actorLocked(ctx).moment(time.Now())
		s.mu.Unlock()
		time.Sleep(d) //nolint:forbidigo // the clock is that of the bubble
	}
	err = s.call(ctx, "ReadLog", func(ctx context.Context) (err error) {
		page, err = s.db.ReadLog(ctx, q)
		return err
	})
	return page, err
}

// Head implements eventstore.Log.
func (s simStore) Head(ctx context.Context) (event.Position, error) { return s.db.Head(ctx) }

// PositionBefore implements eventstore.Log.
func (s simStore) PositionBefore(ctx context.Context, t time.Time) (event.Position, error) {
	return s.db.PositionBefore(ctx, t)
}

// Lineage implements eventstore.Log.
func (s simStore) Lineage(ctx context.Context) (eventstore.Lineage, error) { return s.db.Lineage(ctx) }

// Wait implements eventstore.Log.
func (s simStore) Wait(ctx context.Context, after event.Position) error {
	s.mu.Lock()
	a := s.actorLocked(ctx)
	s.mu.Unlock()
	within := ctx
	if s.polls {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, s.lease)
		defer cancel()
	}
	err := s.db.Wait(within, after)
	time.Sleep(a.moment(time.Now())) //nolint:forbidigo // the clock is that of the bubble
	if err != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// Checkpoint implements worker.Checkpoints.
func (s simStore) Checkpoint(ctx context.Context, name string) (c worker.Checkpoint, err error) {
	err = s.call(ctx, "Checkpoint", func(ctx context.Context) (err error) {
		c, err = s.db.Checkpoint(ctx, name)
		return err
	})
	return c, err
}

// Save implements worker.Checkpoints.
func (s simStore) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	done := false
	err := s.call(ctx, "Save", func(ctx context.Context) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		err := s.db.Save(ctx, name, term, w)
		if done = err == nil; done {
			s.model.wroteLocked(s.simWorld, term, w)
		}
		return err
	})
	if s.mu.Lock(); done && err != nil { // an attempt has begun, and who began it may leave without a try
		for _, p := range w.Park {
			s.model.deaths[p.Part]++
		}
	}
	s.mu.Unlock()
	return err
}

// Renew implements worker.Terms.
func (s simStore) Renew(ctx context.Context, r worker.Renewal) (roster worker.Roster, err error) {
	err = s.call(ctx, "Renew", func(ctx context.Context) (err error) {
		roster, err = s.db.Renew(ctx, r)
		return err
	})
	return roster, err
}

// Claim implements worker.Terms.
func (s simStore) Claim(ctx context.Context, c worker.Claiming) (term worker.Term, err error) {
	err = s.call(ctx, "Claim", func(ctx context.Context) (err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		before, _ := s.db.Roster(ctx, c.Name)
		term, err = s.db.Claim(ctx, c)
		if err == nil {
			for _, seat := range before.Seats {
				if seat.Segment == c.Segment && seat.Holder != "" {
					s.model.deaths[c.Segment]++
				}
			}
			s.model.claimedLocked(s.simWorker, term)
		}
		return err
	})
	return term, err
}

// Resign implements worker.Terms.
func (s simStore) Resign(ctx context.Context, name, holder string, leave bool, terms ...worker.Term) error {
	return s.call(ctx, "Resign", func(ctx context.Context) error { return s.db.Resign(ctx, name, holder, leave, terms...) })
}

// Roster implements worker.Terms.
func (s simStore) Roster(ctx context.Context, name string) (roster worker.Roster, err error) {
	err = s.call(ctx, "Roster", func(ctx context.Context) (err error) {
		roster, err = s.db.Roster(ctx, name)
		return err
	})
	return roster, err
}

// Parked implements worker.Parking.
func (s simStore) Parked(ctx context.Context, q worker.ParkedQuery) (out []worker.Parked, err error) {
	err = s.call(ctx, "Parked", func(ctx context.Context) (err error) {
		out, err = s.db.Parked(ctx, q)
		return err
	})
	return out, err
}

// Items implements worker.Parking.
func (s simStore) Items(ctx context.Context, name string, key worker.Key, after int64, limit int) (out []worker.Item, err error) {
	err = s.call(ctx, "Items", func(ctx context.Context) (err error) {
		out, err = s.db.Items(ctx, name, key, after, limit)
		return err
	})
	return out, err
}

// Audits implements worker.Parking.
func (s simStore) Audits(ctx context.Context, name string, before time.Time, limit int) ([]worker.Audit, error) {
	return s.db.Audits(ctx, name, before, limit)
}
