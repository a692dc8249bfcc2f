package worker

import (
	"fmt"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	t.Parallel()
	each := func(n int, do func(key string), prefix string) {
		for i := range n {
			do(fmt.Sprint(prefix, i))
		}
	}
	for name, c := range map[string]struct {
		do   func(t *tally)
		want bool
	}{
		"nothing":                   {func(t *tally) {}, false},
		"9 of 9":                    {func(t *tally) { each(9, t.failed, "a") }, false},
		"the first 10 of 10":        {func(t *tally) { each(10, t.failed, "a") }, true},
		"10 of 20":                  {func(t *tally) { each(10, t.ok, "b"); each(10, t.failed, "a") }, true},
		"10 of 21":                  {func(t *tally) { each(11, t.ok, "b"); each(10, t.failed, "a") }, false},
		"10 of 500":                 {func(t *tally) { each(490, t.ok, "b"); each(10, t.failed, "a") }, false},
		"10 of 500, last":           {func(t *tally) { each(10, t.failed, "a"); each(490, t.ok, "b") }, false},
		"32 after 500 that went":    {func(t *tally) { each(500, t.ok, "b"); each(32, t.failed, "a") }, true},
		"31 after 500 that went":    {func(t *tally) { each(500, t.ok, "b"); each(31, t.failed, "a") }, false},
		"one key 1000 times":        {func(t *tally) { each(1000, func(string) { t.failed("a") }, "") }, false},
		"9 keys 1000 times":         {func(t *tally) { each(1000, func(string) { each(9, t.failed, "a") }, "") }, false},
		"failed, and went later":    {func(t *tally) { each(64, t.failed, "a"); each(64, t.ok, "a") }, false},
		"half of them went later":   {func(t *tally) { each(40, t.failed, "a"); each(20, t.ok, "a") }, true},
		"most of them went later":   {func(t *tally) { each(40, t.failed, "a"); each(21, t.ok, "a") }, false},
		"went, and failed later":    {func(t *tally) { each(64, t.ok, "a"); each(32, t.failed, "a") }, true},
		"an outage of 1000 keys":    {func(t *tally) { each(1000, t.failed, "a") }, true},
		"an outage, and its end":    {func(t *tally) { each(1000, t.failed, "a"); each(33, t.ok, "b") }, false},
		"reset":                     {func(t *tally) { each(64, t.failed, "a"); t.reset() }, false},
		"again after a reset":       {func(t *tally) { each(64, t.failed, "a"); t.reset(); each(10, t.failed, "a") }, true},
		"the poison key goes on":    {func(t *tally) { each(60, t.ok, "b"); each(100, func(string) { t.failed("a") }, "") }, false},
		"poison beside a few keys":  {func(t *tally) { each(3, t.ok, "b"); each(100, func(string) { t.failed("a") }, "") }, false},
		"a key whose name is empty": {func(t *tally) { each(10, func(string) { t.failed("") }, "") }, false},
	} {
		var ta tally
		if c.do(&ta); ta.systemic(0.5, 0) != c.want {
			t.Errorf("%s: systemic = %v, want %v (%d of %d)", name, !c.want, c.want, ta.bad, len(ta.ring))
		}
		if len(ta.ring) > tallyKeys || cap(ta.ring) > tallyKeys {
			t.Errorf("%s: remembers %d in room for %d, want at most %d", name, len(ta.ring), cap(ta.ring), tallyKeys)
		}
	}
}

// TestTallyForgetsTheOldest: the ring holds what a map of all outcomes would say of
// the keys that were tried last.
func TestTallyForgetsTheOldest(t *testing.T) {
	t.Parallel()
	var ta tally
	long := strings.Repeat("x", 1<<20)
	ta.failed(long)
	for i := range tallyKeys - 1 {
		ta.ok(fmt.Sprint(i))
	}
	ta.failed(long) // is the newest now, so the key "0" is the oldest
	if ta.failed("new"); ta.bad != 2 || len(ta.ring) != tallyKeys {
		t.Errorf("%d of %d failed, want 2 of %d", ta.bad, len(ta.ring), tallyKeys)
	}
	for i := 1; i < tallyKeys; i++ {
		ta.ok(fmt.Sprint(i))
	}
	if ta.bad != 1 { // long went, new is still there
		t.Errorf("%d failed, want 1", ta.bad)
	}
}
