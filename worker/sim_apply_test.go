package worker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// poisonKind is what an event does to whoever applies it.
type poisonKind int

const (
	poisonFails   poisonKind = iota // an error that says nothing
	poisonTells                     // one that says which event it is
	poisonForGood                   // the same, and that it is permanent
	poisonPanics
	poisonExits
	poisonHangs // until the context ends
	poisonDeaf  // long after the context has ended
	poisonKills
	poisonStorm // an error that says it is nobody's fault; the last kind
)

func (k poisonKind) String() string {
	return [...]string{"fails", "tells", "for good", "panics", "exits", "hangs", "deaf", "kills", "storm"}[k]
}

var errPoison = errors.New("the event is poisoned")

// poisonOf returns how often a kind acts: some a few times only.
func poisonOf(a *simActor, kind poisonKind) int {
	switch few := 1 + a.IntN(4); {
	case kind == poisonStorm:
		return few
	case kind == poisonDeaf:
		return 1
	case kind == poisonForGood, a.IntN(5) < 2:
		return 1 << 30
	default:
		return few
	}
}

// apply is the Apply of the readers.
func (s simStore) apply(ctx context.Context, b worker.Batch) (err error) {
	if s.relay {
		err = s.publish(ctx, b)
	} else {
		err = s.advance(ctx, b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.traceLocked(s.holder, "applied", b.Part, b.Term.Epoch, len(b.Events), b.Drain, err)
	if errors.Is(err, errStore) || errors.Is(err, context.DeadlineExceeded) && s.outLocked(time.Now()) == nil {
		for _, e := range b.Events {
			s.model.hits[s.keyOf(e)]++
		}
	}
	return err
}

// advance has the effects in the same transaction as the mark.
func (s simStore) advance(ctx context.Context, b worker.Batch) error {
	return s.call(ctx, "Advance", func(ctx context.Context) error {
		err := s.db.Advance(ctx, simName, b.Term, b.Part, func(ctx context.Context, _ *memory.Tx, at worker.Mark) (worker.Write, error) {
			if at.Revision != b.Write.Marks[b.Part].Revision {
				return worker.Write{}, worker.ErrFenced
			}
			for i, e := range b.Events {
				if err := s.handle(ctx, b, i, e); err != nil {
					return worker.Write{}, err
				}
			}
			return b.Write, s.step(ctx, "commit", 0, true)
		})
		if err == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, e := range b.Events {
				s.model.tookEffectLocked(s.simWorld, e)
			}
			s.model.wroteLocked(s.simWorld, b.Term, b.Write)
		}
		return err
	})
}

// publish has the effects first, and the mark after them.
func (s simStore) publish(ctx context.Context, b worker.Batch) error {
	for i, e := range b.Events {
		if err := s.handle(ctx, b, i, e); err != nil {
			return err
		}
		s.mu.Lock()
		s.model.tookEffectLocked(s.simWorld, e)
		s.mu.Unlock()
	}
	return s.Save(ctx, simName, b.Term, b.Write)
}

// handle is what is done for one event.
func (s simStore) handle(ctx context.Context, b worker.Batch, i int, e event.Recorded) error {
	if s.lazy && i > 0 { // it takes no time
		s.mu.Lock()
		dead := s.dead
		s.mu.Unlock()
		if dead {
			return errDead
		}
	} else if err := s.step(ctx, "handle", 0, false); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	m := s.model.events[e.Position-1]
	m.tries++
	acts := m.left > 0 && !s.mended
	if acts {
		m.left--
		s.traceLocked(s.holder, "poison", m.kind, e.Position)
	}
	if acts && m.kind == poisonKills {
		m.kills++
		s.killLocked()
		// Those who kill at the same time disturb the search for each other.
		if retries := s.model.retries[m.key]; m.kills > (s.retry.Kills+6)*(1+retries)*s.model.killers {
			s.violatedLocked("event %d has ended %d processes, with %d retries", e.Position, m.kills, retries)
		}
	}
	s.mu.Unlock()
	if !acts {
		return nil
	}
	switch m.kind {
	case poisonFails:
		return errPoison
	case poisonTells:
		return &worker.EventError{Index: i, Err: errPoison}
	case poisonForGood:
		return &worker.EventError{Index: i, Err: worker.Permanent(errPoison)}
	case poisonPanics:
		panic("poisoned")
	case poisonExits:
		runtime.Goexit()
	case poisonHangs:
		<-ctx.Done()
		return errors.Join(s.step(ctx, "hung", 0, false), ctx.Err())
	case poisonDeaf:
		s.mu.Lock()
		d := s.actorLocked(ctx).moment(time.Now().Add(s.timeout + 16*time.Second + 2*s.lease))
		s.mu.Unlock()
		time.Sleep(d) //nolint:forbidigo // the clock is that of the bubble
		return s.step(ctx, "deaf", 0, false)
	case poisonKills:
		return errDead
	case poisonStorm:
		return fmt.Errorf("event %d: %w", e.Position, worker.Systemic(errPoison))
	}
	return nil
}

// killLocked ends the process: nothing that it does from here on has an effect.
func (w *simWorker) killLocked() {
	w.traceLocked(w.holder, "killed")
	w.dead = true
	w.leave()
}
