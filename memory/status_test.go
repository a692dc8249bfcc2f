package memory_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func TestStatusTellsTimes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, began := memory.New(), time.Now().UTC()
		key := worker.Key{Part: "", Key: "order-1"}
		for range 3 {
			if err := appendTo(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			<-time.After(time.Minute)
		}
		err := db.Save(t.Context(), "totals", worker.Term{}, worker.Write{
			Marks: worker.Checkpoint{"": {Position: 1}},
			Park:  []worker.Parked{{Key: key, State: worker.Waiting, Since: began.Add(time.Second)}},
			Items: []worker.Item{{Key: key, Seq: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Minute)
		got, err := db.Status(t.Context(), "totals")
		want := worker.Status{Name: "totals", Time: began.Add(4 * time.Minute), Head: 3, Parts: []worker.PartStatus{{
			Mark: worker.Mark{Position: 1, Revision: 1}, Updated: began.Add(3 * time.Minute),
			Lag: 2, Behind: 3 * time.Minute, Waiting: 1, Parked: 1, Oldest: 4*time.Minute - time.Second,
		}}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("Status = %v (-want +got):\n%s", err, diff)
		}
	})
}

func TestStatusEstimatesALongLag(t *testing.T) {
	t.Parallel()
	db := memory.New()
	s := event.Stream{Category: "order", ID: "1"}
	for range worker.MaxLag/eventstore.MaxEvents + 1 {
		events := make([]event.Raw, eventstore.MaxEvents)
		for i := range events {
			events[i] = event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"}
		}
		if _, err := db.Append(t.Context(), s, eventstore.Any(), events...); err != nil {
			t.Fatal(err)
		}
	}
	marks := worker.Checkpoint{"a": {Position: eventstore.MaxEvents}, "b": {Position: eventstore.MaxEvents - 1}}
	if err := db.Save(t.Context(), "totals", worker.Term{}, worker.Write{Marks: marks}); err != nil {
		t.Fatal(err)
	}
	got, err := db.Status(t.Context(), "totals")
	if err != nil || len(got.Parts) != 2 {
		t.Fatalf("Status = %+v, %v", got, err)
	}
	if a, b := got.Parts[0], got.Parts[1]; a.Lag != worker.MaxLag || a.Estimated || b.Lag != worker.MaxLag+1 || !b.Estimated {
		t.Errorf("lags %d (estimated: %v) and %d (%v)", a.Lag, a.Estimated, b.Lag, b.Estimated)
	}
}
