package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

const (
	// Index: topics_pkey. Lock: none.
	contractsSQL = `
SELECT t.topic, t.id, t.partitions, t.replication, t.min_in_sync, t.retention, t.max_bytes, t.config::text, t.owner, t.description, t.decision, t.decided_by, t.agreed_at, t.revision
FROM {{schema}}.topics t
WHERE t.relay = $1`

	// Index: topics_pkey. Lock: the row. Promise: of several writers one inserts it.
	firstContractSQL = `
INSERT INTO {{schema}}.topics (relay, topic, id, partitions, replication, min_in_sync, retention, max_bytes, config, owner, description, decision, decided_by, revision)
VALUES ($1, $2, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11, $12, $13, $14, $3 + 1)
ON CONFLICT ON CONSTRAINT topics_pkey DO NOTHING`

	// Index: topics_pkey. Lock: the row. Promise: only from the revision that was read.
	nextContractSQL = `
UPDATE {{schema}}.topics
SET id = $4,
    partitions = $5,
    replication = $6,
    min_in_sync = $7,
    retention = $8,
    max_bytes = $9,
    config = $10::text::jsonb,
    owner = $11,
    description = $12,
    decision = $13,
    decided_by = $14,
    agreed_at = clock_timestamp(),
    revision = $3 + 1
WHERE relay = $1
  AND topic = $2
  AND revision = $3`
)

// Contracts implements bus.Contracts.
func (d *DB) Contracts(ctx context.Context, relay string) (map[string]bus.Agreed, error) {
	all, err := collect(ctx, d, "read contracts of "+relay, scanAgreed, contractsSQL, relay)
	if err != nil {
		return nil, err
	}
	out := make(map[string]bus.Agreed, len(all))
	for _, a := range all {
		out[a.Topic] = a
	}
	return out, nil
}

func scanAgreed(row pgx.CollectableRow) (bus.Agreed, error) {
	var (
		a      bus.Agreed
		config string
	)
	err := row.Scan(&a.Topic, &a.ID, &a.Partitions, &a.Replication, &a.MinInSync, (*int64)(&a.Retention), &a.MaxBytes, &config, &a.Owner, &a.Description, (*string)(&a.Decision), &a.By, &a.Since, &a.Revision)
	if err != nil {
		return a, err
	}
	a.Since = a.Since.UTC()
	if err := json.Unmarshal([]byte(config), &a.Config); err != nil {
		return a, fmt.Errorf("topic %s: config: %w", a.Topic, err)
	}
	if len(a.Config) == 0 {
		a.Config = nil
	}
	return a, nil
}

// Agree implements bus.Contracts.
func (d *DB) Agree(ctx context.Context, relay string, a bus.Agreed) error {
	fail := func(err error) error { return fmt.Errorf("agree on topic %s for %s: %w", a.Topic, relay, err) }
	config := []byte("{}")
	if len(a.Config) > 0 {
		var err error
		if config, err = json.Marshal(a.Config); err != nil {
			return fail(err)
		}
	}
	sql := nextContractSQL
	if a.Revision == 0 {
		sql = firstContractSQL
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	tag, err := d.pool.Exec(ctx, d.sql(sql), relay, a.Topic, a.Revision, a.ID, a.Partitions, a.Replication, a.MinInSync, int64(a.Retention), int64(a.MaxBytes),
		string(config), a.Owner, a.Description, string(a.Decision), a.By)
	switch {
	case err != nil:
		return fail(missing(late(ctx, err)))
	case tag.RowsAffected() != 1:
		return fail(fmt.Errorf("its contract is not at revision %d: %w", a.Revision, worker.ErrFenced))
	}
	return nil
}
