package workertest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

func noCheckpoint[Tx any](t *testing.T, target Target[Tx]) {
	c, err := target.Store.Checkpoint(bounded(t), name)
	if err != nil || c == nil || len(c) != 0 {
		t.Errorf("Checkpoint = %v, %v, want an empty map", c, err)
	}
}

func saveAndRead[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	want := worker.Checkpoint{
		"":     {Position: 7},
		"t'/1": {Position: 1 << 40, Source: "topic id", Offset: 12, Of: 6},
	}
	for revision := range int64(3) {
		for part, m := range want {
			m.Revision = revision
			want[part] = m
		}
		if err := save(ctx, target, want); err != nil {
			t.Fatal(err)
		}
		got := read(t, target)
		for part, m := range want {
			m.Revision++
			if got[part] != m {
				t.Errorf("part %q: got %+v, want %+v", part, got[part], m)
			}
		}
	}
	if c, err := target.Store.Checkpoint(ctx, "another"); err != nil || len(c) != 0 {
		t.Errorf("Checkpoint(another) = %v, %v, want an empty map", c, err)
	}
}

func overtakenSave[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	first := worker.Checkpoint{"a": {Position: 1}, "b": {Position: 1}}
	if err := save(ctx, target, first); err != nil {
		t.Fatal(err)
	}
	for what, marks := range map[string]worker.Checkpoint{
		"as if there were none":   {"a": {Position: 9}},
		"a revision of long ago":  {"b": {Position: 9, Revision: 1}, "a": {Position: 9, Revision: 0}},
		"a revision not yet made": {"a": {Position: 9, Revision: 1}, "b": {Position: 9, Revision: 2}},
		"a part not yet made":     {"a": {Position: 9, Revision: 1}, "c": {Position: 9, Revision: 1}},
	} {
		if err := save(ctx, target, marks); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("%s: Save = %v, want ErrFenced", what, err)
		}
	}
	want := worker.Checkpoint{"a": {Position: 1, Revision: 1}, "b": {Position: 1, Revision: 1}}
	if got := read(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("checkpoint %+v, want %+v: all or none", got, want)
	}
}

func together[Tx any](t *testing.T, target Target[Tx]) {
	for i := range 3 {
		err := target.Store.Advance(bounded(t), name, worker.Term{}, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
			if at.Position != event.Position(i) || at.Revision != int64(i) && i > 0 {
				t.Errorf("advance %d starts at %+v", i, at)
			}
			return move("p", worker.Mark{Position: at.Position + 1, Source: "s", Offset: 3, Of: 2}), effect(ctx, target, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := effects(t, target); n != 3 {
		t.Errorf("%d effects, want 3", n)
	}
	got := read(t, target)["p"]
	got.Revision = 0
	if want := (worker.Mark{Position: 3, Source: "s", Offset: 3, Of: 2}); got != want {
		t.Errorf("mark %+v, want %+v", got, want)
	}
}

func rollsBack[Tx any](t *testing.T, target Target[Tx]) {
	err := target.Store.Advance(bounded(t), name, worker.Term{}, "", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
		if err := effect(ctx, target, tx); err != nil {
			t.Error(err)
		}
		return move("", worker.Mark{Position: 5}), errHandler
	})
	if err != errHandler { //nolint:errorlint // as it is, not wrapped
		t.Errorf("Advance = %v, want the handler's error as it is", err)
	}
	if n := effects(t, target); n != 0 {
		t.Errorf("%d effects, want 0", n)
	}
	if got := read(t, target)[""].Position; got != 0 {
		t.Errorf("mark at %d, want 0", got)
	}
}

func takeTurns[Tx any](t *testing.T, target Target[Tx]) {
	const workers, each = 4, 10
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				err := target.Store.Advance(bounded(t), name, worker.Term{}, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
					at.Position++
					return move("p", at), effect(ctx, target, tx)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := read(t, target)["p"].Position; got != workers*each {
		t.Errorf("mark at %d, want %d: no advance is lost", got, workers*each)
	}
	if n := effects(t, target); n != workers*each {
		t.Errorf("%d effects, want %d", n, workers*each)
	}
}

func advanceFencesSave[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	if err := save(ctx, target, worker.Checkpoint{"p": {Position: 1}}); err != nil {
		t.Fatal(err)
	}
	stale := read(t, target)
	err := target.Store.Advance(ctx, name, worker.Term{}, "p", func(_ context.Context, _ Tx, at worker.Mark) (worker.Write, error) {
		at.Position = 2
		return move("p", at), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := save(ctx, target, stale); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("Save = %v, want ErrFenced", err)
	}
	if got := read(t, target)["p"].Position; got != 2 {
		t.Errorf("mark at %d, want 2", got)
	}
}

// An Advance has one part, and need not move it.
func onePart[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	if err := save(ctx, target, worker.Checkpoint{"p": {Position: 1}, "q": {Position: 1}}); err != nil {
		t.Fatal(err)
	}
	want := read(t, target)
	for what, marks := range map[string]worker.Checkpoint{
		"another part": {"q": {Position: 9, Revision: 1}},
		"a part more":  {"p": {Position: 9, Revision: 1}, "q": {Position: 9, Revision: 1}},
	} {
		err := target.Store.Advance(ctx, name, worker.Term{}, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
			return worker.Write{Marks: marks}, effect(ctx, target, tx)
		})
		if err == nil {
			t.Errorf("%s: Advance = nil, want an error", what)
		}
	}
	if n := effects(t, target); n != 0 {
		t.Errorf("%d effects, want 0", n)
	}
	err := target.Store.Advance(ctx, name, worker.Term{}, "p", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
		return worker.Write{}, effect(ctx, target, tx)
	})
	if err != nil || effects(t, target) != 1 {
		t.Errorf("Advance = %v with %d effects, want nil with 1: the mark may stay", err, effects(t, target))
	}
	if got := read(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("checkpoint %+v, want %+v", got, want)
	}
}

// What a worker says that it has begun is kept with the mark, and taken back with it.
func keepsClaim[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	m := worker.Mark{Position: 3, Claim: worker.Claim{To: 1 << 40, Events: 7, Times: 2}}
	if err := save(ctx, target, worker.Checkpoint{"": m}); err != nil {
		t.Fatal(err)
	}
	m.Revision = 1
	err := target.Store.Advance(ctx, name, worker.Term{}, "", func(_ context.Context, _ Tx, at worker.Mark) (worker.Write, error) {
		if at != m {
			t.Errorf("Advance starts at %+v, want %+v", at, m)
		}
		at.Position, at.Claim = at.Claim.To, worker.Claim{}
		return move("", at), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, target)[""], (worker.Mark{Position: 1 << 40, Revision: 2}); got != want {
		t.Errorf("mark %+v, want %+v", got, want)
	}
}
