package worker_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// simulate runs the world of a seed, and returns what was violated, and the trace if
// it is asked for.
func simulate(t *testing.T, seed uint64, traced bool) (errs []string, trace string) {
	synctest.Test(t, func(t *testing.T) {
		w := &simWorld{seed: seed, simPlan: planOf(seed), db: memory.New(), log: slog.New(slog.DiscardHandler), actors: map[int]*simActor{}, model: newModel()}
		if traced {
			w.trace = &strings.Builder{}
		}
		w.run(t.Context())
		errs = w.errs
		if traced {
			trace = w.trace.String()
		}
	})
	return errs, trace
}

// run has four parts: trouble, then calm with poisoned events, then calm with mended
// ones, and the end.
func (w *simWorld) run(ctx context.Context) {
	ctx, halt := context.WithCancel(ctx)
	defer halt()
	w.halt = halt
	var others, workers sync.WaitGroup
	trouble, calm := context.WithTimeout(ctx, w.chaos)
	defer calm()
	working, rest := context.WithCancel(ctx)
	for slot := range w.slots {
		workers.Go(func() { w.slotOf(working, slot) })
	}
	others.Go(func() { w.append(ctx) })
	others.Go(func() { w.trouble(trouble) })
	if w.retries || w.discards || w.notes {
		others.Go(func() { w.operate(trouble) })
	}
	others.Wait()
	w.sleep(ctx, actorJudge, w.lease)

	w.mu.Lock()
	w.calm = true
	w.traceLocked("world", "calm")
	w.mu.Unlock()
	w.settle(ctx, "calm")

	w.mu.Lock()
	w.mended = true
	w.traceLocked("world", "mended")
	w.mu.Unlock()
	if w.to {
		workers.Go(func() { w.runTo(working) })
	}
	w.settle(ctx, "mended")
	rest()
	workers.Wait()
}

// settle waits until there is nothing to do any more.
func (w *simWorld) settle(ctx context.Context, phase string) {
	for range 3600 {
		w.mu.Lock()
		done, mended := w.settledLocked(), w.mended
		w.mu.Unlock()
		if mended && !done {
			w.retryAll(ctx)
		}
		if done || ctx.Err() != nil {
			break
		}
		w.sleep(ctx, actorJudge, time.Second)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	if !w.settledLocked() {
		w.violatedLocked("an hour of %s is not enough:\n%s", phase, w.stateLocked())
		return
	}
	w.conservedLocked(true)
}

// slotOf starts one process after the other.
func (w *simWorld) slotOf(ctx context.Context, slot int) {
	actor := actorSlots + slot*16 + 15
	w.mu.Lock()
	a := w.actorLocked(actor)
	w.mu.Unlock()
	for n := 1; ctx.Err() == nil; n++ {
		w.sleep(ctx, actor, time.Duration(a.Int64N(int64(w.lease))))
		s := w.worker(ctx, slot, n)
		err := s.reader().Run(s.ctx)
		s.over(err)
	}
}

// runTo does what is left, and returns.
func (w *simWorld) runTo(ctx context.Context) {
	w.mu.Lock()
	to := event.Position(len(w.model.events))
	w.mu.Unlock()
	s := w.worker(ctx, w.slots, 1)
	err := s.reader().RunTo(s.ctx, to)
	w.mu.Lock()
	if err == nil && w.model.left > 0 {
		w.violatedLocked("RunTo has returned, and %d events are left", w.model.left)
	}
	w.mu.Unlock()
	if errors.Is(err, context.Canceled) || errors.Is(err, worker.ErrParked) {
		err = nil
	}
	s.over(err)
}

type simProcess struct {
	simStore
	ctx context.Context
}

func (w *simWorld) worker(ctx context.Context, slot, n int) *simProcess {
	ctx, leave := context.WithCancel(ctx)
	s := &simWorker{simWorld: w, slot: slot, holder: fmt.Sprintf("w%d.%d", slot, n), leave: leave}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.model.running = append(w.model.running, s)
	w.traceLocked(s.holder, "starts")
	return &simProcess{simStore{s}, ctx}
}

// over judges how a Run has ended.
func (s *simProcess) over(err error) {
	s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.traceLocked(s.holder, "ended", err)
	for i, other := range s.model.running {
		if other == s.simWorker {
			s.model.running = append(s.model.running[:i:i], s.model.running[i+1:]...)
			break
		}
	}
	if err != nil && !s.dead {
		s.violatedLocked("%s: Run = %v", s.holder, err)
	}
}

func (s *simProcess) reader() worker.Reader {
	r := worker.Reader{
		Name: simName, Store: s.simStore, Log: s.simStore, Segments: s.segments, Holder: s.holder,
		Key:    func(e event.Recorded) string { return s.keyOf(e).Key },
		Covers: func(e event.Recorded) bool { return e.Name != "sim.ignored" },
		Begin: func(ctx context.Context, part string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
			m, err := worker.Resume(ctx, s.db, simName, c[part])
			return m, m.Position, err
		},
		Apply: s.apply, Batch: s.batch, Timeout: s.timeout, Lease: s.lease, Logger: s.log, Version: "1",
		Retry: s.retry.WithRandom(s.jitter),
		// Segments that are stopped while they wait end one after the other.
		Hooks: worker.Hooks{Resumed: func(p worker.Pause) { s.pass(p.Part) }},
	}
	if s.storms {
		r.Store = simStormStore{s.simStore}
	}
	return r
}

// pass takes a segment to a moment of its own.
func (s *simProcess) pass(part string) {
	s.mu.Lock()
	d := s.simWorld.actorLocked(actorSlots + s.slot*16 + 1 + segmentNumber(part)).moment(time.Now())
	s.mu.Unlock()
	time.Sleep(d) //nolint:forbidigo // the clock is that of the bubble
}

// jitter draws from the seed, who waits, and when.
func (s *simWorker) jitter(longest time.Duration) time.Duration {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s.seed, s.slot, time.Now().UnixNano())
	return time.Duration(h.Sum64()>>1) % (longest + 1)
}

func (w *simWorld) keyOf(e event.Recorded) worker.Key {
	key := e.Stream.ID
	if w.shared {
		key = key[:len(key)-1]
	}
	return worker.Key{Part: worker.SegmentNames(w.segments)[worker.SegmentOf(key, w.segments)], Key: key}
}

// append appends the events, at moments of its own.
func (w *simWorld) append(ctx context.Context) {
	w.mu.Lock()
	a := w.actorLocked(actorAppend)
	w.mu.Unlock()
	for n := 0; n < w.events && ctx.Err() == nil; {
		if a.IntN(3) == 0 {
			w.sleep(ctx, actorAppend, time.Duration(a.Int64N(int64(4*w.chaos)/int64(w.events)+1)))
		}
		for burst := 1 + a.IntN(4); burst > 0 && n < w.events; burst-- {
			w.appendOne(a)
			n++
		}
		w.sleep(ctx, actorAppend, time.Microsecond)
	}
}

func (w *simWorld) appendOne(a *simActor) {
	s := event.Stream{Category: "sim", ID: fmt.Sprintf("%c%d", 'a'+a.IntN(w.keys+1)/2, a.IntN(2))}
	raw := event.Raw{Name: "sim.happened", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
	if w.uncovered && a.IntN(6) == 0 {
		raw.Name = "sim.ignored"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	res, err := w.db.Append(context.Background(), s, eventstore.Any(), raw)
	if err != nil {
		w.violatedLocked("%v", err)
		return
	}
	e := w.model.appendedLocked(w.keyOf(event.Recorded{Stream: s}), res.Position, raw.Name != "sim.ignored")
	if len(w.poison) > 0 && a.Float64() < w.poisoned && e.place >= 0 {
		e.kind = w.poison[a.IntN(len(w.poison))]
		e.poisoned, e.left = true, poisonOf(a, e.kind)
		if e.kind == poisonKills {
			w.model.killers++
		}
	}
	w.traceLocked("append", s.ID, res.Position, e.kind, e.left)
}
