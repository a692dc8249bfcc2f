package workertest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-go/annals/worker"
)

const lease = time.Hour

// claim gives a segment to a holder, whoever has it.
func claim[Tx any](t *testing.T, target Target[Tx], holder, segment string) worker.Term {
	t.Helper()
	ctx := bounded(t)
	for {
		term, err := target.Store.Claim(ctx, worker.Claiming{Name: name, Holder: holder, Segment: segment, Lease: lease, Seize: true})
		if errors.Is(err, worker.ErrTaken) && ctx.Err() == nil {
			continue // what runs under the old term cannot be ended now
		}
		if err != nil {
			t.Fatal(err)
		}
		if term.Segment != segment {
			t.Fatalf("claimed %+v, want segment %q", term, segment)
		}
		return term
	}
}

// over are terms that are not present, when the present ones are the first of
// segment "a" and the second of "b", of the reader that the suite works for.
func over[Tx any](t *testing.T, target Target[Tx]) map[string]worker.Term {
	t.Helper()
	claim(t, target, "w", "a")
	claim(t, target, "w", "b")
	claim(t, target, "w", "b") // the same holder again
	if _, err := target.Store.Claim(bounded(t), worker.Claiming{Name: "another", Holder: "w", Segment: "c", Lease: lease}); err != nil {
		t.Fatal(err)
	}
	return map[string]worker.Term{
		"one before":                  {Segment: "b", Epoch: 1},
		"one that is not yet":         {Segment: "a", Epoch: 2},
		"epoch 0 of a segment":        {Segment: "a"},
		"epoch 0 of an unknown one":   {Segment: "x"},
		"of an unknown segment":       {Segment: "x", Epoch: 1},
		"of a segment without a name": {Epoch: 1},
		"of another reader":           {Segment: "c", Epoch: 1},
	}
}

func fencedSave[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	terms := over(t, target)
	if err := save(ctx, target, worker.Checkpoint{"p": {Position: 1}}); err != nil {
		t.Fatal(err)
	}
	want := everything(t, target)
	for what, term := range terms {
		w := parking(worker.Mark{Position: 9, Revision: 1})
		if err := target.Store.Save(ctx, name, term, w); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("%s: Save = %v, want ErrFenced", what, err)
		}
		if err := target.Store.Save(ctx, name, term, worker.Write{}); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("%s: Save of nothing = %v, want ErrFenced", what, err)
		}
	}
	if got := everything(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v: nothing has changed", got, want)
	}
	for i, term := range []worker.Term{{Segment: "a", Epoch: 1}, {Segment: "b", Epoch: 2}} {
		if err := target.Store.Save(ctx, name, term, move("p", worker.Mark{Position: 9, Revision: int64(i + 1)})); err != nil {
			t.Errorf("Save under the present term = %v", err)
		}
		if err := target.Store.Save(ctx, name, term, worker.Write{}); err != nil {
			t.Errorf("Save of nothing under the present term = %v", err)
		}
	}
}

func fencedAdvance[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	terms := over(t, target)
	want := everything(t, target)
	for what, term := range terms {
		err := target.Store.Advance(ctx, name, term, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
			t.Errorf("%s: fn is called", what)
			return parking(worker.Mark{Position: 9}), effect(ctx, target, tx)
		})
		if !errors.Is(err, worker.ErrFenced) {
			t.Errorf("%s: Advance = %v, want ErrFenced", what, err)
		}
	}
	if got := everything(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v: nothing has changed", got, want)
	}
	err := target.Store.Advance(ctx, name, worker.Term{Segment: "b", Epoch: 2}, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
		return move("p", worker.Mark{Position: 9}), effect(ctx, target, tx)
	})
	if got := everything(t, target); err != nil || got.marks["p"].Position != 9 || got.effects != 1 {
		t.Errorf("Advance under the present term = %v, and there is %+v", err, got)
	}
}

// A worker is frozen in the middle of a batch, another one waits behind it, and a
// third is given the segment: it gets on at once, and what the first one does when
// it wakes is without effect.
func claimEnds[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	old := claim(t, target, "first", "a")
	begun, wakes := make(chan struct{}), make(chan struct{})
	frozen, waiting := make(chan error, 1), make(chan error, 1)
	go func() {
		frozen <- target.Store.Advance(ctx, name, old, "p", func(_ context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
			err := effect(ctx, target, tx)
			close(begun)
			<-wakes
			return parking(worker.Mark{Position: 1}), err
		})
	}()
	select {
	case <-begun:
	case err := <-frozen:
		t.Fatalf("Advance = %v before its fn was called", err)
	}
	go func() {
		waiting <- target.Store.Advance(ctx, name, old, "p", func(context.Context, Tx, worker.Mark) (worker.Write, error) {
			return worker.Write{}, errHandler // it may have had its turn before the term was over
		})
	}()
	next := claim(t, target, "second", "a")
	err := target.Store.Advance(ctx, name, next, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
		if at.Position != 0 {
			t.Errorf("the next term starts at %+v, want nothing of the one before", at)
		}
		return move("p", worker.Mark{Position: 2}), effect(ctx, target, tx)
	})
	if err != nil {
		t.Errorf("Advance of the next term = %v", err)
	}
	if err := <-waiting; !errors.Is(err, worker.ErrFenced) && !errors.Is(err, errHandler) {
		t.Errorf("Advance that waited = %v, want ErrFenced", err)
	}
	close(wakes)
	if err := <-frozen; !errors.Is(err, worker.ErrFenced) {
		t.Errorf("Advance that was frozen = %v, want ErrFenced", err)
	}
	got := everything(t, target)
	if got.effects != 1 || got.marks["p"].Position != 2 || got.marks["p"].Epoch != next.Epoch || len(got.parked) != 0 {
		t.Errorf("there is %+v, want what the next term did, and nothing else", got)
	}
}

// Whatever was under way when Claim was called, it is done or undone when Claim
// returns.
func claimIsFinal[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	for round := range 5 {
		part := fmt.Sprint("p", round)
		term := claim(t, target, "old", "a")
		var wg sync.WaitGroup
		begun := make(chan struct{}, 2)
		var claimed atomic.Bool
		until := func(do func() error) {
			var err error
			for n, late := 0, 0; err == nil && late < 3; n++ {
				if claimed.Load() {
					late++
				}
				if err = do(); n == 0 {
					begun <- struct{}{}
				}
			}
			if err == nil {
				t.Error("the old term writes on after the claim")
			}
		}
		wg.Go(func() {
			until(func() error {
				return target.Store.Advance(ctx, name, term, part, func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
					at.Position++
					return move(part, at), effect(ctx, target, tx)
				})
			})
		})
		m := worker.Mark{}
		wg.Go(func() {
			until(func() error {
				err := target.Store.Save(ctx, name, term, move(part+"'", m))
				m.Position++
				m.Revision++
				return err
			})
		})
		<-begun
		<-begun
		claim(t, target, "new", "a")
		want := everything(t, target)
		claimed.Store(true)
		wg.Wait()
		if got := everything(t, target); !reflect.DeepEqual(got, want) {
			t.Errorf("after the claim there was %+v, and then %+v", want, got)
		}
	}
}

func claimsRace[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	const workers, rounds = 6, 5
	for round := range int64(rounds) {
		var mu sync.Mutex
		won := map[string]worker.Term{}
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				holder := fmt.Sprint("w", i)
				term, err := target.Store.Claim(ctx, worker.Claiming{Name: name, Holder: holder, Segment: "a", Lease: lease, Epoch: round})
				switch {
				case err == nil:
					mu.Lock()
					won[holder] = term
					mu.Unlock()
				case !errors.Is(err, worker.ErrTaken):
					t.Errorf("Claim = %v, want ErrTaken", err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: won %v, want one winner", round, won)
		}
		for holder, term := range won {
			if want := (worker.Term{Segment: "a", Epoch: round + 1}); term != want {
				t.Errorf("won %+v, want %+v", term, want)
			}
			if err := target.Store.Resign(ctx, name, holder, false, term); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	epochs := map[int64]int{}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			term := claim(t, target, fmt.Sprint("w", i), "a")
			mu.Lock()
			defer mu.Unlock()
			epochs[term.Epoch]++
		})
	}
	wg.Wait()
	for epoch := range int64(workers) {
		if epochs[rounds+1+epoch] != 1 {
			t.Errorf("seized epochs %v, want each from %d to %d once", epochs, rounds+1, rounds+workers)
		}
	}
}

func epochGrows[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	low := claim(t, target, "w", "low")
	claim(t, target, "w", "high")
	high := claim(t, target, "w", "high")
	for i, c := range []struct {
		term worker.Term
		want int64
	}{{worker.Term{}, 0}, {low, 1}, {high, 2}, {low, 2}, {worker.Term{}, 2}} {
		for _, claimed := range []int64{0, 99} { // what the caller says does not count
			at := read(t, target)["p"]
			at.Epoch = claimed
			if err := target.Store.Save(ctx, name, c.term, move("p", at)); err != nil {
				t.Fatal(err)
			}
			err := target.Store.Advance(ctx, name, c.term, "q", func(_ context.Context, _ Tx, at worker.Mark) (worker.Write, error) {
				at.Epoch = claimed
				return move("q", at), nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := read(t, target); got["p"].Epoch != c.want || got["q"].Epoch != c.want {
				t.Errorf("write %d: epochs %d and %d, want %d", i, got["p"].Epoch, got["q"].Epoch, c.want)
			}
		}
	}
}
