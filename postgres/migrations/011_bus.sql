-- The bus: what relays and the broker have agreed on about topics, and which messages
-- consumers have taken effect of.
--
-- Safe while an old version is live: it only creates. Nothing to build concurrently
-- first.
CREATE TABLE {{schema}}.topics (
    relay       text        COLLATE "C" NOT NULL,
    topic       text        COLLATE "C" NOT NULL,
    id          text        COLLATE "C" NOT NULL,
    partitions  integer     NOT NULL,
    replication integer     NOT NULL,
    min_in_sync integer     NOT NULL,
    retention   bigint      NOT NULL,
    max_bytes   bigint      NOT NULL,
    config      jsonb       NOT NULL DEFAULT '{}',
    owner       text        COLLATE "C" NOT NULL DEFAULT '',
    description text        COLLATE "C" NOT NULL DEFAULT '',
    decision    text        COLLATE "C" NOT NULL DEFAULT '',
    decided_by  text        COLLATE "C" NOT NULL DEFAULT '',
    agreed_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    revision    bigint      NOT NULL,
    CONSTRAINT topics_pkey PRIMARY KEY (relay, topic),
    CONSTRAINT topics_revision_is_positive CHECK (revision > 0)
);
COMMENT ON TABLE {{schema}}.topics IS 'What a relay and the broker have agreed on. Each write moves the revision by one.';
COMMENT ON COLUMN {{schema}}.topics.id IS 'Of the incarnation of the topic.';
COMMENT ON COLUMN {{schema}}.topics.retention IS 'Nanoseconds; 0: for ever.';

-- Rows are written once, and go when they are old. Columns lie so that none needs
-- padding.
CREATE TABLE {{schema}}.inbox (
    at          timestamptz NOT NULL DEFAULT now(),
    position    bigint      NOT NULL,
    recorded_at timestamptz,
    id          uuid        NOT NULL,
    consumer    text        COLLATE "C" NOT NULL,
    topic       text        COLLATE "C" NOT NULL,
    CONSTRAINT inbox_pkey PRIMARY KEY (consumer, id)
);
-- All rows of a transaction have one time, and it is the greatest: the index grows at
-- its end, and keeps the key once.
CREATE INDEX inbox_oldest_idx ON {{schema}}.inbox (consumer, at);
COMMENT ON TABLE {{schema}}.inbox IS 'Which messages have taken effect, written in the transaction of the effect.';
COMMENT ON COLUMN {{schema}}.inbox.at IS 'When it took effect. Decides only when the row goes.';
COMMENT ON COLUMN {{schema}}.inbox.position IS 'Of the event in the log of the topic''s relay; 0: it has none.';
COMMENT ON COLUMN {{schema}}.inbox.recorded_at IS 'Of the record, where there is no position.';

CREATE TABLE {{schema}}.inbox_floors (
    consumer    text        COLLATE "C" NOT NULL,
    topic       text        COLLATE "C" NOT NULL,
    position    bigint      NOT NULL,
    recorded_at timestamptz,
    at          timestamptz NOT NULL,
    CONSTRAINT inbox_floors_pkey PRIMARY KEY (consumer, topic)
);
COMMENT ON TABLE {{schema}}.inbox_floors IS 'How far a consumer has forgotten of a topic: of what lies there, nobody knows whether it took effect. They rise, and never go.';
COMMENT ON COLUMN {{schema}}.inbox_floors.recorded_at IS 'The greatest that was forgotten of what has no position; NULL: nothing was.';
COMMENT ON COLUMN {{schema}}.inbox_floors.at IS 'When something of it was forgotten last.';

-- Visited by a number of rows that come: only new pages are read then. And by a small
-- share of those that go: a large inbox is cleaned while little of it is dead.
ALTER TABLE {{schema}}.inbox SET (
    autovacuum_vacuum_insert_threshold = 1000000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_scale_factor = 0.02
);

-- Forgets at most this many of what a consumer remembered before a time, oldest first,
-- and raises the floors of their topics.
--
-- With the rights of the owner: nobody else can change a floor.
--
-- Index: inbox_oldest_idx, inbox_floors_pkey. Lock: the key of the consumer, so that of
-- several callers one deletes; the rows that go, and the floors, until the end of the
-- statement's transaction. Nobody but this locks rows that are visible, so it waits for
-- no consumer; a consumer waits for it that is given one of these messages again.
-- Promise: floors rise in the transaction in which the rows go.
CREATE FUNCTION {{schema}}.forget_v1(
    in_consumer text,
    in_before   timestamptz,
    in_limit    integer
) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_sort = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    forgotten integer;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(format('annals forget %L %L', '{{schema}}', in_consumer), 0));
    WITH gone AS (
        DELETE FROM {{schema}}.inbox i
        WHERE i.ctid = ANY (ARRAY(
            SELECT o.ctid
            FROM {{schema}}.inbox o
            WHERE o.consumer = in_consumer
              AND o.at < in_before
            ORDER BY o.at
            LIMIT in_limit
        ))
        RETURNING i.topic, i.position, i.recorded_at
    ),
    raised AS (
        INSERT INTO {{schema}}.inbox_floors AS f (consumer, topic, position, recorded_at, at)
        SELECT in_consumer, g.topic, max(g.position), max(g.recorded_at), clock_timestamp()
        FROM gone g
        GROUP BY g.topic
        ON CONFLICT ON CONSTRAINT inbox_floors_pkey DO UPDATE
        SET position = greatest(f.position, excluded.position),
            recorded_at = greatest(f.recorded_at, excluded.recorded_at),
            at = excluded.at
    )
    SELECT count(*)
    INTO forgotten
    FROM gone;
    RETURN forgotten;
END
$$;

-- Takes rows back that a consumer has just inserted, and that lie where something was
-- forgotten.
--
-- With the rights of the owner, and only what lies there: so nothing that a service can
-- do makes a message new again that has taken effect.
--
-- Index: inbox_pkey, inbox_floors_pkey. Lock: the rows, which are the caller's.
CREATE FUNCTION {{schema}}.take_back_v1(
    in_consumer text,
    in_ids      uuid[]
) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
    taken uuid;
BEGIN
    -- One by one, because each is found by its whole key then, whatever statistics say.
    FOREACH taken IN ARRAY in_ids LOOP
        DELETE FROM {{schema}}.inbox i
        WHERE i.consumer = in_consumer
          AND i.id = taken
          AND EXISTS (
              SELECT
              FROM {{schema}}.inbox_floors f
              WHERE f.consumer = i.consumer
                AND f.topic = i.topic
                AND CASE WHEN i.position > 0 THEN f.position >= i.position ELSE f.recorded_at >= i.recorded_at END
          );
    END LOOP;
END
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {{schema}} FROM PUBLIC;
