package postgres_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestStreamsListsInByteOrder(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	// Beside the plain ones: wildcards of LIKE, the greatest character, the last
	// before the surrogates, and ids that end where another goes on.
	names := []string{
		"order-1", "order-53", "order-530", "order-53%", "order-53_", "order-5", "order--", "order-Z", "order-a",
		"order-\u00e9", "order-\ud7fb", "order-\U0001f600", "order-\U0001f600x", "order1-1", "order_item-1", "Order-1", "orders-1", "payment-1",
	}
	for i, name := range names {
		for range 1 + i%3 {
			appendTo(t, db, name)
		}
	}
	slices.Sort(names)

	for prefix, want := range map[string][]string{
		"":                    names,
		"order":               matching(names, "order"),
		"order-":              matching(names, "order-"),
		"order-53":            {"order-53", "order-53%", "order-530", "order-53_"},
		"order-53%":           {"order-53%"},
		"order-53_":           {"order-53_"},
		"order-%":             nil,
		"order_":              {"order_item-1"},
		"or":                  matching(names, "or"),
		"order--":             {"order--"},
		"order-\U0001f600":    {"order-\U0001f600", "order-\U0001f600x"},
		"order-\ud7fb":        {"order-\ud7fb"},
		"order-\U0010ffff":    nil,
		"\U0010ffff":          nil,
		"-":                   nil,
		"payment-1":           {"payment-1"},
		"payment-10":          nil,
		"zebra":               nil,
		"order-' OR true; --": nil,
	} {
		for _, limit := range []int{1, 2, 100} {
			got := paged(t, db, prefix, limit)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("prefix %q, pages of %d (-want +got):\n%s", prefix, limit, diff)
			}
		}
	}
}

func TestStreamsSaysHowFarEachHasCome(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	before := time.Now().Add(-time.Minute)
	first := appendTo(t, db, "order-1")
	appendTo(t, db, "order-2")
	last := appendTo(t, db, "order-2")
	got, err := db.Streams(t.Context(), postgres.StreamsQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		if at := got[i].RecordedTime; at.Before(before) || at.Location() != time.UTC {
			t.Errorf("RecordedTime = %v, want now, in UTC", at)
		}
		got[i].RecordedTime = time.Time{}
	}
	want := []postgres.StreamInfo{
		{Stream: event.Stream{Category: "order", ID: "1"}, Version: 1, Position: first.Position},
		{Stream: event.Stream{Category: "order", ID: "2"}, Version: 2, Position: last.Position},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStreamsAfter(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	for _, name := range []string{"order-1", "order-3", "payment-1"} {
		appendTo(t, db, name)
	}
	for _, c := range []struct {
		prefix string
		after  event.Stream
		want   []string
	}{
		{"", event.Stream{Category: "order", ID: "1"}, []string{"order-3", "payment-1"}},
		{"", event.Stream{Category: "order", ID: "2"}, []string{"order-3", "payment-1"}}, // not there
		{"payment", event.Stream{Category: "order", ID: "1"}, []string{"payment-1"}},     // before the prefix
		{"order-", event.Stream{Category: "payment", ID: "1"}, nil},                      // behind it
		{"order-3", event.Stream{Category: "order", ID: "3"}, nil},
	} {
		got, err := db.Streams(t.Context(), postgres.StreamsQuery{Prefix: c.prefix, After: c.after})
		if diff := cmp.Diff(c.want, streamNames(got)); err != nil || diff != "" {
			t.Errorf("prefix %q after %s: %v (-want +got):\n%s", c.prefix, c.after, err, diff)
		}
	}
}

func TestStreamsRefuses(t *testing.T) {
	t.Parallel()
	db := postgres.New(postgrestest.Pool(t))
	for _, c := range []struct {
		q    postgres.StreamsQuery
		want string
	}{
		{postgres.StreamsQuery{Prefix: "order-\xff"}, `list streams: invalid prefix "order-\xff": not valid UTF-8`},
		{postgres.StreamsQuery{Prefix: "order-\x00"}, `list streams: invalid prefix "order-\x00": character U+0000 is not printable`},
		{postgres.StreamsQuery{Prefix: strings.Repeat("x", 258)}, `list streams: invalid prefix "` + strings.Repeat("x", 80) + `...": 258 bytes long, at most 257`},
		{postgres.StreamsQuery{After: event.Stream{Category: "order"}}, `list streams: after: invalid stream id "": empty`},
	} {
		_, err := db.Streams(t.Context(), c.q)
		if !errors.Is(err, event.ErrInvalidName) || err.Error() != c.want {
			t.Errorf("Streams = %v, want %s", err, c.want)
		}
	}
	elsewhere := postgres.New(postgrestest.Pool(t), postgres.WithSchema("elsewhere"))
	if _, err := elsewhere.Streams(t.Context(), postgres.StreamsQuery{}); !errors.Is(err, postgres.ErrNotMigrated) {
		t.Errorf("Streams = %v, want ErrNotMigrated", err)
	}
}

// TestStreamsDoesNotScanEvents explains the statement that Streams really sent,
// on few streams with many events, before and after ANALYZE.
func TestStreamsDoesNotScanEvents(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(postgrestest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := &recorder{}
	config.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	db := postgres.New(pool)
	list(t, db) // while the table is empty: that plan must not stay
	_, err = pool.Exec(t.Context(), `
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', 's' || s, v, gen_random_uuid(), 'order.placed', 1, 'application/json', '{}', '{}'
FROM generate_series(1, 20000) v, generate_series(1, 3) s`)
	if err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []string{`SELECT 'as inserted'`, `ANALYZE annals.events`, `VACUUM annals.events`} {
		if _, err := pool.Exec(t.Context(), prepare); err != nil {
			t.Fatal(err)
		}
		got := list(t, db)
		if len(got) != 3 || got[2].Version != 20000 {
			t.Fatalf("%s: Streams = %+v, want 3 streams at version 20000", prepare, got)
		}
		for range 10 { // often enough for a generic plan, if there was one
			list(t, db)
		}
		sql, args := seen.last(t)
		var explained []struct{ Plan planNode }
		var text []byte
		if err := pool.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+sql, args...).Scan(&text); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &explained); err != nil {
			t.Fatal(err)
		}
		plan := explained[0].Plan
		scans := 0
		plan.walk(func(n planNode) {
			if n.Relation != "events" {
				return
			}
			scans++
			if !strings.HasPrefix(n.Type, "Index") || n.Index != "events_version_key" || n.Rows > 1 || n.Loops > 4 || n.Removed > 0 {
				t.Errorf("%s: %+v: want a probe of events_version_key that reads one row, at most 4 times", prepare, n)
			}
		})
		// A probe descends 2 or 3 pages of the index and reads one of the table.
		if blocks := plan.Hit + plan.Read; scans != 3 || blocks > 60 {
			t.Errorf("%s: %d scans and %d blocks, want 3 and at most 60\n%s", prepare, scans, blocks, text)
		}
	}
}

type planNode struct {
	Type     string     `json:"Node Type"`
	Relation string     `json:"Relation Name"`
	Index    string     `json:"Index Name"`
	Rows     float64    `json:"Actual Rows"`
	Loops    float64    `json:"Actual Loops"`
	Removed  float64    `json:"Rows Removed by Filter"`
	Hit      int        `json:"Shared Hit Blocks"`
	Read     int        `json:"Shared Read Blocks"`
	Plans    []planNode `json:"Plans"`
}

func (n planNode) walk(visit func(planNode)) {
	for _, child := range n.Plans {
		child.walk(visit)
	}
	n.Plans = nil
	visit(n)
}

// recorder keeps the last statement that lists streams.
type recorder struct {
	mu   sync.Mutex
	sql  string
	args []any
}

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Contains(data.SQL, "WITH RECURSIVE") && !strings.HasPrefix(data.SQL, "EXPLAIN") {
		r.sql, r.args = data.SQL, data.Args
	}
	return ctx
}

func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *recorder) last(t *testing.T) (string, []any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sql == "" {
		t.Fatal("Streams sent no statement")
	}
	return r.sql, r.args
}

func list(t *testing.T, db *postgres.DB) []postgres.StreamInfo {
	t.Helper()
	got, err := db.Streams(t.Context(), postgres.StreamsQuery{Prefix: "order"})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func appendTo(t *testing.T, db *postgres.DB, stream string) eventstore.Result {
	t.Helper()
	s, err := event.ParseStream(stream)
	if err != nil {
		t.Fatal(err)
	}
	res, err := db.Append(t.Context(), s, eventstore.Any(), event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func paged(t *testing.T, db *postgres.DB, prefix string, limit int) []string {
	t.Helper()
	var all []string
	q := postgres.StreamsQuery{Prefix: prefix, Limit: limit}
	for {
		page, err := db.Streams(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, streamNames(page)...)
		if len(page) < limit {
			return all
		}
		if len(page) > limit {
			t.Fatal(fmt.Errorf("page of %d, limit %d", len(page), limit))
		}
		q.After = page[len(page)-1].Stream
	}
}

func streamNames(page []postgres.StreamInfo) []string {
	var out []string
	for _, s := range page {
		out = append(out, s.Stream.String())
	}
	return out
}

func matching(names []string, prefix string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(s string) bool { return !strings.HasPrefix(s, prefix) })
}
