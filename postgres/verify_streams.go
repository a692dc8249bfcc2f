package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
)

// keysSQL pages by the key of the streams. What was appended behind the position
// is left out. Index: events_version_key, in its order. Lock: none.
const keysSQL = `
SELECT e.category, e.stream_id, e.version, e.position, e.closes
FROM {{schema}}.events e
WHERE (e.category, e.stream_id, e.version) > ($1, $2, $3)
  AND e.position <= $4
ORDER BY e.category, e.stream_id, e.version
LIMIT $5`

const keysPage = 10_000

// key is an event as its stream knows it.
type key struct {
	event.Stream
	version  event.Version
	position event.Position
	closes   bool
}

// readStreams looks at every stream, in the order of their keys.
func (a *auditor) readStreams(ctx context.Context) error {
	var last key
	for {
		page, err := a.keysAfter(ctx, last)
		if err != nil {
			return missing(err)
		}
		for _, k := range page {
			a.key(last, k)
			last = k
		}
		if len(page) < keysPage {
			return nil
		}
		a.progress((1 + float64(a.keyed)/float64(max(a.Events, 1))) / 3)
	}
}

func (a *auditor) keysAfter(ctx context.Context, last key) ([]key, error) {
	// QueryExecModeExec plans anew for each page: a plan from the time when the table
	// was empty would sort it.
	ctx, cancel := a.db.limit(ctx)
	defer cancel()
	rows, err := a.db.pool.Query(ctx, a.db.sql(keysSQL), pgx.QueryExecModeExec, last.Category, last.ID, int64(last.version), int64(a.UpTo), keysPage)
	if err != nil {
		return nil, late(ctx, err)
	}
	page, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k key, err error) {
		err = row.Scan(&k.Category, &k.ID, (*int64)(&k.version), (*int64)(&k.position), &k.closes)
		return k, err
	})
	return page, late(ctx, err)
}

// key compares an event with the one before it.
func (a *auditor) key(last, k key) {
	a.keyed++
	f := Finding{Stream: k.Stream, Version: k.version, Position: k.position}
	if last.Stream != k.Stream {
		a.Streams++
		last = key{}
	}
	switch {
	case k.version != last.version+1:
		f.Fault, f.Text = FaultVersions, fmt.Sprintf("version %d comes after version %d", k.version, last.version)
	case k.position <= last.position:
		f.Fault, f.Text = FaultOrder, fmt.Sprintf("position %d comes after position %d of version %d", k.position, last.position, last.version)
	case last.closes:
		f.Fault, f.Text = FaultClosed, fmt.Sprintf("version %d had closed the stream", last.version)
	default:
		return
	}
	a.find(f)
}
