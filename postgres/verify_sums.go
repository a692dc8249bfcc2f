package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
)

// The server computes the checksums, so that only what is wrong travels. Index:
// events_pkey. Lock: none.
const sumsSQL = `
SELECT e.category, e.stream_id, e.version, e.position, e.checksum = ''
FROM {{schema}}.events e
WHERE e.position > $1
  AND e.position <= $2
  AND e.checksum <> {{schema}}.checksum_v1(e.category, e.stream_id, e.version, e.event_id, e.name, e.schema_version, e.content_type, e.payload, e.metadata, e.closes)
ORDER BY e.position`

// sumsPage is how many positions one statement looks at.
const sumsPage = 1_000

// readSums looks at every checksum.
func (a *auditor) readSums(ctx context.Context) error {
	for after := event.Position(0); after < a.UpTo; after += sumsPage {
		if err := a.sumsBehind(ctx, after); err != nil {
			return fmt.Errorf("compare checksums behind position %d: %w", after, missing(err))
		}
		a.progress((2 + float64(after)/float64(a.UpTo)) / 3)
	}
	return nil
}

func (a *auditor) sumsBehind(ctx context.Context, after event.Position) error {
	ctx, cancel := a.db.limit(ctx)
	defer cancel()
	rows, err := a.db.pool.Query(ctx, a.db.sql(sumsSQL), int64(after), int64(min(after+sumsPage, a.UpTo)))
	if err != nil {
		return late(ctx, err)
	}
	var (
		k    key
		none bool
	)
	_, err = pgx.ForEachRow(rows, []any{&k.Category, &k.ID, (*int64)(&k.version), (*int64)(&k.position), &none}, func() error {
		f := Finding{Fault: FaultChecksum, Stream: k.Stream, Version: k.version, Position: k.position, Text: "the event is not what was appended"}
		if none {
			f.Text = "the event was not appended by Annals"
		}
		a.find(f)
		return nil
	})
	return late(ctx, err)
}
