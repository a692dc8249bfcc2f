package worker_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// A drain tells whether its first event has failed before: what is new at the head of a
// key, or has ended the process, has not.
func TestDrainTellsWhatHasFailedBefore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     string
		retried bool
	}{
		"it has failed":                 {"work failed", true},
		"the one before was discarded":  {"", false},
		"the ones before took effect":   {"the events before these have taken effect, and these are next", false},
		"the process ended in a drain":  {"the attempt has begun, and nothing is known of its end", false},
		"the process ended, and waited": {"the process has ended while this event was applied", false},
		"the process ended in a batch":  {"the process has ended 3 times while this event was applied", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := &target{db: memory.New()}
				note(t, g.db, "1", 0)
				note(t, g.db, "1", 1)
				key := worker.Key{Key: "order-1"}
				err := g.db.Save(t.Context(), "reader", worker.Term{}, worker.Write{
					Marks: worker.Checkpoint{"": {Position: 2}},
					Park:  []worker.Parked{{Key: key, State: worker.Retrying, Since: time.Now(), Next: time.Now(), Attempts: 1, Error: c.err}},
					Items: []worker.Item{{Key: key, Seq: 1}, {Key: key, Seq: 2}},
				})
				if err != nil {
					t.Fatal(err)
				}
				var got []bool
				g.fail = func(b worker.Batch) error {
					if b.Drain {
						if got = append(got, b.Retried); len(got) == 1 { // the second by itself
							return &worker.EventError{Index: 1, Err: worker.Permanent(errors.New("refused"))}
						}
						if len(got) == 3 {
							return worker.Permanent(errors.New("refused"))
						}
					} else if b.Retried {
						t.Error("a batch that is no drain is retried")
					}
					return nil
				}
				var parked *worker.ParkedError
				if err := g.reader().RunTo(t.Context(), 2); !errors.As(err, &parked) {
					t.Fatalf("RunTo = %v, want what is parked", err)
				}
				if _, err := (worker.Amender{Store: g.db, Name: "reader", Actor: "ada"}).RetryParked(t.Context(), 0, key); err != nil {
					t.Fatal(err)
				}
				if err := g.reader().RunTo(t.Context(), 2); err != nil {
					t.Fatal(err)
				}
				want := []bool{c.retried, c.retried, false, true}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("retried, in each drain: %s", diff)
				}
			})
		})
	}
}
