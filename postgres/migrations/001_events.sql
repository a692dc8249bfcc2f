-- The event store: the log, and the order of the log.
--
-- Safe while an old version is live: it only creates. Nothing to build
-- concurrently first.

-- Which server this is, and which life of it: the cluster, the database in it, and
-- the timeline, which a failover and a restore to a point in time change. A dump
-- that is loaded elsewhere has another cluster or another database. A crash and a
-- restart change nothing. A replica is another one than the primary it may become.
CREATE FUNCTION {{schema}}.server_v1() RETURNS text
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT concat_ws('/',
    (SELECT c.system_identifier FROM pg_control_system() c),
    (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
    CASE WHEN pg_is_in_recovery() THEN 'replica' ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END)
$$;

-- When this server began to be what it is. A promotion does not start the server
-- again, but ends its life as a replica: hence the microsecond.
CREATE FUNCTION {{schema}}.served_since() RETURNS timestamptz
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT pg_postmaster_start_time() + CASE WHEN pg_is_in_recovery() THEN interval '1 microsecond' ELSE interval '0' END
$$;

CREATE TABLE {{schema}}.lineage (
    generation  integer     NOT NULL,
    incarnation uuid        NOT NULL,
    server      text        COLLATE "C" NOT NULL,
    since       bigint      NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT lineage_pkey PRIMARY KEY (generation),
    CONSTRAINT lineage_starts_at_1 CHECK (generation >= 1)
);
COMMENT ON TABLE {{schema}}.lineage IS 'Which servers have held this log. A new incarnation is a history that some reader had to be set back for.';
COMMENT ON COLUMN {{schema}}.lineage.since IS 'Every position up to it holds what it held in the generation before.';

INSERT INTO {{schema}}.lineage (generation, incarnation, server, since)
SELECT 1, gen_random_uuid(), {{schema}}.server_v1(), 0;

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
    checksum       bytea       NOT NULL DEFAULT '',
    recorded_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT events_pkey PRIMARY KEY (position),
    CONSTRAINT events_version_key UNIQUE (category, stream_id, version),
    CONSTRAINT events_id_key UNIQUE (event_id, category, stream_id),
    CONSTRAINT events_version_starts_at_1 CHECK (version >= 1)
);
COMMENT ON TABLE {{schema}}.events IS 'The log. Rows are only ever inserted, by append_v1 and append_all_v1.';
COMMENT ON COLUMN {{schema}}.events.closes IS 'No event can follow this one in its stream.';

COMMENT ON COLUMN {{schema}}.events.checksum IS 'What checksum_v1 made of the row when it was appended. Empty: it was not appended by Annals.';

-- The first 8 bytes of SHA-256 over what the client has given and the version.
-- annals verify compares it with the row. The texts are joined by a character that
-- none of them can have, and the length of the metadata tells it from the payload.
--
-- It has no settings and is no more volatile than what it calls, so it is inlined:
-- hence the schema of each function.
CREATE FUNCTION {{schema}}.checksum_v1(
    category       text,
    stream_id      text,
    version        bigint,
    event_id       uuid,
    name           text,
    schema_version smallint,
    content_type   text,
    payload        bytea,
    metadata       bytea,
    closes         boolean
) RETURNS bytea
LANGUAGE sql STABLE
AS $$
SELECT pg_catalog.substr(pg_catalog.sha256(pg_catalog.convert_to(
    category || E'\x1f' || stream_id || E'\x1f' || version::text || E'\x1f' || event_id::text || E'\x1f' || name || E'\x1f'
        || schema_version::text || E'\x1f' || content_type || E'\x1f' || closes::text || E'\x1f' || pg_catalog.octet_length(metadata)::text || E'\x1f',
    'UTF8') || metadata || payload), 1, 8)
$$;

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
