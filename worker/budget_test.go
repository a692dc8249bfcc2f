package worker

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestBudgetInAnOutage: two hours without a success, with retries as eager as the
// budget lets them be, or asked for at odd times.
func TestBudgetInAnOutage(t *testing.T) {
	t.Parallel()
	const outage = 2 * time.Hour
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		every := time.Second + rand64(random, 9*time.Second)
		b := newBudget(Retry{Cap: every})
		for range random.IntN(1000) {
			b.earn(random.IntN(100)) // what was before does not add up beyond the burst
		}
		began := time.Unix(0, 0)
		end := began.Add(outage)
		extra, last := 0, began
		for now := began; now.Before(end); {
			wait := b.spend(now)
			switch {
			case wait == 0:
				extra++
				last = now
			case wait < 0 || wait > every || now.Add(wait).After(last.Add(every)):
				t.Fatalf("seed %d: wait %v at %v after the last retry, want the next one %v after it", seed, wait, now.Sub(last), every)
			}
			if seed%2 == 0 {
				now = now.Add(wait)
			} else {
				now = now.Add(rand64(random, every/3))
			}
		}
		normal := 10.2 / every.Seconds() * outage.Seconds() // calls, had there been no outage
		if most := 0.1 * normal; float64(extra) > most {
			t.Errorf("seed %d: %d retries within %v, want at most a tenth of %.0f calls", seed, extra, outage, normal)
		}
		if least := int(outage/every)*2/3 - 1; extra < least {
			t.Errorf("seed %d: %d retries within %v, want one in about each %v", seed, extra, outage, every)
		}
	}
}

func rand64(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

// TestBudgetWhileMostSucceeds: a tenth of the successes, what was kept, and the
// one in each interval.
func TestBudgetWhileMostSucceeds(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	b := newBudget(Retry{Budget: 0.25, Cap: time.Minute})
	extra := 0
	for range 10_000 {
		b.earn(1)
		for b.spend(now) == 0 {
			extra++
		}
	}
	if want := burst + 9_999/4; extra != want { // the first success finds no room for what it earns
		t.Errorf("%d retries beside 10000 successes at once, want %d", extra, want)
	}
	if wait := b.spend(now.Add(time.Second)); wait != 59*time.Second {
		t.Errorf("wait %v, want 59s", wait)
	}
	if wait := b.spend(now.Add(-time.Hour)); wait != time.Minute {
		t.Errorf("wait %v when time goes back, want no more than 1m", wait)
	}
	if wait := b.spend(now.Add(time.Minute)); wait != 0 {
		t.Errorf("wait %v after 1m, want 0", wait)
	}
	b.earn(1_000_000)
	if b.tokens != burst {
		t.Errorf("%v tokens are kept, want %d", b.tokens, burst)
	}
}
