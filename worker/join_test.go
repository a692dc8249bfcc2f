package worker_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// listening is a log that has notifications.
type listening struct {
	eventstore.Log
	listened int
}

func (l *listening) Listen(context.Context) error {
	l.listened++
	return errAway
}

func TestJoinListensAsTheLogDoes(t *testing.T) {
	t.Parallel()
	log := &listening{Log: memory.New()}
	l, ok := worker.Join(log, worker.Store[*memory.Tx](memory.New())).(eventstore.Listener)
	if !ok {
		t.Fatal("it does not listen")
	}
	if err := l.Listen(t.Context()); !errors.Is(err, errAway) || log.listened != 1 {
		t.Errorf("Listen = %v, want that of the log", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- worker.Join(memory.New(), worker.Store[*memory.Tx](memory.New())).(eventstore.Listener).Listen(ctx)
		}()
		synctest.Wait()
		if len(ended) > 0 {
			t.Error("Listen has returned before its context ended")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Listen = %v, want nil", err)
		}
	})
}

func TestJoinReadsOneAndKeepsInTheOther(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	log, models := filled(t, 7), memory.New()
	joined := worker.Join(log, worker.Store[*memory.Tx](models))
	if head, err := joined.Head(ctx); err != nil || head != 7 {
		t.Errorf("Head = %d, %v, want that of the log", head, err)
	}
	l, err := joined.Lineage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	m := worker.Mark{Position: 7, Server: l.Now().Server}
	if !m.Own() || (worker.Mark{}).Own() {
		t.Error("a mark of the log's own store is not its own, or one without a server is")
	}
	if err := joined.Save(ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m, "p": {Position: 1}}}); err != nil {
		t.Fatal(err)
	}
	m.Revision = 1
	if got := read(t, joined, "totals"); got[""] != m || got["p"] != (worker.Mark{Position: 1, Revision: 1}) {
		t.Errorf("checkpoint %+v, want %+v", got, m)
	}
	if got := read(t, models, "totals")[""]; got.Own() {
		t.Errorf("%+v counts as a mark of the store that keeps it", got)
	}
	if got := read(t, log, "totals"); len(got) != 0 {
		t.Errorf("the log has the checkpoint %+v", got)
	}
	failure := errors.New("handler failed")
	err = joined.Advance(ctx, "totals", worker.Term{}, "", func(_ context.Context, _ *memory.Tx, at worker.Mark) (worker.Write, error) {
		if at != m {
			t.Errorf("Advance starts at %+v, want %+v", at, m)
		}
		return worker.Write{}, failure
	})
	if err != failure { //nolint:errorlint // as it is
		t.Errorf("Advance = %v, want the error as it is", err)
	}
}
