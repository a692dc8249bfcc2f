package worker_test

import (
	"context"
	"errors"
	"time"

	"github.com/annals-go/annals/worker"
)

// trouble lets workers leave and die, and whole services fail, until ctx ends.
func (w *simWorld) trouble(ctx context.Context) {
	w.mu.Lock()
	a := w.actorLocked(actorTrouble)
	w.mu.Unlock()
	left, killed, failed := 0, 0, 0
	for ctx.Err() == nil {
		w.sleep(ctx, actorTrouble, time.Duration(a.Int64N(int64(w.lease))))
		w.mu.Lock()
		w.conservedLocked(false)
		n := len(w.model.running)
		switch k := a.IntN(4); {
		case k == 0 && n > 0 && left < w.leaves:
			left++
			s := w.model.running[a.IntN(n)]
			w.traceLocked(s.holder, "leaves")
			s.leave()
		case k == 1 && n > 0 && killed < w.kills:
			killed++
			w.model.running[a.IntN(n)].killLocked()
		case k == 2 && failed < w.outages:
			failed++
			w.outageLocked(a)
		}
		w.mu.Unlock()
	}
}

func (w *simWorld) outageLocked(a *simActor) {
	now := time.Now()
	if now.Before(w.outage.until) {
		return
	}
	what := a.IntN(3)
	w.outage = outage{
		until: now.Add(time.Duration(a.Int64N(int64(4 * w.lease)))), store: what != 0, app: what != 1,
		silent: a.IntN(3) == 0, marked: a.IntN(3) == 0,
	}
	w.model.outages++
	w.traceLocked("world", "outage", w.outage.store, w.outage.app, w.outage.silent, w.outage.marked, w.outage.until.Sub(simStart))
}

// operate is somebody who decides on what is parked, not always wisely.
func (w *simWorld) operate(ctx context.Context) {
	w.mu.Lock()
	a := w.actorLocked(actorOperator)
	w.mu.Unlock()
	s := &simWorker{simWorld: w, slot: -1, holder: "operator"}
	amender := worker.Amender{Store: simStore{s}, Name: simName, Actor: "operator"}.WithRandom(s.jitter)
	for ctx.Err() == nil {
		w.sleep(ctx, actorOperator, time.Duration(a.Int64N(int64(w.lease))))
		parked, err := w.db.Parked(ctx, worker.ParkedQuery{Name: simName})
		if err != nil || len(parked) == 0 {
			continue
		}
		p := parked[a.IntN(len(parked))]
		switch k := a.IntN(4); {
		case k == 0 && w.retries:
			_, _ = amender.RetryParked(ctx, 0, p.Key)
		case k == 1 && w.discards:
			_ = amender.DiscardParked(ctx, p.Key, p.First, "of no use")
		case k == 2 && w.notes:
			_ = amender.NoteParked(ctx, p.Key, "seen")
		case k == 3 && w.notes:
			_ = amender.AssignParked(ctx, p.Key, "me")
		}
	}
}

// retryAll has tried again what waits, as after a deployment that mends it.
func (w *simWorld) retryAll(ctx context.Context) {
	s := &simWorker{simWorld: w, slot: -1, holder: "operator"}
	amender := worker.Amender{Store: simStore{s}, Name: simName, Actor: "operator"}.WithRandom(s.jitter)
	parked, err := w.db.Parked(ctx, worker.ParkedQuery{Name: simName, State: worker.Waiting})
	if err != nil {
		return
	}
	for _, p := range parked {
		if _, err := amender.RetryParked(ctx, 0, p.Key); err != nil && !errors.Is(err, worker.ErrNotParked) && ctx.Err() == nil {
			w.violated("retry %v: %v", p.Key, err)
		}
	}
}
