package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

var plainLine = regexp.MustCompile(`^appended \d+/3 invoices \(\d+/s, eta (\?|\d+s)\)  ` +
	`relayed \d+ events \(\d+/s, lag \d+\)  projected \d+ events \(\d+/s, lag \d+, eta (\?|\d+s)\)$`)

func TestProgressOfAnImport(t *testing.T) {
	s := openShop(t)
	out := s.mustImport(s.orderFile("orders.csv", row("1", 1, "1", "Malta"), row("C2", -1, "1", "Malta"), row("3", 1, "1", "Malta")))
	all := strings.Split(strings.TrimSuffix(out.stderr, "\n"), "\n")
	for _, line := range all {
		if !plainLine.MatchString(line) {
			t.Errorf("progress %q, want it to match %s", line, plainLine)
		}
	}
	last := regexp.MustCompile(`^appended 3/3 invoices \(\d+/s, eta 0s\)  relayed 3 events \(\d+/s, lag 0\)  projected 3 events \(\d+/s, lag 0, eta 0s\)$`)
	if got := all[len(all)-1]; !last.MatchString(got) {
		t.Errorf("last line %q, want it to match %s", got, last)
	}
}

func TestPlainProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := newMeter()
		stop := m.show(t.Context(), &out, 100)
		<-time.After(1500 * time.Millisecond)
		m.appended.add(22, 20)
		m.relayed.add(20, 0)
		m.projected.add(11, 0)
		<-time.After(time.Second)
		m.appended.add(80, 80)
		m.relayed.add(82, 0)
		m.projected.add(91, 0)
		<-time.After(500 * time.Millisecond)
		stop(true)
		want := []string{
			"appended 0/100 invoices (0/s, eta ?)  relayed 0 events (0/s, lag 0)  projected 0 events (0/s, lag 0, eta ?)",
			"appended 20/100 invoices (10/s, eta 8s)  relayed 20 events (10/s, lag 2)  projected 11 events (6/s, lag 11, eta 17s)",
			"appended 100/100 invoices (33/s, eta 0s)  relayed 102 events (34/s, lag 0)  projected 102 events (34/s, lag 0, eta 0s)",
			"",
		}
		got := strings.Split(out.String(), "\n")
		if len(got) == len(want)+1 && got[2] == got[3] {
			got = append(got[:2], got[3:]...) // the tick and the end fall on one moment
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("progress (-want +got):\n%s", diff)
		}
	})
}

func TestProgressEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		stop := newMeter().show(ctx, &out, 1)
		cancel()
		<-time.After(time.Minute)
		if got := out.String(); got != "" {
			t.Errorf("progress after the end: %q", got)
		}
		stop(false)
	})
}

// No terminal, so nothing is drawn; what counts is that every bar ends.
func TestBarsEnd(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		invoices int
		complete bool
	}{{0, true}, {3, true}, {3, false}} {
		m := newMeter()
		stop := m.bars(t.Context(), io.Discard, tt.invoices)
		m.appended.add(tt.invoices+1, tt.invoices)
		stop(tt.complete)
	}
}

func TestRateAndETA(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		done, total int64
		took        time.Duration
		rate        float64
		eta         string
	}{
		{0, 10, time.Second, 0, "?"},
		{5, 10, 0, 0, "0s"},
		{5, 10, 2 * time.Second, 2.5, "2s"},
		{10, 10, 2 * time.Second, 5, "0s"},
		{12, 10, 2 * time.Second, 6, "0s"},
		{0, 0, time.Second, 0, "0s"},
		{100, 1_000_000, time.Second, 100, "2h46m39s"},
	} {
		if got := rate(tt.done, tt.took); got != tt.rate {
			t.Errorf("rate(%d, %s) = %v, want %v", tt.done, tt.took, got, tt.rate)
		}
		if got := eta(tt.done, tt.total, tt.took); got != tt.eta {
			t.Errorf("eta(%d, %d, %s) = %s, want %s", tt.done, tt.total, tt.took, got, tt.eta)
		}
	}
}

func TestMeter(t *testing.T) {
	t.Parallel()
	m := newMeter()
	if got := m.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing = %v, want 0", got)
	}
	recorded := func(at time.Time) worker.Applied {
		return worker.Applied{Events: []event.Recorded{{RecordedTime: at}}}
	}
	m.began = time.Now().Add(-time.Hour)
	m.onApplied(recorded(m.began.Add(-time.Second))) // of an earlier run
	for i := range 100 {
		m.onApplied(recorded(time.Now().Add(-time.Duration(100-i) * time.Second)))
	}
	got := fmt.Sprint(m.quantile(0).Round(time.Second), m.quantile(0.5).Round(time.Second), m.quantile(1).Round(time.Second))
	if want := "1s 51s 1m40s"; got != want {
		t.Errorf("quantiles = %s, want %s", got, want)
	}
	if got := m.projected.events.Load(); got != 101 {
		t.Errorf("%d projected, want 101", got)
	}
	m.appended.add(7, 3)
	if got := m.expected(10); got != 14 {
		t.Errorf("%d events expected, want 7 and one for each of 7 invoices", got)
	}
	if got := m.expected(2); got != 7 {
		t.Errorf("%d events expected, want 7", got)
	}
	if got := m.lag(&m.relayed); got != 7 {
		t.Errorf("lag of the relay = %d, want 7", got)
	}
	if got := m.lag(&m.projected); got != 0 {
		t.Errorf("lag of what is ahead = %d, want 0", got)
	}
}
