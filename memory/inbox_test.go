package memory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// Two batches cannot wait for each other: who waits for a message has none that comes
// behind it.
func TestRememberInOneOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		low, high := bus.Identity{ID: event.ID{1}, Topic: "t", Position: 1}, bus.Identity{ID: event.ID{2}, Topic: "t", Position: 2}
		remember := func(tx *memory.Tx, want []bus.Memory, m ...bus.Identity) {
			got, err := db.RememberTx(t.Context(), tx, "totals", m)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("RememberTx = %v, %v, want %v", got, err, want)
			}
		}
		blocker, second := db.Begin(), db.Begin()
		remember(blocker, []bus.Memory{bus.New}, low)
		go remember(second, []bus.Memory{bus.Repeated, bus.New}, high, low)
		synctest.Wait()
		third := db.Begin()
		remember(third, []bus.Memory{bus.New}, high)
		if err := third.Commit(); err != nil {
			t.Error(err)
		}
		blocker.Rollback()
		synctest.Wait()
		second.Rollback()
	})
}

func TestInboxErrors(t *testing.T) {
	t.Parallel()
	db := memory.New()
	wantError := func(what string, err, sentinel error, text string) {
		t.Helper()
		if !errors.Is(err, sentinel) || err.Error() != text {
			t.Errorf("%s = %v, want %s", what, err, text)
		}
	}
	agreed := bus.Agreed{Contract: bus.Contract{Topic: "shop.order"}, Revision: 7}
	wantError("Agree", db.Agree(t.Context(), "relay", agreed), worker.ErrFenced,
		`agree on topic shop.order for relay: its contract is not at revision 7: checkpoint was moved by another worker`)
	tx := db.Begin()
	tx.Rollback()
	_, err := db.RememberTx(t.Context(), tx, "totals", make([]bus.Identity, 2))
	wantError("RememberTx", err, memory.ErrTxDone, `remember 2 messages for totals: transaction has ended`)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = db.Contracts(ended, "relay")
	wantError("Contracts", err, context.Canceled, `read contracts of relay: context canceled`)
	wantError("Agree", db.Agree(ended, "relay", agreed), context.Canceled, `agree on topic shop.order for relay: context canceled`)
	_, err = db.RememberTx(ended, db.Begin(), "totals", make([]bus.Identity, 2))
	wantError("RememberTx", err, context.Canceled, `remember 2 messages for totals: context canceled`)
	_, err = db.Forget(ended, "totals", time.Unix(0, 0), 1)
	wantError("Forget", err, context.Canceled, `forget what totals remembered before 1970-01-01T00:00:00Z: context canceled`)
}
