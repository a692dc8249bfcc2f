package postgres

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/annals-go/annals/worker"
)

// marksSQL pages by the key. Index: checkpoints_pkey. Lock: none.
const marksSQL = `
SELECT ` + markColumns + `, name, updated_at
FROM {{schema}}.checkpoints
WHERE (name, part) > ($1, $2)
ORDER BY name, part
LIMIT 1000`

// StoredMark is a mark as it is kept: of which reader, and since when.
type StoredMark struct {
	// Name is that of the reader, with its kind: "relay/main", "projection/totals".
	Name string
	Part string
	worker.Mark
	UpdatedTime time.Time
	// Altered is a *worker.AlteredError if the mark was not written by a worker, so
	// that its reader does not go on from it.
	Altered error
}

// Marks yields the marks of all readers, in the order of their names and parts. It
// reads in pages; after an error it yields no more.
func (d *DB) Marks(ctx context.Context) iter.Seq2[StoredMark, error] {
	return func(yield func(StoredMark, error) bool) {
		var last StoredMark
		for {
			page, err := d.marksAfter(ctx, last)
			if err != nil {
				yield(StoredMark{}, fmt.Errorf("read checkpoints: %w", missing(err)))
				return
			}
			for _, m := range page {
				if !yield(m, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			last = page[len(page)-1]
		}
	}
}

func (d *DB) marksAfter(ctx context.Context, last StoredMark) ([]StoredMark, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	rows, err := d.pool.Query(ctx, d.sql(marksSQL), last.Name, last.Part)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []StoredMark
	for rows.Next() {
		var m StoredMark
		row, err := scanMark(rows, &m.Name, &m.UpdatedTime)
		if err != nil {
			return nil, err
		}
		m.Part, m.Mark, m.Altered = row.part, row.Mark, row.altered(m.Name)
		m.UpdatedTime = m.UpdatedTime.UTC()
		page = append(page, m)
	}
	return page, rows.Err()
}
