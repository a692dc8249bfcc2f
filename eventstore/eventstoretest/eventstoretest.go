// Package eventstoretest is the conformance suite of the event store port.
// Every implementation runs it:
//
//	func TestConformance(t *testing.T) {
//		eventstoretest.Run(t, func(t *testing.T) eventstoretest.Target {
//			return eventstoretest.Target{Store: memory.New()}
//		})
//	}
//
// Its sections carry the names of the promises that they hold a store to.
package eventstoretest

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Target is a store under test.
type Target struct {
	Store interface {
		eventstore.Store
		eventstore.Log
	}
	// Begin starts a transaction as a user of the store would. Nil: the store
	// has none, and the section is left out.
	Begin func(ctx context.Context) (Tx, error)
}

// Tx is a transaction of the caller, with the store in it.
type Tx struct {
	Store            eventstore.Store
	Commit, Rollback func(ctx context.Context) error
}

// Run runs the suite. Open is called once for each test and must return an
// empty store; tests run in parallel.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for _, section := range []struct {
		name  string
		tests map[string]func(*testing.T, Target)
	}{
		{"Append", appendTests},
		{"Rivals", rivalTests},
		{"Idempotency", idempotencyTests},
		{"Limits", limitTests},
		{"Stream", streamTests},
		{"Log", logTests},
		{"Transaction", transactionTests},
	} {
		t.Run(section.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range section.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					target := open(t)
					if section.name == "Transaction" && target.Begin == nil {
						return
					}
					test(t, target)
				})
			}
		})
	}
}

var (
	stream  = event.Stream{Category: "order", ID: "o-1"}
	another = event.Stream{Category: "order", ID: "o-2"}
)

// note is an event whose payload is the JSON of v.
func note(v any) event.Raw {
	payload, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: payload}
}

func notes(from, n int) []event.Raw {
	out := make([]event.Raw, n)
	for i := range out {
		out[i] = note(from + i)
		out[i].Metadata.ID = event.NewID()
	}
	return out
}

// bounded gives each test a deadline: a store that hangs fails, not the suite.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func mustAppend(t *testing.T, s eventstore.Store, st event.Stream, expect eventstore.Expect, events ...event.Raw) eventstore.Result {
	t.Helper()
	res, err := s.Append(bounded(t), st, expect, events...)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func readStream(t *testing.T, s eventstore.Store, st event.Stream, q eventstore.StreamQuery) []event.Recorded {
	t.Helper()
	var out []event.Recorded
	for r, err := range s.ReadStream(bounded(t), st, q) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func readLog(t *testing.T, l eventstore.Log, page int) []event.Recorded {
	t.Helper()
	var out []event.Recorded
	after := event.Position(0)
	for {
		p, err := l.ReadLog(bounded(t), eventstore.LogQuery{After: after, Limit: page})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Events) > page {
			t.Fatalf("page of %d events, asked for %d", len(p.Events), page)
		}
		if len(p.Events) == 0 {
			if p.Next != after {
				t.Fatalf("empty page moves the cursor from %d to %d", after, p.Next)
			}
			return out
		}
		out = append(out, p.Events...)
		after = p.Next
	}
}

func versions(rs []event.Recorded) []int {
	out := []int{}
	for _, r := range rs {
		out = append(out, int(r.Version))
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
	}
}

// checkOrder holds every event of a log against P4 and P5: positions grow,
// versions of each stream are 1, 2, 3 and so on.
func checkOrder(t *testing.T, log []event.Recorded) {
	t.Helper()
	last := event.Position(0)
	at := map[event.Stream]event.Version{}
	for _, r := range log {
		if r.Position <= last {
			t.Errorf("%s comes after position %d", r, last)
		}
		last = r.Position
		if r.Version != at[r.Stream]+1 {
			t.Errorf("%s comes after version %d", r, at[r.Stream])
		}
		at[r.Stream] = r.Version
	}
}
