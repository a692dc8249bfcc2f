-- How far each reader has come: one row for each of its parts.
--
-- Small rows that are updated often: room on the page keeps updates in place.
CREATE TABLE {{schema}}.checkpoints (
    name         text        COLLATE "C" NOT NULL,
    part         text        COLLATE "C" NOT NULL,
    position     bigint      NOT NULL DEFAULT 0,
    source       text        COLLATE "C" NOT NULL DEFAULT '',
    next_offset  bigint      NOT NULL DEFAULT 0,
    parts        integer     NOT NULL DEFAULT 0,
    lineage      text        COLLATE "C" NOT NULL DEFAULT '',
    server       text        COLLATE "C" NOT NULL DEFAULT '',
    digest       bytea       NOT NULL DEFAULT '',
    trail        bytea       NOT NULL DEFAULT '',
    claim_to     bigint      NOT NULL DEFAULT 0,
    claim_events integer     NOT NULL DEFAULT 0,
    claim_times  integer     NOT NULL DEFAULT 0,
    epoch        bigint      NOT NULL DEFAULT 0,
    revision     bigint      NOT NULL DEFAULT 0,
    seal         bytea       NOT NULL DEFAULT '',
    updated_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT checkpoints_pkey PRIMARY KEY (name, part)
) WITH (fillfactor = 50);
COMMENT ON TABLE {{schema}}.checkpoints IS 'A mark moves in the transaction of the effects it stands for; revision fences writers that were overtaken.';
COMMENT ON COLUMN {{schema}}.checkpoints.seal IS 'A digest of the row: one that was changed by other means than a worker stops its reader.';
