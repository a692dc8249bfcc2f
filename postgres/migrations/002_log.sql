-- Reading streams, and the log: the bound, pages, filters, and the mark for
-- replicas.
--
-- Safe while an old version is live: it only creates.
--
-- The functions list the columns that they return. With SETOF events they would
-- return a column that a later step adds, and a call that has begun before that
-- step commits would fail: it has the old row in mind and reads the new one.

-- A page of a stream, from a version on, in order or against it.
-- Index: events_version_key. Lock: none. Settings: a plan made while the table had
-- one page would scan it until the next ANALYZE, however it has grown.
CREATE FUNCTION {{schema}}.read_stream_v1(
    in_category  text,
    in_stream_id text,
    from_version bigint,
    most         integer,
    backward     boolean
) RETURNS TABLE (
    "position"     bigint,
    category       text,
    stream_id      text,
    version        bigint,
    event_id       uuid,
    name           text,
    schema_version smallint,
    content_type   text,
    payload        bytea,
    metadata       bytea,
    closes         boolean,
    checksum       bytea,
    recorded_at    timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    IF backward THEN
        RETURN QUERY
        SELECT e.position, e.category, e.stream_id, e.version, e.event_id, e.name, e.schema_version,
               e.content_type, e.payload, e.metadata, e.closes, e.checksum, e.recorded_at
        FROM {{schema}}.events e
        WHERE e.category = in_category
          AND e.stream_id = in_stream_id
          AND e.version <= from_version
        ORDER BY e.version DESC
        LIMIT most;
    ELSE
        RETURN QUERY
        SELECT e.position, e.category, e.stream_id, e.version, e.event_id, e.name, e.schema_version,
               e.content_type, e.payload, e.metadata, e.closes, e.checksum, e.recorded_at
        FROM {{schema}}.events e
        WHERE e.category = in_category
          AND e.stream_id = in_stream_id
          AND e.version >= from_version
        ORDER BY e.version
        LIMIT most;
    END IF;
END
$$;

-- A mark for replicas, which do not show the locks of the primary's appends.
CREATE TABLE {{schema}}.published_mark (
    only_row     boolean     NOT NULL DEFAULT true,
    position     bigint      NOT NULL DEFAULT 0,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT published_mark_pkey PRIMARY KEY (only_row),
    CONSTRAINT published_mark_has_one_row CHECK (only_row)
) WITH (fillfactor = 10);
COMMENT ON TABLE {{schema}}.published_mark IS 'One row: every position up to it is decided. It never decreases.';

INSERT INTO {{schema}}.published_mark DEFAULT VALUES;

-- Reader's half: every position up to bound is decided. The order of the two
-- reads is the point: first what has been drawn, then who may still be writing.
-- The caller reads events in a later statement, with a newer snapshot, on the
-- same server: read_log_v1 and read_log_where_v1 refuse another one.
--
-- The bound is never above the highest visible position, because positions that
-- were drawn by rolled-back appends are drawn again after a crash.
CREATE FUNCTION {{schema}}.log_bound_v1(OUT bound bigint, OUT server timestamptz)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
DECLARE
    drawn  bigint;
    lowest bigint;
BEGIN
    server := {{schema}}.served_since();
    IF pg_is_in_recovery() THEN
        SELECT m.position INTO bound FROM {{schema}}.published_mark m;
        RETURN;
    END IF;
    drawn := pg_sequence_last_value('{{schema}}.events_position_seq');
    IF drawn IS NULL THEN
        SELECT coalesce(max(e.position), 0) INTO drawn FROM {{schema}}.events e;
    END IF;
    SELECT min(((l.classid::bigint & 65535) << 32) | l.objid::bigint)
    INTO lowest
    FROM pg_locks l
    WHERE l.locktype = 'advisory'
      AND l.objsubid = 1
      AND (l.classid::bigint >> 16) = {{namespace}}
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
    SELECT least(drawn, lowest, coalesce(max(e.position), 0)) INTO bound FROM {{schema}}.events e;
END
$$;

-- The generations of the log, oldest first, and what the server is now. The first
-- call on a server that has taken over, or was started again, begins a generation.
--
-- What is known to be common with the generation before is what had been written
-- down there: since when it was, the published mark, and how far readers of the log
-- had come. They were committed after every event that they stand for, so where
-- they have survived, those have. Nobody writes either before the generation has begun:
-- publish_mark_v1 calls this first, and the mark of a reader names its server.
--
-- On a replica, and in a session that may not write, the last generation is not
-- stored.
-- Index: lineage_pkey, checkpoints_pkey. Lock: none that others wait for.
CREATE FUNCTION {{schema}}.lineage_v1(
    OUT incarnations uuid[],
    OUT servers      text[],
    OUT sinces       bigint[],
    OUT started      timestamptz,
    OUT replica      boolean
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    here   text := {{schema}}.server_v1();
    last   {{schema}}.lineage;
    common bigint;
    mute   boolean := current_setting('transaction_read_only') = 'on';
BEGIN
    started := {{schema}}.served_since();
    replica := pg_is_in_recovery();
    SELECT l.* INTO STRICT last FROM {{schema}}.lineage l ORDER BY l.generation DESC LIMIT 1;
    IF last.server <> here THEN
        SELECT greatest(last.since, m.position, (SELECT max(c.position) FROM {{schema}}.checkpoints c WHERE c.part = '' AND c.server = last.server))
        INTO common
        FROM {{schema}}.published_mark m;
        IF NOT mute THEN
            INSERT INTO {{schema}}.lineage (generation, incarnation, server, since)
            VALUES (last.generation + 1, last.incarnation, here, common)
            ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    SELECT array_agg(l.incarnation ORDER BY l.generation), array_agg(l.server ORDER BY l.generation), array_agg(l.since ORDER BY l.generation)
    INTO incarnations, servers, sinces
    FROM (SELECT g.* FROM {{schema}}.lineage g ORDER BY g.generation DESC LIMIT 1000) l;
    IF mute AND servers[cardinality(servers)] <> here THEN
        incarnations := incarnations || last.incarnation;
        servers := servers || here;
        sinces := sinces || common;
    END IF;
END
$$;

-- Publishes the bound for replicas. The mark commits after everything that it
-- covers, so a replica that shows the mark shows that too.
-- Lock: the row of the mark, until commit.
CREATE FUNCTION {{schema}}.publish_mark_v1() RETURNS bigint
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    decided   bigint;
    published bigint;
BEGIN
    PERFORM {{schema}}.lineage_v1();
    SELECT b.bound INTO decided FROM {{schema}}.log_bound_v1() b;
    UPDATE {{schema}}.published_mark m
    SET position = decided,
        published_at = clock_timestamp()
    WHERE m.position < decided;
    SELECT m.position INTO published FROM {{schema}}.published_mark m;
    RETURN published;
END
$$;

-- Raises when the server is another one than it was for the caller before, or has
-- restarted since: after a failover positions may be drawn again.
CREATE FUNCTION {{schema}}.same_server(since timestamptz) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- served_since, written out: this runs before each page of the log.
    IF since <> (pg_postmaster_start_time() + CASE WHEN pg_is_in_recovery() THEN interval '1 microsecond' ELSE interval '0' END) THEN
        RAISE EXCEPTION 'the server is another one, or has restarted'
            USING ERRCODE = 'AN001', HINT = 'Ask for the lineage and the bound again.';
    END IF;
    RETURN true;
END
$$;

-- A page of the log, in order, whether it is final or not.
-- Index: events_pkey. Lock: none. Settings: a plan made while the table was
-- empty would scan and sort it for ever.
CREATE FUNCTION {{schema}}.read_log_v1(
    after_position bigint,
    most           integer,
    since          timestamptz
) RETURNS TABLE (
    "position"     bigint,
    category       text,
    stream_id      text,
    version        bigint,
    event_id       uuid,
    name           text,
    schema_version smallint,
    content_type   text,
    payload        bytea,
    metadata       bytea,
    closes         boolean,
    checksum       bytea,
    recorded_at    timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM {{schema}}.same_server(since) WHERE since IS NOT NULL;
    RETURN QUERY
    SELECT e.position, e.category, e.stream_id, e.version, e.event_id, e.name, e.schema_version,
           e.content_type, e.payload, e.metadata, e.closes, e.checksum, e.recorded_at
    FROM {{schema}}.events e
    WHERE e.position > after_position
    ORDER BY e.position
    LIMIT most;
END
$$;

-- A page of the events of some categories and names, NULL for all, up to a
-- position that the caller knows to be decided.
-- Index: events_kind_idx, one run for each pair of category and name, then
-- events_pkey. What does not match costs nothing, however much there is of it. A
-- run is asked for by comparing rows, which only events_kind_idx can answer: with
-- = for category and name the planner walks events_pkey once it has statistics
-- that call the pair frequent. Sorting is off so that the order of the run comes
-- from the index too; the few sorts that are left have no alternative. Lock: none.
CREATE FUNCTION {{schema}}.read_log_where_v1(
    after_position bigint,
    upto_position  bigint,
    most           integer,
    categories     text[],
    names          text[],
    since          timestamptz
) RETURNS TABLE (
    "position"     bigint,
    category       text,
    stream_id      text,
    version        bigint,
    event_id       uuid,
    name           text,
    schema_version smallint,
    content_type   text,
    payload        bytea,
    metadata       bytea,
    closes         boolean,
    checksum       bytea,
    recorded_at    timestamptz
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_sort = off
SET enable_incremental_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM {{schema}}.same_server(since) WHERE since IS NOT NULL;
    RETURN QUERY
    WITH RECURSIVE every_category (category) AS (
        (SELECT e.category FROM {{schema}}.events e WHERE categories IS NULL ORDER BY e.category LIMIT 1)
        UNION ALL
        SELECT (SELECT e.category FROM {{schema}}.events e WHERE e.category > c.category ORDER BY e.category LIMIT 1)
        FROM every_category c
        WHERE c.category IS NOT NULL
    ),
    wanted_category AS (
        SELECT DISTINCT g.category FROM unnest(categories) AS g (category)
        UNION ALL
        SELECT c.category FROM every_category c WHERE c.category IS NOT NULL
    ),
    every_kind (category, name) AS (
        SELECT c.category, (SELECT e.name FROM {{schema}}.events e WHERE e.category = c.category ORDER BY e.name LIMIT 1)
        FROM wanted_category c
        WHERE names IS NULL
        UNION ALL
        SELECT k.category, (SELECT e.name FROM {{schema}}.events e WHERE e.category = k.category AND e.name > k.name ORDER BY e.name LIMIT 1)
        FROM every_kind k
        WHERE k.name IS NOT NULL
    ),
    wanted_kind AS (
        SELECT c.category, g.name
        FROM wanted_category c
        CROSS JOIN (SELECT DISTINCT n.name FROM unnest(names) AS n (name)) g
        UNION ALL
        SELECT k.category, k.name FROM every_kind k WHERE k.name IS NOT NULL
    ),
    found AS (
        SELECT r.position
        FROM wanted_kind k
        CROSS JOIN LATERAL (
            SELECT e.position
            FROM {{schema}}.events e
            WHERE (e.category, e.name, e.position) > (k.category, k.name, after_position)
              AND (e.category, e.name, e.position) <= (k.category, k.name, upto_position)
            ORDER BY e.category, e.name, e.position
            LIMIT most
        ) r
        ORDER BY r.position
        LIMIT most
    )
    SELECT e.position, e.category, e.stream_id, e.version, e.event_id, e.name, e.schema_version,
           e.content_type, e.payload, e.metadata, e.closes, e.checksum, e.recorded_at
    FROM found f
    JOIN {{schema}}.events e ON e.position = f.position
    ORDER BY f.position;
END
$$;

-- The position after which the events recorded at or after a time begin, found
-- by halving: positions are drawn in the order of time, as far as the clock of
-- the server is. Index: events_pkey, about 50 look-ups.
CREATE FUNCTION {{schema}}.position_before_v1(instant timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    low    bigint := 0; -- what is at or before it was recorded before the instant
    high   bigint;      -- what is behind it was recorded at or after it
    middle bigint;
    place  bigint;
    stamp  timestamptz;
BEGIN
    SELECT coalesce(max(e.position), 0) INTO high FROM {{schema}}.events e;
    WHILE low < high LOOP
        middle := low + (high - low) / 2;
        SELECT e.position, e.recorded_at
        INTO place, stamp
        FROM {{schema}}.events e
        WHERE e.position > middle
        ORDER BY e.position
        LIMIT 1;
        IF stamp < instant THEN
            low := place;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END
$$;
