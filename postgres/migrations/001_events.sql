-- The event store: the log, and the order of the log.
--
-- Safe while an old version is live: it only creates. Nothing to build
-- concurrently first.

CREATE TABLE {{schema}}.store (
    only_row    boolean     NOT NULL DEFAULT true,
    incarnation uuid        NOT NULL DEFAULT gen_random_uuid(),
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT store_pkey PRIMARY KEY (only_row),
    CONSTRAINT store_has_one_row CHECK (only_row)
);
COMMENT ON TABLE {{schema}}.store IS 'One row: which store this is. Checkpoints outside of it name the incarnation.';

INSERT INTO {{schema}}.store DEFAULT VALUES;

-- 2^48-1: positions share a lock key with the 15 bits of the namespace.
-- CACHE 1: a session that hands out old numbers breaks the order of the log.
CREATE TABLE {{schema}}.events (
    position       bigint      GENERATED ALWAYS AS IDENTITY (MAXVALUE 281474976710655 CACHE 1 NO CYCLE),
    category       text        COLLATE "C" NOT NULL,
    stream_id      text        COLLATE "C" NOT NULL,
    version        bigint      NOT NULL,
    event_id       uuid        NOT NULL,
    name           text        COLLATE "C" NOT NULL,
    schema_version smallint    NOT NULL,
    content_type   text        COLLATE "C" NOT NULL,
    payload        bytea       NOT NULL,
    metadata       bytea       NOT NULL,
    closes         boolean     NOT NULL DEFAULT false,
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT events_pkey PRIMARY KEY (position),
    CONSTRAINT events_version_key UNIQUE (category, stream_id, version),
    CONSTRAINT events_id_key UNIQUE (event_id, category, stream_id),
    CONSTRAINT events_version_starts_at_1 CHECK (version >= 1)
);
COMMENT ON TABLE {{schema}}.events IS 'The log. Rows are only ever inserted, by append_v1 and append_all_v1.';
COMMENT ON COLUMN {{schema}}.events.closes IS 'No event can follow this one in its stream.';

-- For reads by category and name. Each pair is a run of positions of its own,
-- and the pairs themselves are found by jumping from one to the next.
CREATE INDEX events_kind_idx ON {{schema}}.events (category, name, position);

-- An insert-only table never reaches the dead-row threshold, so autovacuum is
-- told to freeze and to mark pages all-visible by inserts alone.
ALTER TABLE {{schema}}.events SET (
    autovacuum_vacuum_insert_scale_factor = 0.05,
    autovacuum_analyze_scale_factor = 0.02
);

-- The payload as JSON, or NULL if it is none, whatever its content type says.
CREATE FUNCTION {{schema}}.readable(payload bytea) RETURNS json
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN convert_from(payload, 'UTF8')::json;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;

-- Readable in psql; payloads that are no JSON show as NULL.
CREATE VIEW {{schema}}.events_readable AS
SELECT position,
       category || '-' || stream_id AS stream,
       version,
       name,
       schema_version,
       {{schema}}.readable(payload) AS payload,
       {{schema}}.readable(metadata) AS metadata,
       event_id,
       recorded_at
FROM {{schema}}.events;

-- Appender's half of the log order: before a statement draws its first
-- position, its transaction holds a shared lock whose key carries a low-water
-- mark, the last position drawn before. All positions that the transaction
-- draws are above it. The mark of the first append is kept in a setting local
-- to the transaction and locked again by later appends: one lock for each
-- transaction, and a rollback to a savepoint undoes setting and lock together.
--
-- It also makes the append durable where a caller had switched that off: a
-- reader may act on the event as soon as it is visible.
--
-- The sequence is read by pg_sequence_last_value, which locks its page. A plain
-- SELECT does not, and can see a number that is 32 too high for a moment, while
-- nextval writes its log record: a mark above what the append then draws. While
-- nothing was drawn it is NULL; 0 is low enough.
--
-- Anybody can change the setting. A number that is too high is no lower than the
-- last position drawn, one below 0 would be a key of no namespace, which no reader
-- looks at, and counts as 0; what is no number fails the append.
--
-- It runs in every append, so all of it is one expression: the mark is made,
-- kept and locked, from the inside out.
CREATE FUNCTION {{schema}}.mark_append() RETURNS trigger
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held text := pg_advisory_xact_lock_shared(({{namespace}}::bigint << 48) | set_config('annals.mark_{{namespace}}', greatest(0, least(
        nullif(current_setting('annals.mark_{{namespace}}', true), '')::bigint,
        coalesce(pg_sequence_last_value('{{schema}}.events_position_seq'), 0)
    ))::text, true)::bigint)::text;
BEGIN
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER events_mark_append
BEFORE INSERT ON {{schema}}.events
FOR EACH STATEMENT EXECUTE FUNCTION {{schema}}.mark_append();
