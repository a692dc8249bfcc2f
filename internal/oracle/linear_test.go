package oracle

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// Many appends, conflicts and reads of one stream at once: there is an order, and
// it is found quickly, also in a history that is longer than a piece.
func TestALongHistoryIsSearchedQuickly(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	const writers = 16
	for range 40 {
		var wg sync.WaitGroup
		at := eventstore.Any()
		if n := len(r.committed()); n > 0 {
			at = eventstore.Exactly(event.Version(n))
		}
		for i := range writers {
			wg.Go(func() {
				w := writeTo(orders, at, 1)
				if i%4 == 0 {
					w.Expect = eventstore.Any()
				}
				for range 2 {
					a := r.Begin(w)
					res, err := r.store.AppendAll(t.Context(), w)
					if i%5 == 1 {
						err = eventstore.ErrOutcomeUnknown // it is sent again
					}
					a.End(res, err)
					if err != eventstore.ErrOutcomeUnknown { //nolint:errorlint // made here
						break
					}
				}
				_ = r.ReadStream(t.Context(), r.store, orders)
			})
		}
		wg.Wait()
	}
	if n := len(r.appends) + len(r.reads); n < pieceOf {
		t.Fatalf("%d operations are fewer than a piece", n)
	}
	began := time.Now()
	r.want(r.committed())
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the search took %v", took)
	}
}

// The search agrees with the simplest one there is: to try every order.
func TestSearchAgreesWithTryingEveryOrder(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	verdicts := map[bool]int{}
	for range 20_000 {
		var sights []sight
		for range 1 + random.IntN(5) {
			x := sight{kind: sightKind(random.IntN(4)), version: event.Version(random.IntN(4)), began: time.Duration(random.IntN(6))}
			x.ended = x.began + time.Duration(random.IntN(4))
			switch x.kind {
			case appended:
				x.version++
				x.steps = []step{{eventstore.Any(), 1 + random.IntN(2)}}
				if random.IntN(3) == 0 {
					x.steps[0].expect = eventstore.Exactly(x.version - 1)
				}
				if random.IntN(4) == 0 {
					x.ended = never
				}
			case refusal:
				x.expect = eventstore.Exactly(event.Version(random.IntN(4)))
			case repeated, seen:
			}
			sights = append(sights, x)
		}
		want := anyOrder(sights, 0)
		if got := search(append([]sight{}, sights...), time.Minute); (got == porcupine.Ok) != want {
			t.Fatalf("%+v: %v, want an order: %v", sights, got, want)
		}
		verdicts[want]++
	}
	if verdicts[true] < 500 || verdicts[false] < 500 {
		t.Errorf("%v: too few of a kind", verdicts)
	}
}

func anyOrder(left []sight, at event.Version) bool {
	if len(left) == 0 {
		return true
	}
	for i, x := range left {
		rest := append(append([]sight{}, left[:i]...), left[i+1:]...)
		first, next := true, at
		for _, y := range rest {
			first = first && y.ended >= x.began
		}
		switch x.kind {
		case repeated:
			first = first && at >= x.version
		case refusal:
			first = first && at == x.version && !x.expect.Allows(at)
		case seen:
			first = first && at == x.version
		case appended:
			next += event.Version(x.steps[0].events)
			first = first && x.steps[0].expect.Allows(at) && next == x.version
		}
		if first && anyOrder(rest, next) {
			return true
		}
	}
	return false
}
