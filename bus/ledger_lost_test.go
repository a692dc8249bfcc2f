package bus_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// setBack has the checkpoint of a relay be what it was, as after a failover that has lost
// commits.
func setBack(t *testing.T, db *memory.DB, old worker.Checkpoint) {
	t.Helper()
	now, err := db.Checkpoint(t.Context(), "relay/main")
	ok(t, err)
	for part, m := range now {
		m.Position, m.Offset, m.Digest, m.Trail = old[part].Position, old[part].Offset, old[part].Digest, old[part].Trail
		now[part] = m
	}
	ok(t, db.Save(t.Context(), "relay/main", worker.Term{}, worker.Write{Marks: now}))
}

// One write that was lost is made again from the cursor. Of several it is the last alone,
// so that what they stand for is published again, once.
func TestLedgerOfAStoreThatHasLostWrites(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		lost int
		want []int
		log  string
	}{
		"one": {1, []int{1, 2, 3, 4, 5}, `msg="the ledger was ahead of the outbox, which is up to date now" relay=relay/main transaction=4 position=4`},
		"two": {2, []int{1, 2, 3, 4, 3, 4, 5}, `msg="the outbox has lost what was published, publishing it again" relay=relay/main transaction=2 ledger=4 position=2`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, broker := memory.New(), memory.NewBroker(1)
			var before []worker.Checkpoint
			for range 4 {
				before = append(before, checkpoint(t, db))
				appendNotes(t, db, "order-1", 1)
				drain(t, newProcess(db, broker, never).relay())
			}
			setBack(t, db, before[4-test.lost])
			var log bytes.Buffer
			logged := bus.WithLogger(slog.New(slog.NewTextHandler(&log, nil)))
			drain(t, newProcess(db, broker, never).relay(logged))
			appendNotes(t, db, "order-1", 1)
			drain(t, newProcess(db, broker, never).relay(logged))
			wantPositions(t, broker, "annals.order", test.want...)
			if strings.Count(log.String(), test.log) != 1 {
				t.Errorf("log %s, want once %s", log.String(), test.log)
			}
		})
	}
}

// A relay goes over to a ledger, and back, and publishes nothing twice.
func TestLedgerCanBeTakenAndLeft(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	for range 3 {
		appendNotes(t, db, "order-1", 2)
		drain(t, bus.NewRelay(db, broker, silent))
		appendNotes(t, db, "order-1", 2)
		drain(t, newProcess(db, broker, never).relay())
	}
	wantPositions(t, broker, "annals.order", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
}

func TestLedgerOfAnotherStore(t *testing.T) {
	t.Parallel()
	a, b, broker := memory.New(), memory.New(), memory.NewBroker(1)
	appendNotes(t, a, "order-1", 1)
	appendNotes(t, b, "return-1", 1)
	drain(t, newProcess(a, broker, never).relay())
	err := newProcess(b, broker, never).relay().Run(t.Context())
	if !errors.Is(err, bus.ErrOtherLedger) || !strings.HasPrefix(err.Error(), "open the ledger of relay/main: its cursor is of incarnation ") ||
		!strings.HasSuffix(err.Error(), ": ledger is kept by another store: use another name for one of them") {
		t.Errorf("Run = %v, want ErrOtherLedger", err)
	}
	wantPositions(t, broker, "annals.return")
}

// A history that Rewind has begun has nothing to do with the cursor of the one before.
func TestLedgerAfterRewind(t *testing.T) {
	t.Parallel()
	db, broker := memory.New(), memory.NewBroker(1)
	appendNotes(t, db, "order-1", 3)
	relay := newProcess(db, broker, never).relay(bus.WithBatch(1))
	drain(t, relay)
	c := checkpoint(t, db)
	_, err := relay.Rewind(t.Context(), true)
	ok(t, err)
	if got := checkpoint(t, db)["/"].Offset; got != c["/"].Offset {
		t.Errorf("transaction %d, want %d as before", got, c["/"].Offset)
	}
	n := len(positions(t, broker, "annals.order"))
	appendNotes(t, db, "order-1", 1)
	drain(t, relay)
	if got := positions(t, broker, "annals.order"); got[len(got)-1] != 4 || len(got) != n+1 {
		t.Errorf("published %v, want 4 after the rewind", got)
	}
}
