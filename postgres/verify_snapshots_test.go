package postgres_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// Snapshots that no load would use, and those that the program calls wrong.
func TestVerifySnapshots(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := fill(t, pool, 18) // 2 events in each of 9 streams
	for e, err := range eventstore.All(t.Context(), db, eventstore.LogQuery{After: 9}) {
		if err != nil {
			t.Fatal(err)
		}
		s := eventstore.Snapshot{
			Format: eventstore.SnapshotFormat, Stream: e.Stream, Version: e.Version, Position: e.Position, EventID: e.Metadata.ID,
			Fingerprint: eventstore.Fingerprint{1}, ContentType: "text/plain", State: []byte(e.Stream.ID),
		}
		s.Checksum = s.Sum()
		if _, err := db.SaveSnapshot(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for _, sql := range []string{
		`UPDATE annals.snapshots SET state = 'x' WHERE stream_id = '1'`,
		`UPDATE annals.snapshots SET checksum = '' WHERE stream_id = '2'`,
		`UPDATE annals.snapshots SET format = 99 WHERE stream_id = '3'`,
		`DELETE FROM annals.events WHERE stream_id = '4' AND version = 2`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var asked, found []string
	v, err := db.Verify(t.Context(), postgres.Verification{
		Found: func(f postgres.Finding) { found = append(found, string(f.Fault)+" "+f.Stream.ID+": "+f.Text) },
		Snapshot: func(_ context.Context, s event.Stream) error {
			asked = append(asked, s.ID)
			if s.ID == "7" {
				return errors.New("it is another state")
			}
			return nil
		},
	})
	if err != nil || v.Snapshots != 9 {
		t.Fatalf("Verify = %+v, %v", v, err)
	}
	slices.Sort(found)
	want := []string{
		"snapshot 1: the snapshot is damaged; no load uses it, and the next snapshot replaces it",
		"snapshot 2: the snapshot is damaged; no load uses it, and the next snapshot replaces it",
		"snapshot 4: the snapshot ends with an event that the stream does not have; no load uses it, and the next snapshot replaces it",
		"snapshot 7: it is another state",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"0", "5", "6", "7", "8"}, asked); diff != "" {
		t.Errorf("asked the program (-want +got):\n%s", diff)
	}
}
