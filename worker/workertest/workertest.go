// Package workertest is the conformance suite of worker.Store: checkpoints that
// fence, transactions in which a mark moves with its effects, terms of which one
// is present, and what is parked.
package workertest

import (
	"context"
	"errors"
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
		Status(ctx context.Context, name string) (worker.Status, error)
	}
	// Tx returns the event store within a transaction.
	Tx func(tx Tx) eventstore.Store
	// Pass makes every lease end earlier, as if that time had passed.
	Pass func(time.Duration)
}

// Run runs the suite. Open is called once for each test and must return an
// empty store; tests run in parallel.
func Run[Tx any](t *testing.T, open func(t *testing.T) Target[Tx]) {
	for name, test := range map[string]func(*testing.T, Target[Tx]){
		"no checkpoint":                        noCheckpoint[Tx],
		"save and read":                        saveAndRead[Tx],
		"an advance has one part":              onePart[Tx],
		"a claim is kept with its mark":        keepsClaim[Tx],
		"P10 an overtaken save writes nothing": overtakenSave[Tx],
		"P6 mark and effect commit together":   together[Tx],
		"P6 an error rolls both back":          rollsBack[Tx],
		"P6 advances of one part take turns":   takeTurns[Tx],
		"P10 advance fences a save":            advanceFencesSave[Tx],
		"P9 a mark names its history":          namesHistory[Tx],
		"P9 a mark of another server":          otherServer[Tx],
		"P9 a mark of another log":             otherLog[Tx],

		"P10 a fenced term writes nothing (Save)":                              fencedSave[Tx],
		"P10 a fenced term writes nothing (Advance, and its fn is not called)": fencedAdvance[Tx],
		"P10 a claim ends the transaction that is open under the old term":     claimEnds[Tx],
		"P10 nothing of the old term is written after a claim":                 claimIsFinal[Tx],
		"P10 claims race: one winner, dense epochs":                            claimsRace[Tx],
		"P10 the epoch of a mark never decreases":                              epochGrows[Tx],

		"a running lease is not claimed":                    runningLease[Tx],
		"a resigned seat is claimed at once":                resigned[Tx],
		"resign leaves others alone":                        resignsOwn[Tx],
		"a seized seat is lost, lease or not":               seized[Tx],
		"renew keeps, extends, and tells members and seats": renews[Tx],
		"renew extends no term of others or of before":      renewsOwn[Tx],
		"a member that stops renewing is gone":              memberGone[Tx],
		"reports are kept":                                  keepsReports[Tx],

		"P8 parking and mark commit together":            parksTogether[Tx],
		"P8 a write that fails changes nothing":          failsWhole[Tx],
		"P8 a key with items is not freed":               freesEmpty[Tx],
		"P8 an item is stored once":                      storedOnce[Tx],
		"P8 a text that cannot be kept is cut":           cutsTexts[Tx],
		"P8 bytes come back as they were":                keepsBytes[Tx],
		"parking replaces what is known, events aside":   parksAgain[Tx],
		"parked keys come by part and key, and page":     pagesParked[Tx],
		"a parked key is found in its parts":             parkedByKey[Tx],
		"items come in order, and page":                  pagesItems[Tx],
		"audits come newest first":                       newestAudits[Tx],
		"status of a reader that is not known":           statusOfNobody[Tx],
		"status tells lag, parked and seats":             tellsStatus[Tx],
		"what is parked for one reader is not another's": readersApart[Tx],
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

// move is a write of one mark.
func move(part string, m worker.Mark) worker.Write {
	return worker.Write{Marks: worker.Checkpoint{part: m}}
}

func save[Tx any](ctx context.Context, target Target[Tx], marks worker.Checkpoint) error {
	return target.Store.Save(ctx, name, worker.Term{}, worker.Write{Marks: marks})
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
