package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// lockClass and lockObject are the advisory lock of all updates, of two numbers: it meets
// none of the locks that the event store takes in the same database.
const (
	lockClass  = 1634627185
	lockObject = 1
)

// SQL that makes the tables. Lock: that of all updates, so that two programs which start at
// the same time do not both make them.
const createTables = `
CREATE SCHEMA IF NOT EXISTS annals_registry;

CREATE TABLE IF NOT EXISTS annals_registry.schemas (
    id       integer NOT NULL,
    identity text    NOT NULL,
    text     text    NOT NULL,
    refs     jsonb   NOT NULL,
    CONSTRAINT schemas_pkey PRIMARY KEY (id),
    CONSTRAINT schemas_identity_key UNIQUE (identity),
    CONSTRAINT schemas_id_check CHECK (id > 0)
);

-- Names are sorted by their bytes, whatever the database does with other text.
CREATE TABLE IF NOT EXISTS annals_registry.versions (
    subject text    NOT NULL COLLATE "C",
    version integer NOT NULL,
    id      integer NOT NULL,
    deleted boolean NOT NULL,
    CONSTRAINT versions_pkey PRIMARY KEY (subject, version),
    CONSTRAINT versions_id_fkey FOREIGN KEY (id) REFERENCES annals_registry.schemas (id),
    CONSTRAINT versions_version_check CHECK (version > 0)
);

CREATE INDEX IF NOT EXISTS versions_id_idx ON annals_registry.versions (id);

-- A setting of the empty subject is that of all subjects.
CREATE TABLE IF NOT EXISTS annals_registry.settings (
    kind    text NOT NULL,
    subject text NOT NULL COLLATE "C",
    value   text NOT NULL,
    CONSTRAINT settings_pkey PRIMARY KEY (kind, subject)
);
`

const (
	// Index: none. Lock: all updates wait for each other, until the transaction ends.
	// Promise: what an update has read is so until it ends, and ids have no gaps.
	lockUpdates = `SELECT pg_advisory_xact_lock($1, $2)`

	// Index: versions_pkey. Lock: none.
	selectVersions = `
SELECT subject, version, id, deleted
FROM annals_registry.versions
WHERE subject = $1
ORDER BY subject, version`

	// Index: versions_pkey, in its order; a prefix is a range of it. Lock: none.
	selectAll = `
SELECT subject, version, id, deleted
FROM annals_registry.versions
WHERE subject ^@ $1
ORDER BY subject, version`

	// Index: versions_id_idx. Lock: none.
	selectUses = `
SELECT subject, version, id, deleted
FROM annals_registry.versions
WHERE id = $1
ORDER BY subject, version`

	// Index: versions_pkey. Lock: the row, under lockUpdates.
	upsertVersion = `
INSERT INTO annals_registry.versions (subject, version, id, deleted)
VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT versions_pkey DO UPDATE
SET id = EXCLUDED.id, deleted = EXCLUDED.deleted`

	// Index: versions_pkey. Lock: the row, under lockUpdates.
	deleteVersionRow = `
DELETE FROM annals_registry.versions
WHERE subject = $1 AND version = $2`

	// Index: schemas_pkey. Lock: none.
	selectSchema = `
SELECT id, identity, text, refs
FROM annals_registry.schemas
WHERE id = $1`

	// Index: schemas_identity_key. Lock: none.
	selectIdentity = `
SELECT id, identity, text, refs
FROM annals_registry.schemas
WHERE identity = $1`

	// Index: schemas_pkey, its last entry. Lock: under lockUpdates nobody else takes the
	// next id. Promise: one that is taken back leaves no gap, as a sequence would.
	insertSchema = `
INSERT INTO annals_registry.schemas (id, identity, text, refs)
VALUES (coalesce(nullif($1, 0), (SELECT coalesce(max(id), 0) + 1 FROM annals_registry.schemas)), $2, $3, $4)
RETURNING id`

	// Index: none; schemas that refer to others are few, and this is asked for rarely.
	// Lock: none.
	selectReferrers = `
SELECT id
FROM annals_registry.schemas
WHERE refs @> jsonb_build_array(jsonb_build_object('subject', $1::text, 'version', $2::integer))
ORDER BY id`

	// Index: settings_pkey. Lock: none.
	selectSetting = `
SELECT value
FROM annals_registry.settings
WHERE kind = $1 AND subject = $2`

	// Index: settings_pkey. Lock: the row, under lockUpdates.
	upsertSetting = `
INSERT INTO annals_registry.settings (kind, subject, value)
VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT settings_pkey DO UPDATE
SET value = EXCLUDED.value`

	// Index: settings_pkey. Lock: the row, under lockUpdates.
	deleteSetting = `
DELETE FROM annals_registry.settings
WHERE kind = $1 AND subject = $2`
)

// Postgres returns a store in the Postgres schema annals_registry of a database, which it
// makes when it is first used. Programs may share it.
func Postgres(pool *pgxpool.Pool) Store { return &database{pool: pool} }

type database struct {
	pool *pgxpool.Pool

	mu   sync.Mutex
	made bool // the tables are there; guarded by mu
}

func (d *database) View(ctx context.Context, fn func(tx Tx) error) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return fn(&rows{ctx: ctx, tx: tx})
	})
}

func (d *database) Update(ctx context.Context, fn func(tx Tx) error) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.locked(ctx, func(tx pgx.Tx) error { return fn(&rows{ctx: ctx, tx: tx}) })
}

// locked runs fn alone among all updates. Each of its statements sees what was committed
// before, so that of the update that it has waited for.
func (d *database) locked(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, d.pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockUpdates, lockClass, lockObject); err != nil {
			return fmt.Errorf("wait for other updates of schemas: %w", err)
		}
		return fn(tx)
	})
}

func (d *database) prepare(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made {
		return nil
	}
	err := d.locked(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, createTables)
		return err
	})
	if err != nil {
		return fmt.Errorf("make tables of schemas: %w", err)
	}
	d.made = true
	return nil
}

// rows is a Tx.
type rows struct {
	ctx context.Context // that of the transaction, which rows does not outlive
	tx  pgx.Tx
}

func (r *rows) versions(sql string, arg any) ([]Version, error) {
	found, err := r.tx.Query(r.ctx, sql, arg)
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	list, err := pgx.CollectRows(found, pgx.RowToStructByPos[Version])
	if err != nil {
		return nil, fmt.Errorf("read versions: %w", err)
	}
	return list, nil
}

func (r *rows) Versions(subject string) ([]Version, error) {
	return r.versions(selectVersions, subject)
}
func (r *rows) All(prefix string) ([]Version, error) { return r.versions(selectAll, prefix) }
func (r *rows) Uses(id int) ([]Version, error)       { return r.versions(selectUses, id) }

func (r *rows) exec(doing, sql string, args ...any) error {
	if _, err := r.tx.Exec(r.ctx, sql, args...); err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func (r *rows) Put(v Version) error {
	return r.exec("write version", upsertVersion, v.Subject, v.Version, v.ID, v.Deleted)
}

func (r *rows) Remove(subject string, version int) error {
	return r.exec("remove version", deleteVersionRow, subject, version)
}

func (r *rows) schema(sql string, arg any) (Schema, bool, error) {
	var s Schema
	var refs []byte
	err := r.tx.QueryRow(r.ctx, sql, arg).Scan(&s.ID, &s.Identity, &s.Text, &refs)
	if errors.Is(err, pgx.ErrNoRows) {
		return Schema{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(refs, &s.Refs)
	}
	if err != nil {
		return Schema{}, false, fmt.Errorf("read schema: %w", err)
	}
	if len(s.Refs) == 0 {
		s.Refs = nil
	}
	return s, true, nil
}

func (r *rows) Schema(id int) (Schema, bool, error) { return r.schema(selectSchema, id) }

func (r *rows) Find(identity string) (Schema, bool, error) { return r.schema(selectIdentity, identity) }

func (r *rows) Add(s Schema) (int, error) {
	if s.Refs == nil {
		s.Refs = []Reference{}
	}
	refs, err := json.Marshal(s.Refs)
	if err != nil {
		return 0, fmt.Errorf("add schema: %w", err)
	}
	var id int
	if err := r.tx.QueryRow(r.ctx, insertSchema, s.ID, s.Identity, s.Text, refs).Scan(&id); err != nil {
		return 0, fmt.Errorf("add schema: %w", err)
	}
	return id, nil
}

func (r *rows) Referrers(subject string, version int) ([]int, error) {
	found, err := r.tx.Query(r.ctx, selectReferrers, subject, version)
	if err != nil {
		return nil, fmt.Errorf("read referrers: %w", err)
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[int])
	if err != nil {
		return nil, fmt.Errorf("read referrers: %w", err)
	}
	return ids, nil
}

func (r *rows) Setting(kind Setting, subject string) (string, error) {
	var value string
	err := r.tx.QueryRow(r.ctx, selectSetting, string(kind), subject).Scan(&value)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("read setting: %w", err)
	}
	return value, nil
}

func (r *rows) Set(kind Setting, subject, value string) error {
	if value == "" {
		return r.exec("remove setting", deleteSetting, string(kind), subject)
	}
	return r.exec("write setting", upsertSetting, string(kind), subject, value)
}
