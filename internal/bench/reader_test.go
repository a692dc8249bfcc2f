package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
)

var stream = event.Stream{Category: "bench", ID: "1"}

// scripted is a reader that is given these versions of one stream, one page
// each, and then nothing.
func scripted(strict bool, versions ...event.Version) *reader {
	c := clock{time.Now()}
	return &reader{
		clock: c, strict: strict, versions: map[event.Stream]event.Version{},
		page: func(_ context.Context, after int64, see func(event.Stream, event.Version, []byte)) (int64, error) {
			if after == int64(len(versions)) {
				return after, nil
			}
			see(stream, versions[after], c.stamp())
			return after + 1, nil
		},
		wait: func(ctx context.Context, _ int64) error { return sleep(ctx, time.Millisecond) },
	}
}

func follow(t *testing.T, r *reader, total int64) ([]time.Duration, error) {
	t.Helper()
	written := make(chan struct{})
	close(written)
	return r.follow(t.Context(), written, func() int64 { return total })
}

func TestReaderWantsEachEventOnceInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		latencies, err := follow(t, scripted(true, 1, 2, 3), 3)
		if err != nil || len(latencies) != 3 {
			t.Errorf("got %v, %v, want three latencies", latencies, err)
		}
		for _, c := range []struct {
			versions []event.Version
			total    int64
			want     string
		}{
			{[]event.Version{1, 3}, 2, "read the log: got 2 events, 1 of them not the next of their stream; want 2, all in order"},
			{[]event.Version{1, 2, 2}, 2, "read the log: got 3 events, 1 of them not the next of their stream; want 2, all in order"},
			{[]event.Version{1, 2}, 3, "read the log: 2 of 3 events came, and no more for 20s"},
		} {
			_, err := follow(t, scripted(true, c.versions...), c.total)
			if err == nil || err.Error() != c.want {
				t.Errorf("versions %v: got %v, want %s", c.versions, err, c.want)
			}
		}
	})
}

func TestReaderByHandMayLose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &followed{reader: scripted(false, 1, 3)}
		f.answered.Store(3)
		if _, err := follow(t, f.reader, 3); err != nil {
			t.Error(err)
		}
		if got, want := f.lost(), "the reader by hand lost 1 of 3 committed events"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestStampHas256Bytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := clock{time.Now()}
		time.Sleep(90 * time.Second) //nolint:forbidigo // moves the clock of the bubble
		p := c.stamp()
		if got := c.read(p); got != 90*time.Second || len(p) != payloadBytes {
			t.Errorf("got %v in %d bytes, want 1m30s in %d", got, len(p), payloadBytes)
		}
	})
}

func TestPacedLeavesNoneOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := paced(t.Context(), 4, 1000, 2*time.Second, func(ctx context.Context, caller int) error {
			if caller == 0 {
				return sleep(ctx, 8*time.Millisecond) // twice as long as its turn
			}
			return nil
		})
		if err != nil || s.n != 2000 || s.took != 4*time.Second {
			t.Errorf("got %d in %v, %v, want 2000 in 4s", s.n, s.took, err)
		}
	})
}
