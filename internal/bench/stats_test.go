package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSpread(t *testing.T) {
	t.Parallel()
	got := spreadOf([]float64{3, 1, 2, 10})
	want := spread{Median: 2.5, Min: 1, Max: 10, Rounds: []float64{3, 1, 2, 10}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	if got := spreadOf([]float64{3, 1, 2}).Median; got != 2 {
		t.Errorf("got median %v, want 2", got)
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := percentile(all, p); got != want {
			t.Errorf("percentile(1 to 100, %v) = %d, want %d", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile(nothing) = %d, want 0", got)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bar          bar
		ratio, value float64
		text, want   string
	}{
		{bar{}, 0.1, 5, "", ""},
		{bar{ratio: 0.9}, 0.9, 5, ">= 0.90", "ok"},
		{bar{ratio: 0.9}, 0.89, 5, ">= 0.90", "below"},
		{bar{most: 10}, 0.1, 10, "<= 10 ms", "ok"},
		{bar{most: 10}, 2, 11, "<= 10 ms", "below"},
		{bar{finishes: true}, 0.1, 5, "finishes", "ok"},
	} {
		if got := c.bar.text("ms"); got != c.text {
			t.Errorf("text of %+v = %q, want %q", c.bar, got, c.text)
		}
		if got := c.bar.verdict(c.ratio, c.value); got != c.want {
			t.Errorf("verdict of %+v on %v, %v = %q, want %q", c.bar, c.ratio, c.value, got, c.want)
		}
	}
}

// TestLowerIsBetter: a ratio above 1 is always in favour of Annals.
func TestLowerIsBetter(t *testing.T) {
	t.Parallel()
	quick, slow := []sample{{n: 1, took: time.Second}}, []sample{{n: 1, took: 2 * time.Second}}
	if got := (workload{lower: true, measure: seconds}).compare(quick, slow, "").Ratio.Median; got != 2 {
		t.Errorf("seconds: got ratio %v, want 2", got)
	}
	if got := (workload{measure: perSecond}).compare(quick, slow, "").Ratio.Median; got != 2 {
		t.Errorf("per second: got ratio %v, want 2", got)
	}
}

func TestPayloadIs256Bytes(t *testing.T) {
	t.Parallel()
	for _, e := range batch(10) {
		if got := len(e.Payload); got != payloadBytes {
			t.Errorf("got %d bytes, want %d", got, payloadBytes)
		}
	}
}
