package projection_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// shares returns how many segments each member has, the most first.
func (l *ledger) shares(t *testing.T, name string) string {
	t.Helper()
	roster, err := l.Roster(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{}
	for _, s := range roster.Seats {
		if s.Live {
			have[s.Holder]++
		}
	}
	counts := map[int]int{}
	for _, n := range have {
		counts[n]++
	}
	return fmt.Sprintf("%d members: %v", len(roster.Members), counts)
}

// P4, P6: segments are shared out and move between workers, and each event is applied
// once, in the order of its stream.
func TestSegments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{DB: memory.New()}
		p, n := l.projection("totals"), 0
		// Each stream counts for itself: 1001, 1002, ... for the first.
		more := func() {
			for range 5 {
				n++
				for stream := range 16 {
					l.append(t, fmt.Sprint("account-", stream), paid(t, int64(1000*(stream+1)+n)))
				}
			}
		}
		all := func() {
			t.Helper()
			next := map[int]int{}
			for _, e := range l.effects(t) {
				var position, index, cents int
				if _, err := fmt.Sscanf(e, "%d/%d {%d}", &position, &index, &cents); err != nil {
					t.Fatal(err)
				}
				if next[cents/1000]++; cents%1000 != next[cents/1000] {
					t.Errorf("stream %d: event %d, want %d", cents/1000, cents%1000, next[cents/1000])
				}
			}
			for stream := range 16 {
				if next[stream+1] != n {
					t.Errorf("stream %d: %d events were applied, want %d", stream+1, next[stream+1], n)
				}
			}
		}
		opts := []projection.Option{projection.WithSegments(4), projection.WithBatch(3), projection.WithLease(3 * time.Second)}
		more()
		first := l.start(t, p, opts...)
		after(10 * time.Second)
		if got := l.shares(t, p.Name()); got != "1 members: map[4:1]" {
			t.Errorf("alone: %s", got)
		}
		second := l.start(t, p, opts...)
		more()
		after(10 * time.Second)
		if got := l.shares(t, p.Name()); got != "2 members: map[2:2]" {
			t.Errorf("two: %s", got)
		}
		more()
		first() // in the middle of it
		after(10 * time.Second)
		all()
		if got := l.shares(t, p.Name()); got != "1 members: map[4:1]" {
			t.Errorf("one has left: %s", got)
		}
		more()
		after(10 * time.Second)
		all()
		second()
		if err := p.CatchUp(t.Context(), l.DB, append(opts, silent)...); err != nil {
			t.Error(err)
		}
		all()
		err := p.CatchUp(t.Context(), l.DB, silent, projection.WithSegments(2))
		if !errors.Is(err, projection.ErrOtherSource) {
			t.Errorf("CatchUp with another number of segments = %v, want ErrOtherSource", err)
		}
	})
}

// One that has died without a word is replaced within twice its lease.
func TestDeadWorkerIsReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{DB: memory.New()}
		p := l.projection("totals")
		if _, err := l.Claim(t.Context(), worker.Claiming{Name: p.Name(), Holder: "dead", Lease: 6 * time.Second}); err != nil {
			t.Fatal(err)
		}
		l.append(t, "account-a", paid(t, 1))
		end := l.start(t, p, projection.WithLease(6*time.Second))
		after(5 * time.Second)
		want(t, l.effects(t))
		after(7 * time.Second)
		want(t, l.effects(t), "1/0 {1}")
		end()
	})
}
