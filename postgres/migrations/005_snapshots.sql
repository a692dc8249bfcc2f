-- Snapshots of folded streams: a cache of what the events say.
--
-- Safe while an old version is live: it only creates, and an old version never
-- looks here. Nothing to build concurrently first.
--
-- Logged, although it is a cache: the server empties an unlogged table when it
-- recovers from a crash, and all long streams would be folded anew at once.
CREATE TABLE {{schema}}.snapshots (
    category     text        COLLATE "C" NOT NULL,
    stream_id    text        COLLATE "C" NOT NULL,
    fingerprint  bytea       NOT NULL,
    format       smallint    NOT NULL,
    version      bigint      NOT NULL,
    position     bigint      NOT NULL,
    event_id     uuid        NOT NULL,
    content_type text        COLLATE "C" NOT NULL,
    state        bytea       NOT NULL,
    checksum     bytea       NOT NULL,
    saved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT snapshots_pkey PRIMARY KEY (category, stream_id, fingerprint),
    CONSTRAINT snapshots_state_is_bounded CHECK (octet_length(state) <= 8388608)
);
COMMENT ON TABLE {{schema}}.snapshots IS 'A cache: rows may be deleted at any time. One for each stream and fingerprint of the program that reads it.';

-- The snapshot of a stream for a fingerprint, or else a row that says whether
-- it has others. Only one statement is run when there is one.
--
-- Index: snapshots_pkey. Lock: none. Promise: the cost does not depend on the
-- number of snapshots, whenever the plan was made.
CREATE FUNCTION {{schema}}.load_snapshot_v1(
    in_category    text,
    in_stream_id   text,
    in_fingerprint bytea
) RETURNS TABLE (
    format       smallint,
    version      bigint,
    at_position  bigint,
    event_id     uuid,
    content_type text,
    state        bytea,
    checksum     bytea,
    others       boolean
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT s.format, s.version, s.position, s.event_id, s.content_type, s.state, s.checksum, false
    FROM {{schema}}.snapshots s
    WHERE s.category = in_category
      AND s.stream_id = in_stream_id
      AND s.fingerprint = in_fingerprint;
    IF NOT FOUND THEN
        RETURN QUERY
        SELECT 0::smallint, 0::bigint, 0::bigint, '00000000-0000-0000-0000-000000000000'::uuid, ''::text, ''::bytea, ''::bytea, EXISTS (
            SELECT
            FROM {{schema}}.snapshots s
            WHERE s.category = in_category
              AND s.stream_id = in_stream_id
        );
    END IF;
END
$$;

-- Deletes one snapshot, if it is still the one that the caller has seen.
--
-- Index: snapshots_pkey. Lock: the row, until the end of the statement's
-- transaction. Promise: one that was saved since then stays.
CREATE FUNCTION {{schema}}.drop_snapshot_v1(
    in_category    text,
    in_stream_id   text,
    in_fingerprint bytea,
    in_version     bigint,
    in_checksum    bytea
) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
BEGIN
    DELETE FROM {{schema}}.snapshots s
    WHERE s.category = in_category
      AND s.stream_id = in_stream_id
      AND s.fingerprint = in_fingerprint
      AND s.version = in_version
      AND s.checksum = in_checksum;
    RETURN FOUND;
END
$$;

-- Looks at the next snapshots behind a key, in the order of keys, and deletes
-- those among them that the conditions select. It returns the last key that it
-- has looked at, NULL if there are no more behind it, and how many are gone: a
-- page without any to delete is not the end.
--
-- Two statements that compare rows, because nothing but the key can answer them;
-- a join with the page may be planned the wrong way around.
--
-- Index: snapshots_pkey. Lock: the rows deleted, until the end of the
-- statement's transaction. Promise: a row that was saved again meanwhile is
-- judged as it is now. States are not read.
CREATE FUNCTION {{schema}}.delete_snapshots_v1(
    after_category    text,
    after_stream_id   text,
    after_fingerprint bytea,
    most              integer,
    of_category       text,
    of_stream_id      text,
    except_for        bytea[],
    saved_before      timestamptz,
    OUT last_category    text,
    OUT last_stream_id   text,
    OUT last_fingerprint bytea,
    OUT gone             bigint
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    SELECT s.category, s.stream_id, s.fingerprint
    INTO last_category, last_stream_id, last_fingerprint
    FROM {{schema}}.snapshots s
    WHERE (s.category, s.stream_id, s.fingerprint) > (after_category, after_stream_id, after_fingerprint)
    ORDER BY s.category, s.stream_id, s.fingerprint
    OFFSET most - 1
    LIMIT 1;
    IF FOUND THEN
        DELETE FROM {{schema}}.snapshots s
        WHERE (s.category, s.stream_id, s.fingerprint) > (after_category, after_stream_id, after_fingerprint)
          AND (s.category, s.stream_id, s.fingerprint) <= (last_category, last_stream_id, last_fingerprint)
          AND (of_category = '' OR s.category = of_category)
          AND (of_stream_id = '' OR s.stream_id = of_stream_id)
          AND s.fingerprint <> ALL (except_for)
          AND (saved_before IS NULL OR s.saved_at < saved_before);
    ELSE
        DELETE FROM {{schema}}.snapshots s
        WHERE (s.category, s.stream_id, s.fingerprint) > (after_category, after_stream_id, after_fingerprint)
          AND (of_category = '' OR s.category = of_category)
          AND (of_stream_id = '' OR s.stream_id = of_stream_id)
          AND s.fingerprint <> ALL (except_for)
          AND (saved_before IS NULL OR s.saved_at < saved_before);
    END IF;
    GET DIAGNOSTICS gone = ROW_COUNT;
END
$$;
