// Package workertest is the conformance suite of worker.Store: checkpoints that
// fence, and transactions in which a mark moves with its effects.
package workertest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Target is a store under test. An effect of the suite is an event that is
// appended in the transaction.
type Target[Tx any] struct {
	Store interface {
		worker.Store[Tx]
		eventstore.Store
	}
	// Tx returns the event store within a transaction.
	Tx func(tx Tx) eventstore.Store
}

// Run runs the suite. Open is called once for each test and must return an
// empty store; tests run in parallel.
func Run[Tx any](t *testing.T, open func(t *testing.T) Target[Tx]) {
	for name, test := range map[string]func(*testing.T, Target[Tx]){
		"no checkpoint":                        noCheckpoint[Tx],
		"save and read":                        saveAndRead[Tx],
		"P10 an overtaken save writes nothing": overtakenSave[Tx],
		"P6 mark and effect commit together":   together[Tx],
		"P6 an error rolls both back":          rollsBack[Tx],
		"P6 advances of one part take turns":   takeTurns[Tx],
		"P10 advance fences a save":            advanceFencesSave[Tx],
		"P9 a mark names its history":          namesHistory[Tx],
		"P9 a mark of another server":          otherServer[Tx],
		"P9 a mark of another log":             otherLog[Tx],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const name = "totals"

var errHandler = errors.New("handler failed")

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

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
		if err := target.Store.SaveCheckpoint(ctx, name, want); err != nil {
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
	if err := target.Store.SaveCheckpoint(ctx, name, first); err != nil {
		t.Fatal(err)
	}
	for what, marks := range map[string]worker.Checkpoint{
		"as if there were none":   {"a": {Position: 9}},
		"a revision of long ago":  {"b": {Position: 9, Revision: 1}, "a": {Position: 9, Revision: 0}},
		"a revision not yet made": {"a": {Position: 9, Revision: 1}, "b": {Position: 9, Revision: 2}},
		"a part not yet made":     {"a": {Position: 9, Revision: 1}, "c": {Position: 9, Revision: 1}},
	} {
		if err := target.Store.SaveCheckpoint(ctx, name, marks); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("%s: SaveCheckpoint = %v, want ErrFenced", what, err)
		}
	}
	want := worker.Checkpoint{"a": {Position: 1, Revision: 1}, "b": {Position: 1, Revision: 1}}
	if got := read(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("checkpoint %+v, want %+v: all or none", got, want)
	}
}

func together[Tx any](t *testing.T, target Target[Tx]) {
	for i := range 3 {
		err := target.Store.Advance(bounded(t), name, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Mark, error) {
			if at.Position != event.Position(i) || at.Revision != int64(i) && i > 0 {
				t.Errorf("advance %d starts at %+v", i, at)
			}
			return worker.Mark{Position: at.Position + 1, Source: "s", Offset: 3, Of: 2}, effect(ctx, target, tx)
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
	err := target.Store.Advance(bounded(t), name, "", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Mark, error) {
		if err := effect(ctx, target, tx); err != nil {
			t.Error(err)
		}
		return worker.Mark{Position: 5}, errHandler
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
				err := target.Store.Advance(bounded(t), name, "p", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Mark, error) {
					at.Position++
					return at, effect(ctx, target, tx)
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
	if err := target.Store.SaveCheckpoint(ctx, name, worker.Checkpoint{"p": {Position: 1}}); err != nil {
		t.Fatal(err)
	}
	stale := read(t, target)
	err := target.Store.Advance(ctx, name, "p", func(_ context.Context, _ Tx, at worker.Mark) (worker.Mark, error) {
		at.Position = 2
		return at, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := target.Store.SaveCheckpoint(ctx, name, stale); !errors.Is(err, worker.ErrFenced) {
		t.Errorf("SaveCheckpoint = %v, want ErrFenced", err)
	}
	if got := read(t, target)["p"].Position; got != 2 {
		t.Errorf("mark at %d, want 2", got)
	}
}

func read[Tx any](t *testing.T, target Target[Tx]) worker.Checkpoint {
	t.Helper()
	c, err := target.Store.Checkpoint(bounded(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func effect[Tx any](ctx context.Context, target Target[Tx], tx Tx) error {
	_, err := target.Tx(tx).Append(ctx, event.Stream{Category: "effect", ID: "1"}, eventstore.Any(),
		event.Raw{Name: "effect.made", Schema: 1, ContentType: "text/plain", Payload: []byte("x")})
	return err
}

func effects[Tx any](t *testing.T, target Target[Tx]) int {
	t.Helper()
	n := 0
	for _, err := range target.Store.ReadStream(bounded(t), event.Stream{Category: "effect", ID: "1"}, eventstore.StreamQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}
