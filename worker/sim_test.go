package worker_test

import (
	"bufio"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	simSeeds = flag.Int("sim.seeds", 600, "how many seeds TestSimulation runs, from -sim.from on")
	simFrom  = flag.Uint64("sim.from", 1, "the first seed")
	simSeed  = flag.Uint64("sim.seed", 0, "the only seed, with its trace; 0: many")
)

// oneSeed fails the test if a seed violates anything.
func oneSeed(t *testing.T, seed uint64, traced bool) {
	t.Helper()
	errs, trace := simulate(t, seed, traced)
	if traced {
		t.Log("\n" + trace)
		t.Logf("%+v", planOf(seed))
	}
	if len(errs) > 0 {
		t.Errorf("seed %d: again with its trace: go test ./worker -run '^TestSimulation$' -sim.seed=%d\n%s", seed, seed, strings.Join(errs, "\n"))
	}
}

// TestSimulation runs workers in worlds where much fails: each event takes effect once,
// in the order of its key, or is parked with a reason, and nothing else is parked.
func TestSimulation(t *testing.T) {
	t.Parallel()
	if *simSeed != 0 {
		oneSeed(t, *simSeed, true)
		return
	}
	for _, seed := range foundSeeds(t) {
		oneSeed(t, seed, false)
	}
	began, failed := time.Now(), 0
	for i := range *simSeeds {
		seed := *simFrom + uint64(i)
		errs, _ := simulate(t, seed, false)
		if len(errs) == 0 {
			continue
		}
		t.Errorf("seed %d: again with its trace: go test ./worker -run '^TestSimulation$' -sim.seed=%d\n%s", seed, seed, strings.Join(errs, "\n"))
		if failed++; failed == 10 {
			t.Fatal("more than enough")
		}
	}
	t.Logf("%d seeds, %v each", *simSeeds, time.Since(began)/time.Duration(max(1, *simSeeds)))
}

// foundSeeds are those that have once found a mistake.
func foundSeeds(t *testing.T) (seeds []uint64) {
	t.Helper()
	f, err := os.Open("testdata/seeds.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// TestSimulationIsAFunctionOfItsSeed: the same seed, the same calls at the same moments.
func TestSimulationIsAFunctionOfItsSeed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		_, first := simulate(t, seed+1, true)
		_, second := simulate(t, seed+1, true)
		if first != second {
			a, b := strings.Split(first, "\n"), strings.Split(second, "\n")
			i := 0
			for i < len(a) && i < len(b) && a[i] == b[i] {
				i++
			}
			t.Log(strings.Join(a[max(0, i-30):i+10], "\n"))
			t.Log(strings.Join(b[max(0, i-3):i+10], "\n"))
			t.Errorf("seed %d: line %d was %q, then %q", seed+1, i, a[min(i, len(a)-1)], b[min(i, len(b)-1)])
		}
	}
}
