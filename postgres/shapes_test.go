package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func shaped(name string, schema int, contentType string) event.Raw {
	return event.Raw{Name: name, Schema: schema, ContentType: contentType, Payload: []byte("{}")}
}

func TestShapes(t *testing.T) {
	t.Parallel()
	admin := postgrestest.Pool(t)
	db := postgres.New(admin)
	if got, err := db.Shapes(t.Context(), 20); err != nil || len(got) != 0 {
		t.Errorf("Shapes of an empty store = %v, %v", got, err)
	}
	s := event.Stream{Category: "order", ID: "1"}
	for _, raw := range []event.Raw{
		shaped("order.placed", 2, "application/json"), shaped("order.placed", 1, "application/json"), shaped("order.placed", 1, "text/plain"),
		shaped("order.placed", 1, "application/json"), shaped("order.placed", 10, "application/json"), shaped("item.added", 1, "application/json"),
	} {
		if _, err := db.Append(t.Context(), s, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	want := []postgres.StoredShape{
		{Name: "item.added", Schema: 1, ContentType: "application/json", Events: 1, First: 6, Last: 6, Samples: []event.Position{6}},
		{Name: "order.placed", Schema: 1, ContentType: "application/json", Events: 2, First: 2, Last: 4, Samples: []event.Position{2, 4}},
		{Name: "order.placed", Schema: 1, ContentType: "text/plain", Events: 1, First: 3, Last: 3, Samples: []event.Position{3}},
		{Name: "order.placed", Schema: 2, ContentType: "application/json", Events: 1, First: 1, Last: 1, Samples: []event.Position{1}},
		{Name: "order.placed", Schema: 10, ContentType: "application/json", Events: 1, First: 5, Last: 5, Samples: []event.Position{5}},
	}
	// A service that only reads has the right to ask.
	reader := postgres.New(postgrestest.Service(t, admin, postgres.RoleRead))
	got, err := reader.Shapes(t.Context(), 20)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Shapes: %v (-want +got):\n%s", err, diff)
	}
	var at []string
	for e, err := range reader.EventsAt(t.Context(), 99, 5, 2, 5) {
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, fmt.Sprintf("%d %s v%d", e.Position, e.Name, e.Schema))
	}
	if want := []string{"2 order.placed v1", "5 order.placed v10"}; !slices.Equal(at, want) {
		t.Errorf("EventsAt = %v, want %v", at, want)
	}
	elsewhere := postgres.New(admin, postgres.WithSchema("elsewhere"))
	if _, err := elsewhere.Shapes(t.Context(), 1); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("Shapes = %v, want ErrNotMigrated", err)
	}
	for _, err := range elsewhere.EventsAt(t.Context(), 1) {
		if !errors.Is(err, postgres.ErrNotMigrated) {
			t.Errorf("EventsAt = %v, want ErrNotMigrated", err)
		}
	}
}

// One event among many is found, wherever it lies, beyond a hole that would take
// years to count through.
func TestShapesFindsASingleEvent(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	storeShapes(t, pool, "1, 150000", "CASE WHEN v = 123456 THEN 2 ELSE 1 END")
	if _, err := pool.Exec(t.Context(), `ALTER SEQUENCE annals.events_position_seq RESTART WITH 200000000000000`); err != nil {
		t.Fatal(err)
	}
	storeShapes(t, pool, "150001, 150010", "CASE WHEN v = 150005 THEN 3 ELSE 1 END")
	got, err := db.Shapes(t.Context(), 7)
	if err != nil || len(got) != 3 {
		t.Fatalf("Shapes = %+v, %v", got, err)
	}
	if s := got[0]; s.Events != 150008 || s.First != 1 || s.Last != 200000000000009 || s.Samples[0] != s.First || s.Samples[len(s.Samples)-1] != s.Last {
		t.Errorf("Shapes = %+v, want all but two events of schema version 1", s)
	}
	if s := got[1]; s.Events != 1 || s.First != 123456 || !slices.Equal(s.Samples, []event.Position{123456}) {
		t.Errorf("Shapes = %+v, want the event at position 123456", s)
	}
	if s := got[2]; s.Events != 1 || s.First != 200000000000004 {
		t.Errorf("Shapes = %+v, want the event at position 200000000000004", s)
	}
}

func TestShapesSpreadsSamples(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := postgres.New(pool)
	storeShapes(t, pool, "1, 20000", "CASE WHEN v <= 10000 THEN 1 ELSE 2 END")
	got, err := db.Shapes(t.Context(), 5)
	if err != nil || len(got) != 2 {
		t.Fatalf("Shapes = %+v, %v", got, err)
	}
	for i, s := range got {
		if len(s.Samples) != 5 {
			t.Errorf("schema version %d has samples %v, want 5", s.Schema, s.Samples)
			continue
		}
		for k, at := range s.Samples {
			if want := event.Position(i*10000 + 1 + k*2500); at < want-20 || at > want+20 {
				t.Errorf("schema version %d: sample %d is at %d, want about %d", s.Schema, k, at, want)
			}
		}
	}
}

// storeShapes stores events with the schema version that an expression of their number says.
func storeShapes(t *testing.T, pool *pgxpool.Pool, numbers, schema string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', '1', v, gen_random_uuid(), 'order.placed', `+schema+`, 'application/json', '{}', '{}'
FROM generate_series(`+numbers+`) v`); err != nil {
		t.Fatal(err)
	}
}
