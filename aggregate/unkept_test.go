package aggregate_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
)

// panics is a codec that does not keep to its contract.
type panics struct{ aggregate.StateCodec[Ledger] }

func (panics) Encode(Ledger) ([]byte, error) { panic("encode me not") }

type largeState struct{ aggregate.StateCodec[Ledger] }

func (largeState) Encode(Ledger) ([]byte, error) {
	return make([]byte, eventstore.MaxSnapshotBytes+1), nil
}

type unreadable struct{ aggregate.StateCodec[Ledger] }

func (unreadable) Decode([]byte) (Ledger, error) { panic("decode me not") }

// A state that has no bytes is told of, and not tried again at each load.
func TestStatesThatCannotBeKept(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]aggregate.StateCodec[Ledger]{
		"save snapshot of account-a: encode state: panic: encode me not":      panics{aggregate.JSONState[Ledger]()},
		"save snapshot of account-a: state of 8388609 bytes, at most 8388608": largeState{aggregate.JSONState[Ledger]()},
		"save snapshot of account-a: state cannot be written: not today":      failing{aggregate.JSONState[Ledger]()},
	} {
		db := memory.New()
		var saw seen
		var log bytes.Buffer
		s := aggregate.NewSnapshotter(db, c, saw.hooks(), aggregate.WithEvery(10), aggregate.WithSnapshotLogger(slog.New(slog.NewTextHandler(&log, nil))))
		ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
		pay(t, db, "a", amounts(10)...)
		stop := running(t, s)
		load(t, ledgers, db, "a")
		load(t, ledgers, db, "a")
		pay(t, db, "a", amounts(10)...)
		load(t, ledgers, db, "a")
		stop()
		if len(saw.failed) != 2 || saw.failed[0].Error() != strings.ReplaceAll(want, "state cannot be written: ", "") || len(saw.saved) != 0 {
			t.Errorf("failed %v, saved %v, want %s twice", saw.failed, saw.saved, want)
		}
		if n := strings.Count(log.String(), "msg=snapshot_not_saved stream=account-a err="); n != 2 {
			t.Errorf("log: %s", &log)
		}
	}
}

type failing struct{ aggregate.StateCodec[Ledger] }

func (failing) Encode(Ledger) ([]byte, error) { return nil, errors.New("not today") }

func TestPanicOfDecodeIsDamage(t *testing.T) {
	t.Parallel()
	db := memory.New()
	var saw seen
	var log bytes.Buffer
	s := aggregate.NewSnapshotter(db, unreadable{aggregate.JSONState[Ledger]()}, saw.hooks(), aggregate.WithEvery(10), aggregate.WithSnapshotLogger(slog.New(slog.NewTextHandler(&log, nil))))
	ledgers := aggregate.New[Ledger](db, "account", Codec).WithSnapshots(s)
	pay(t, db, "a", amounts(10)...)
	stop := running(t, s)
	load(t, ledgers, db, "a")
	stop()
	load(t, ledgers, db, "a")
	if saw.ignored[aggregate.Damaged] != 1 || !strings.Contains(log.String(), `msg=snapshot_ignored stream=account-a reason=damaged err="decode state: panic: decode me not"`) {
		t.Errorf("ignored %v, log: %s", saw.ignored, &log)
	}
}

func TestSnapshotOptionBounds(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]aggregate.SnapshotOption{
		"aggregate: option WithEvery: 0: want at least 1":          aggregate.WithEvery(0),
		"aggregate: option WithSlowLoad: -1ns: want at least 0":    aggregate.WithSlowLoad(-1),
		"aggregate: option WithQueue: 0, 1: want at least 1 each":  aggregate.WithQueue(0, 1),
		"aggregate: option WithQueue: 1, 0: want at least 1 each":  aggregate.WithQueue(1, 0),
		"aggregate: option WithSaveDeadline: 0s: want more than 0": aggregate.WithSaveDeadline(0),
		"aggregate: option WithLoadClock: nil: want a clock":       aggregate.WithLoadClock(nil),
		"aggregate: option WithSnapshotLogger: nil: want a logger": aggregate.WithSnapshotLogger(nil),
	} {
		panicsWith(t, want, func() { aggregate.NewSnapshotter(memory.New(), aggregate.JSONState[Ledger](), o) })
	}
	panicsWith(t, `aggregate: NewSnapshotter: save snapshot of x-x: invalid content type "": want 1 to 128 printable ASCII characters`, func() {
		aggregate.NewSnapshotter(memory.New(), nameless{aggregate.JSONState[Ledger]()})
	})
}

type nameless struct{ aggregate.StateCodec[Ledger] }

func (nameless) ContentType() string { return "" }

func panicsWith(t *testing.T, want string, fn func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := fmt.Sprint(recover()); got != want {
			t.Errorf("panic %q\nwant  %q", got, want)
		}
	}()
	fn()
}
