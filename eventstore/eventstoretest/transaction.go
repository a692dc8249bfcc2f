package eventstoretest

import (
	"context"
	"errors"
	"testing"

	"github.com/annals-go/annals/eventstore"
)

func begin(t *testing.T, target Target) Tx {
	t.Helper()
	tx, err := target.Begin(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	// A test that fails must not leave it open: who closes the store waits for it.
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	return tx
}

func done(t *testing.T, end func() error) {
	t.Helper()
	if err := end(); err != nil {
		t.Fatal(err)
	}
}

var transactionTests = map[string]func(*testing.T, Target){
	"commit shows all at once": func(t *testing.T, target Target) {
		tx := begin(t, target)
		mustAppend(t, tx.Store, stream, eventstore.None(), notes(1, 2)...)
		mustAppend(t, tx.Store, another, eventstore.None(), notes(1, 1)...)
		mustAppend(t, tx.Store, stream, eventstore.Exactly(2), notes(3, 1)...)
		equal(t, "within the transaction", versions(readStream(t, tx.Store, stream, eventstore.StreamQuery{})), []int{1, 2, 3})
		equal(t, "before the commit", len(readLog(t, target.Store, 10)), 0)
		done(t, func() error { return tx.Commit(bounded(t)) })
		equal(t, "after the commit", len(readLog(t, target.Store, 10)), 4)
		checkOrder(t, readLog(t, target.Store, 2))
	},
	"rollback leaves nothing": func(t *testing.T, target Target) {
		tx := begin(t, target)
		mustAppend(t, tx.Store, stream, eventstore.None(), notes(1, 2)...)
		done(t, func() error { return tx.Rollback(bounded(t)) })
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 2)...)
		mustAppend(t, target.Store, another, eventstore.None(), notes(1, 2)...)
		equal(t, "after the hole", len(readLog(t, target.Store, 3)), 4)
	},
	"a conflict does not abort the transaction": func(t *testing.T, target Target) {
		mustAppend(t, target.Store, stream, eventstore.None(), notes(1, 1)...)
		tx := begin(t, target)
		mustAppend(t, tx.Store, another, eventstore.None(), notes(1, 1)...)
		_, err := tx.Store.Append(bounded(t), stream, eventstore.None(), notes(2, 1)...)
		var conflict *eventstore.ConflictError
		if !errors.As(err, &conflict) || conflict.Actual != 1 {
			t.Fatalf("Append = %v, want a *ConflictError at 1", err)
		}
		mustAppend(t, tx.Store, stream, eventstore.Exactly(1), notes(2, 1)...)
		done(t, func() error { return tx.Commit(bounded(t)) })
		equal(t, "events", len(readLog(t, target.Store, 10)), 3)
	},
	"a repeat within the transaction": func(t *testing.T, target Target) {
		first := notes(1, 2)
		tx := begin(t, target)
		mustAppend(t, tx.Store, stream, eventstore.None(), first...)
		if res := mustAppend(t, tx.Store, stream, eventstore.None(), first...); !res.Repeated {
			t.Errorf("result %+v, want a repeat", res)
		}
		done(t, func() error { return tx.Commit(bounded(t)) })
		if res := mustAppend(t, target.Store, stream, eventstore.None(), first...); !res.Repeated {
			t.Errorf("result %+v, want a repeat", res)
		}
	},
	"an append after the end": func(t *testing.T, target Target) {
		tx := begin(t, target)
		done(t, func() error { return tx.Commit(bounded(t)) })
		if _, err := tx.Store.Append(bounded(t), order("late"), eventstore.Any(), note(1)); err == nil {
			t.Error("Append = nil, want an error")
		}
		equal(t, "events", len(readLog(t, target.Store, 10)), 0)
	},
}
