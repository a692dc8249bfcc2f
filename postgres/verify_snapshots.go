package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// keptSQL pages by the key, with whether the log has the event that each ends with.
// A page is short, because a snapshot may have 8 MiB.
// Index: snapshots_pkey, events_version_key. Lock: none.
const keptSQL = `
SELECT s.category, s.stream_id, s.fingerprint, s.format, s.version, s.position, s.event_id, s.content_type, s.state, s.checksum,
       EXISTS (SELECT
               FROM {{schema}}.events e
               WHERE e.category = s.category
                 AND e.stream_id = s.stream_id
                 AND e.version = s.version
                 AND e.position = s.position
                 AND e.event_id = s.event_id)
FROM {{schema}}.snapshots s
WHERE (s.category, s.stream_id, s.fingerprint) > ($1, $2, $3)
ORDER BY s.category, s.stream_id, s.fingerprint
LIMIT 8`

// readSnapshots looks at every snapshot.
func (a *auditor) readSnapshots(ctx context.Context) error {
	var last eventstore.Snapshot
	after := []byte{} // the fingerprint of the last
	for {
		page, known, err := a.snapshotsAfter(ctx, last.Stream, after)
		if err != nil {
			return missing(err)
		}
		for i, s := range page {
			if err := a.snapshot(ctx, s, known[i]); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return nil
		}
		last = page[len(page)-1]
		after = last.Fingerprint[:]
	}
}

func (a *auditor) snapshotsAfter(ctx context.Context, s event.Stream, fingerprint []byte) (page []eventstore.Snapshot, known []bool, err error) {
	ctx, cancel := a.db.limit(ctx)
	defer cancel()
	rows, err := a.db.pool.Query(ctx, a.db.sql(keptSQL), pgx.QueryExecModeExec, s.Category, s.ID, fingerprint)
	if err != nil {
		return nil, nil, late(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var (
			s                     eventstore.Snapshot
			fingerprint, checksum []byte
			there                 bool
		)
		err := rows.Scan(&s.Stream.Category, &s.Stream.ID, &fingerprint, &s.Format, (*int64)(&s.Version), (*int64)(&s.Position), (*[16]byte)(&s.EventID),
			&s.ContentType, &s.State, &checksum, &there)
		if err != nil {
			return nil, nil, err
		}
		if len(checksum) != sha256.Size || len(fingerprint) != sha256.Size {
			checksum = make([]byte, sha256.Size) // of nothing
		}
		copy(s.Fingerprint[:], fingerprint)
		copy(s.Checksum[:], checksum)
		page, known = append(page, s), append(known, there)
	}
	return page, known, late(ctx, rows.Err())
}

// snapshot compares one with the log, and with its events.
func (a *auditor) snapshot(ctx context.Context, s eventstore.Snapshot, known bool) error {
	a.Snapshots++
	f := Finding{Fault: FaultSnapshot, Stream: s.Stream, Version: s.Version, Position: s.Position}
	switch {
	case s.Format > eventstore.SnapshotFormat:
		return nil // of a newer program
	case s.Sum() != s.Checksum:
		f.Text = "the snapshot is damaged; no load uses it, and the next snapshot replaces it"
	case !known:
		f.Text = "the snapshot ends with an event that the stream does not have; no load uses it, and the next snapshot replaces it"
	case a.Snapshot != nil:
		err := a.Snapshot(ctx, s.Stream)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err == nil {
			return nil
		}
		f.Text = fmt.Sprint(err)
	default:
		return nil
	}
	a.find(f)
	return nil
}
