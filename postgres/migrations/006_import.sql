-- Imports: which files are in the log, and how much of each.
--
-- Safe while an old version is live: it only creates. Nothing to build
-- concurrently first.
--
-- A row is written in the transaction of each chunk, so it says just what is
-- stored. The role of imports has its rights, and those to insert into every column
-- of the events but the position.
CREATE TABLE {{schema}}.imports (
    sha256      bytea       NOT NULL,
    store       text        COLLATE "C" NOT NULL,
    events      bigint      NOT NULL,
    skipped     bigint      NOT NULL,
    total       bigint      NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    CONSTRAINT imports_pkey PRIMARY KEY (sha256),
    CONSTRAINT imports_do_not_exceed_their_file CHECK (events BETWEEN 0 AND total)
);
COMMENT ON TABLE {{schema}}.imports IS 'One row for each file that was imported, by the sum of its content; moved with each chunk.';
COMMENT ON COLUMN {{schema}}.imports.store IS 'The incarnation of the store that the file comes from, empty if it is not known.';
COMMENT ON COLUMN {{schema}}.imports.events IS 'How many events of the file have been dealt with: stored, or skipped because they were there.';
