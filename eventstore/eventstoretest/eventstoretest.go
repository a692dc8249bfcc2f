// Package eventstoretest is the conformance suite of the event store port.
// Every implementation runs it:
//
//	func TestConformance(t *testing.T) {
//		eventstoretest.Run(t, func(t *testing.T) eventstoretest.Target {
//			return eventstoretest.Target{Store: memory.New()}
//		})
//	}
//
// Its sections are what the port can do, and then the promises that it holds a
// store to, by their names.
package eventstoretest

import (
	"context"
	"testing"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// Store is what the suite tests.
type Store interface {
	eventstore.Store
	eventstore.Log
}

// Target is a store under test. What a store does not have is nil, and the
// tests that need it are left out.
type Target struct {
	Store Store
	// Begin starts a transaction as a user of the store would.
	Begin func(ctx context.Context) (Tx, error)
	// Elsewhere is the same store as another process has it open. Best make it
	// so that nothing tells Store when it appends.
	Elsewhere eventstore.Store
	// SetClock sets the clock that RecordedTime comes from: as far from the time
	// of day as offset says, and going on from there.
	SetClock func(t *testing.T, offset time.Duration)
}

// Tx is a transaction of the caller, with the store in it.
type Tx struct {
	Store            eventstore.Store
	Commit, Rollback func(ctx context.Context) error
}

type section struct {
	name  string
	tests map[string]func(*testing.T, Target)
	// needs reports whether the target has what all tests of the section need.
	needs func(Target) bool
}

func sections() []section {
	always := func(Target) bool { return true }
	begin := func(target Target) bool { return target.Begin != nil }
	return []section{
		{"Expectations", expectationTests, always},
		{"Idempotency", idempotencyTests, always},
		{"Closing", closingTests, always},
		{"Streams", streamTests, always},
		{"Log", logTests, always},
		{"Selection", selectionTests, always},
		{"Together", togetherTests, always},
		{"Transactions", transactionTests, begin},
		{"Snapshots", snapshotTests, keepsSnapshots},
		{"P1 no loss", noLossTests, always},
		{"P3 atomic", atomicTests, always},
		{"P4 stream order", streamOrderTests, always},
		{"P5 stable log", stableLogTests, always},
		{"P12 bounded", boundedTests, always},
		{"P14 wake-ups are hints", hintTests, always},
		{"P15 no clock", clockTests, always},
		{"P16 data is data", dataTests, always},
	}
}

// Run runs the suite. Open is called once for each test and must return an
// empty store; tests run in parallel.
func Run(t *testing.T, open func(t *testing.T) Target) {
	for _, s := range sections() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for name, test := range s.tests {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					if target := open(t); s.needs(target) {
						test(t, target)
					}
				})
			}
		})
	}
}
