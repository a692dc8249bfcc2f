package postgres

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// streamsSQL walks from stream to stream: each step is one probe for the first
// key behind everything that the stream before can have, so its cost grows with
// the streams listed and not with their events. A second probe finds the last
// event. The walk ends behind the limit, or behind the first stream without the
// prefix: streams that share one lie next to each other in the order of bytes.
// That test is outside of the probes, where it could make one run to the end of
// the index.
//
// Index: events_version_key, for both probes. Lock: none.
const streamsSQL = `
WITH RECURSIVE walk AS (
    (SELECT e.category, e.stream_id, 1::bigint AS place
     FROM {{schema}}.events e
     WHERE (e.category, e.stream_id, e.version) > ($1, $2, $3)
     ORDER BY e.category, e.stream_id, e.version
     LIMIT 1)
    UNION ALL
    SELECT following.category, following.stream_id, w.place + 1
    FROM walk w
    CROSS JOIN LATERAL (
        SELECT e.category, e.stream_id
        FROM {{schema}}.events e
        WHERE (e.category, e.stream_id, e.version) > (w.category, w.stream_id, 9223372036854775807)
        ORDER BY e.category, e.stream_id, e.version
        LIMIT 1
    ) following
    WHERE w.place < $5
      AND starts_with(w.category || '-' || w.stream_id, $4)
)
SELECT w.category, w.stream_id, newest.version, newest.position, newest.recorded_at
FROM walk w
CROSS JOIN LATERAL (
    SELECT e.version, e.position, e.recorded_at
    FROM {{schema}}.events e
    WHERE e.category = w.category
      AND e.stream_id = w.stream_id
    ORDER BY e.version DESC
    LIMIT 1
) newest
WHERE starts_with(w.category || '-' || w.stream_id, $4)
ORDER BY w.place`

// maxStreamBytes is the longest that "category-id" can be.
const maxStreamBytes = event.MaxCategoryBytes + len("-") + event.MaxIDBytes

// StreamsQuery says which streams to list. The zero value lists the first page
// of all.
type StreamsQuery struct {
	// Prefix is how "category-id" begins, byte for byte: "order" lists the
	// categories order and order_item, "order-" only the first, "order-53" the
	// ids of it that begin with 53. No character in it has another meaning.
	// Empty: all streams.
	Prefix string
	// After is the last stream of the page before. It need not exist. Zero: the
	// beginning.
	After event.Stream
	// Limit is the most streams to list. Zero: eventstore.DefaultPage.
	Limit int
}

// StreamInfo says how far a stream has come.
type StreamInfo struct {
	Stream event.Stream
	// Version is that of the last event, and so the number of events.
	Version event.Version
	// Position and RecordedTime (UTC, microseconds) are those of the last event.
	Position     event.Position
	RecordedTime time.Time
}

// Streams lists streams in the byte order of "category-id". It does not read
// their events: the cost is two index probes for each stream listed, however
// many events they have.
//
// One call sees one moment. Streams that appear between two pages are listed if
// they come after the cursor; none is listed twice.
//
// Errors: *event.NameError for a prefix or cursor that no stream can have,
// ErrNotMigrated. It holds up to q.Limit results in memory.
func (d *DB) Streams(ctx context.Context, q StreamsQuery) ([]StreamInfo, error) {
	start, above, err := q.start()
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", err)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = eventstore.DefaultPage
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	// QueryExecModeExec plans anew for each call: a plan that was kept from the
	// time when the table was empty would scan and sort it.
	rows, err := d.pool.Query(ctx, d.sql(streamsSQL), pgx.QueryExecModeExec, start.Category, start.ID, above, q.Prefix, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", missing(late(ctx, err)))
	}
	infos, err := pgx.CollectRows(rows, scanStream)
	if err != nil {
		return nil, fmt.Errorf("list streams: %w", missing(late(ctx, err)))
	}
	return infos, nil
}

func scanStream(row pgx.CollectableRow) (StreamInfo, error) {
	var s StreamInfo
	err := row.Scan(&s.Stream.Category, &s.Stream.ID, (*int64)(&s.Version), (*int64)(&s.Position), &s.RecordedTime)
	s.RecordedTime = s.RecordedTime.UTC()
	return s, err
}

// start returns the key to begin above: the first that has the prefix, with no
// version yet, or the cursor with every version.
func (q StreamsQuery) start() (at event.Stream, above int64, err error) {
	switch p := q.Prefix; {
	case len(p) > maxStreamBytes:
		return at, 0, &event.NameError{What: "prefix", Name: p, Reason: fmt.Sprintf("%d bytes long, at most %d", len(p), maxStreamBytes)}
	case !utf8.ValidString(p):
		return at, 0, &event.NameError{What: "prefix", Name: p, Reason: "not valid UTF-8"}
	case strings.ContainsRune(p, 0):
		return at, 0, &event.NameError{What: "prefix", Name: p, Reason: "character U+0000 is not printable"}
	}
	// The first dash ends the category. Every other character that a category can
	// have sorts behind the dash, so the order of the two columns is that of the text.
	at.Category, at.ID, _ = strings.Cut(q.Prefix, "-")
	if q.After == (event.Stream{}) {
		return at, 0, nil
	}
	if err := q.After.Validate(); err != nil {
		return at, 0, fmt.Errorf("after: %w", err)
	}
	if c := strings.Compare(q.After.Category, at.Category); c < 0 || c == 0 && q.After.ID < at.ID {
		return at, 0, nil
	}
	return q.After, math.MaxInt64, nil
}
