package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/worker"
)

const (
	// Index: parked_pkey. Lock: the row, until the end of the transaction.
	parkSQL = `
INSERT INTO {{schema}}.parked (name, part, key, state, since, next_at, attempts, error, stack, version, history, owner, note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::jsonb, $12, $13)
ON CONFLICT ON CONSTRAINT parked_pkey DO UPDATE
SET state = excluded.state,
    since = excluded.since,
    next_at = excluded.next_at,
    attempts = excluded.attempts,
    error = excluded.error,
    stack = excluded.stack,
    version = excluded.version,
    history = excluded.history,
    owner = excluded.owner,
    note = excluded.note`

	// Index: parked_items_pkey, parked_pkey. Lock: FOR KEY SHARE on the parked keys.
	itemsSQL = `
INSERT INTO {{schema}}.parked_items (name, part, key, seq, data)
SELECT $1, g.part, g.key, g.seq, g.data
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bytea[]) AS g (part, key, seq, data)
ON CONFLICT DO NOTHING`

	// Index: parked_items_pkey. Lock: the rows.
	doneSQL = `
DELETE FROM {{schema}}.parked_items i
USING unnest($2::text[], $3::text[], $4::bigint[]) AS g (part, key, seq)
WHERE i.name = $1
  AND i.part = g.part
  AND i.key = g.key
  AND i.seq = g.seq`

	// Index: parked_pkey, and parked_items_pkey for the foreign key. Lock: the row.
	freeSQL = `
DELETE FROM {{schema}}.parked
WHERE name = $1
  AND part = $2
  AND key = $3`

	// Lock: none that others wait for.
	auditSQL = `
INSERT INTO {{schema}}.parked_audits (name, part, key, at, actor, action, seq, detail)
VALUES ($1, $2, $3, coalesce($4, clock_timestamp()), $5, $6, $7, $8)`
)

// checkWrite refuses what no revision would guard.
func checkWrite(w worker.Write) error {
	var errs []error
	guarded := func(k worker.Key, what string) {
		if _, ok := w.Marks[k.Part]; !ok && len(errs) == 0 {
			errs = append(errs, fmt.Errorf("part %q: key %q is %s, but the mark of the part is not written: write both together", k.Part, k.Key, what))
		}
	}
	for _, p := range w.Park {
		guarded(p.Key, "parked")
		if len(p.History) > worker.MaxHistory && len(errs) == 0 {
			errs = append(errs, fmt.Errorf("part %q: key %q has %d attempts in its history, want at most %d", p.Part, p.Key.Key, len(p.History), worker.MaxHistory))
		}
	}
	for _, i := range w.Items {
		guarded(i.Key, "given an item")
	}
	for _, i := range w.Done {
		guarded(i.Key, "done with an item")
	}
	for _, k := range w.Free {
		guarded(k, "freed")
	}
	return errors.Join(errs...)
}

// pending is a batch whose statements each say what is wrong.
type pending struct {
	pgx.Batch
	check []func(tag pgconn.CommandTag, err error) error
}

func (p *pending) add(check func(tag pgconn.CommandTag, err error) error, sql string, args ...any) {
	p.Queue(sql, args...)
	p.check = append(p.check, check)
}

func plain(_ pgconn.CommandTag, err error) error { return err }

// send returns the first error.
func (p *pending) send(ctx context.Context, tx pgx.Tx) error {
	if p.Len() == 0 {
		return nil
	}
	results := tx.SendBatch(ctx, &p.Batch)
	for _, check := range p.check {
		tag, err := results.Exec()
		if err := check(tag, err); err != nil {
			_ = results.Close()
			return err
		}
	}
	return results.Close()
}

// write makes a write in one round trip: the marks first, sorted, because two
// writers must not lock them in different orders and because their revisions guard
// the rest. epochs are those of the marks that are stored.
func (d *DB) write(ctx context.Context, tx pgx.Tx, name string, term worker.Term, epochs map[string]int64, w worker.Write) error {
	p := &pending{}
	for _, part := range slices.Sorted(maps.Keys(w.Marks)) {
		if err := d.addMark(p, name, part, w.Marks[part], max(term.Epoch, epochs[part])); err != nil {
			return otherServer(err)
		}
	}
	if err := d.addParked(p, name, w); err != nil {
		return err
	}
	return otherServer(p.send(ctx, tx))
}

func (d *DB) addMark(p *pending, name, part string, m worker.Mark, epoch int64) error {
	since, err := d.ownSince(m)
	if err != nil {
		return fmt.Errorf("part %q: %w", part, err)
	}
	if m.Revision == 0 {
		p.add(plain, d.sql(insertMarkSQL), name, part)
	}
	stored := m
	stored.Revision, stored.Epoch = m.Revision+1, epoch
	seal := worker.Seal(name, part, stored)
	p.add(func(tag pgconn.CommandTag, err error) error {
		if err == nil && tag.RowsAffected() != 1 {
			return notAt(part, m.Revision)
		}
		return err
	}, d.sql(updateMarkSQL), name, part, m.Revision, int64(m.Position), m.Source, m.Offset, m.Of, m.Lineage, m.Server, m.Digest[:], []byte(m.Trail),
		int64(m.Claim.To), m.Claim.Events, m.Claim.Times, epoch, seal[:], since)
	return nil
}

// addParked adds what is parked, given, done with and freed, in this order.
func (d *DB) addParked(p *pending, name string, w worker.Write) error {
	for _, k := range w.Park {
		history, err := historyText(k.History)
		if err != nil {
			return fmt.Errorf("part %q: key %q: history: %w", k.Part, k.Key.Key, err)
		}
		p.add(func(_ pgconn.CommandTag, err error) error {
			return ofKey(k.Key, err)
		}, d.sql(parkSQL), name, k.Part, k.Key.Key, string(k.State), k.Since, timeOrNil(k.Next), k.Attempts,
			worker.Cut(k.Error), worker.Cut(k.Stack), worker.Cut(k.Version), history, worker.Cut(k.Owner), worker.Cut(k.Note))
	}
	if len(w.Items) > 0 {
		parts, keys, seqs := itemColumns(w.Items)
		data := make([][]byte, len(w.Items))
		for i, item := range w.Items {
			data[i] = item.Data
		}
		p.add(func(_ pgconn.CommandTag, err error) error {
			if pg, ok := pgError(err); ok && pg.Code == codeForeignKey {
				return fmt.Errorf("an item is of a key that is not parked: %s: %w", pg.Detail, err)
			}
			return err
		}, d.sql(itemsSQL), name, parts, keys, seqs, data)
	}
	if len(w.Done) > 0 {
		parts, keys, seqs := itemColumns(w.Done)
		p.add(plain, d.sql(doneSQL), name, parts, keys, seqs)
	}
	for _, k := range w.Free {
		p.add(func(tag pgconn.CommandTag, err error) error {
			switch {
			case hasCode(err, codeForeignKey):
				return fmt.Errorf("part %q: key %q cannot be freed: it still has items: %w", k.Part, k.Key, err)
			case err == nil && tag.RowsAffected() != 1:
				return fmt.Errorf("part %q: key %q cannot be freed: it is not parked", k.Part, k.Key)
			}
			return ofKey(k, err)
		}, d.sql(freeSQL), name, k.Part, k.Key)
	}
	for _, a := range w.Audit {
		p.add(func(_ pgconn.CommandTag, err error) error {
			return ofKey(a.Key, err)
		}, d.sql(auditSQL), name, a.Part, a.Key.Key, timeOrNil(a.Time), worker.Cut(a.Actor), worker.Cut(a.Action), a.Seq, worker.Cut(a.Detail))
	}
	return nil
}

func ofKey(k worker.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("part %q: key %q: %w", k.Part, k.Key, err)
}

func itemColumns(items []worker.Item) (parts, keys []string, seqs []int64) {
	for _, i := range items {
		parts, keys, seqs = append(parts, i.Part), append(keys, i.Key.Key), append(seqs, i.Seq)
	}
	return parts, keys, seqs
}

func historyText(attempts []worker.Attempt) (string, error) {
	clean := make([]worker.Attempt, len(attempts))
	for i, a := range attempts {
		clean[i] = worker.Attempt{Time: a.Time.UTC(), Error: worker.Cut(a.Error), Version: worker.Cut(a.Version)}
	}
	b, err := json.Marshal(clean)
	return string(b), err
}

// timeOrNil is NULL for no time.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
