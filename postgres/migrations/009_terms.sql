-- Terms: who works on which segment of a reader, until when, and under which epoch.
--
-- Safe while an old version is live: it only creates, and an old version writes
-- marks without a term. Nothing to build concurrently first.
--
-- The second key is what makes a change of the epoch another kind of lock than a
-- heartbeat: an UPDATE of a column of a unique key takes FOR UPDATE, every other one
-- FOR NO KEY UPDATE. A batch holds FOR KEY SHARE, which lets the second pass and not
-- the first. DESIGN.md 16 has the protocol.
CREATE TABLE {{schema}}.terms (
    name        text        COLLATE "C" NOT NULL,
    segment     text        COLLATE "C" NOT NULL,
    epoch       bigint      NOT NULL,
    holder      text        COLLATE "C" NOT NULL,
    lease_until timestamptz NOT NULL,
    claimed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    paused      text        COLLATE "C" NOT NULL DEFAULT '',
    error       text        COLLATE "C" NOT NULL DEFAULT '',
    error_at    timestamptz,
    CONSTRAINT terms_pkey PRIMARY KEY (name, segment),
    CONSTRAINT terms_epoch_key UNIQUE (name, segment, epoch),
    CONSTRAINT terms_epoch_is_positive CHECK (epoch > 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE {{schema}}.terms IS 'The last term of each segment. The lease says when another worker may claim it; only the epoch says who may write.';

CREATE TABLE {{schema}}.members (
    name        text        COLLATE "C" NOT NULL,
    holder      text        COLLATE "C" NOT NULL,
    lease_until timestamptz NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (name, holder)
) WITH (fillfactor = 50);
COMMENT ON TABLE {{schema}}.members IS 'Who works for a reader, with a segment or without.';

-- Small rows that are updated often, like checkpoints: see 008_vacuum.sql.
ALTER TABLE {{schema}}.terms SET (
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE {{schema}}.members SET (
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);

-- The key of the lock by which pg_locks names who has a batch of a term open. It
-- keeps nobody out: all take it shared.
CREATE FUNCTION {{schema}}.term_key_v1(
    in_name    text,
    in_segment text,
    in_epoch   bigint,
    OUT high   integer,
    OUT low    integer
)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (h.key >> 32)::integer, ((h.key << 32) >> 32)::integer
    FROM (SELECT hashtextextended(format('annals term %L %L %L %s', '{{schema}}', in_name, in_segment, in_epoch), 0)) AS h (key)
$$;

-- Holds a term until the transaction ends, or raises AN002 if it is over. A claim
-- waits for that end, a heartbeat does not.
--
-- The limit on idling is for a worker that hangs, where who claims the segment may
-- not end its session. One that is set, and shorter, stays.
--
-- Index: terms_pkey. Lock: FOR KEY SHARE on the row, and the key of the term,
-- shared; both until the end of the transaction. Promise: P10.
CREATE FUNCTION {{schema}}.fence_v1(
    in_name    text,
    in_segment text,
    in_epoch   bigint,
    in_idle_ms integer -- 0: no limit
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    idle_ms double precision;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(k.high, k.low) FROM {{schema}}.term_key_v1(in_name, in_segment, in_epoch) k;
    IF in_idle_ms > 0 THEN
        idle_ms := 1000 * extract(epoch FROM current_setting('idle_in_transaction_session_timeout')::interval);
        IF idle_ms = 0 OR idle_ms > in_idle_ms THEN
            PERFORM set_config('idle_in_transaction_session_timeout', in_idle_ms::text, true);
        END IF;
    END IF;
    PERFORM
    FROM {{schema}}.terms t
    WHERE t.name = in_name
      AND t.segment = in_segment
      AND t.epoch = in_epoch
    FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'term % of segment % of % is over', in_epoch, in_segment, in_name
            USING ERRCODE = 'AN002';
    END IF;
END
$$;

-- A heartbeat: the holder is a member, and its terms go on. A term that somebody
-- else was given is left alone.
--
-- Index: members_pkey, terms_pkey. Lock: FOR NO KEY UPDATE on the rows of the
-- holder, in the order of segments, until the end of the statement's transaction:
-- open batches do not delay it, a claim of one of the segments does.
CREATE FUNCTION {{schema}}.renew_v1(
    in_name            text,
    in_holder          text,
    in_lease           interval,
    in_segments        text[],
    in_epochs          bigint[],
    in_report_segments text[],
    in_paused          text[],
    in_errors          text[],
    in_error_times     timestamptz[]
) RETURNS void
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
BEGIN
    INSERT INTO {{schema}}.members (name, holder, lease_until)
    VALUES (in_name, in_holder, clock_timestamp() + in_lease)
    ON CONFLICT ON CONSTRAINT members_pkey DO UPDATE
    SET lease_until = excluded.lease_until;

    PERFORM
    FROM {{schema}}.terms t
    WHERE t.name = in_name
      AND t.segment = ANY (in_segments)
      AND t.holder = in_holder
    ORDER BY t.segment
    FOR NO KEY UPDATE;

    WITH report AS (
        SELECT r.segment, r.paused, r.error, r.error_at
        FROM unnest(in_report_segments, in_paused, in_errors, in_error_times) AS r (segment, paused, error, error_at)
    )
    UPDATE {{schema}}.terms t
    SET lease_until = clock_timestamp() + in_lease,
        paused = coalesce(r.paused, t.paused),
        error = coalesce(r.error, t.error),
        error_at = CASE WHEN r.segment IS NULL THEN t.error_at ELSE r.error_at END
    FROM unnest(in_segments, in_epochs) AS g (segment, epoch)
    LEFT JOIN report r ON r.segment = g.segment
    WHERE t.name = in_name
      AND t.segment = g.segment
      AND t.epoch = g.epoch
      AND t.holder = in_holder;

    WITH gone AS (
        SELECT m.holder
        FROM {{schema}}.members m
        WHERE m.name = in_name
          AND m.lease_until < clock_timestamp() - 10 * in_lease
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM {{schema}}.members m
    USING gone g
    WHERE m.name = in_name
      AND m.holder = g.holder;
END
$$;

-- Begins the next term of a segment. Outcomes: 'claimed' (at_epoch is the new one);
-- 'moved' (the seat is at at_epoch, 0: there is none); 'running' (its lease has not
-- run out); 'busy' (batches are open, or somebody else claims it; open are their
-- sessions, and denied those that the caller may not end). Only 'claimed' has
-- changed something, but sessions may have been ended.
--
-- It ends who has a batch of the last term open: a worker that is frozen or hangs
-- does not end it itself. Only sessions that hold the key of that very term and a lock
-- on the table are ended, while the row is locked, so no heartbeat revives the lease
-- and nobody has begun the next term.
--
-- Index: terms_pkey. Lock: FOR NO KEY UPDATE on the row, then FOR UPDATE, which waits
-- for open batches; until the end of the statement's transaction, 200 ms at a time
-- and about 2 s in all. Promise: P10, of several callers one claims.
CREATE FUNCTION {{schema}}.claim_v1(
    in_name       text,
    in_holder     text,
    in_segment    text,
    in_lease      interval,
    in_epoch      bigint,
    in_seize      boolean,
    OUT outcome   text,
    OUT at_epoch  bigint,
    OUT at_holder text,
    OUT at_until  timestamptz,
    OUT open      integer[],
    OUT denied    integer[]
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET lock_timeout = '200ms'
AS $$
DECLARE
    last_try timestamptz := clock_timestamp() + interval '1800 ms';
    session  integer;
    locked   boolean := false; -- to the end, so that who is ended here waits for the outcome
BEGIN
    WHILE clock_timestamp() < last_try LOOP
        BEGIN
            IF NOT locked AND (in_epoch = 0 OR in_seize) THEN
                INSERT INTO {{schema}}.terms (name, segment, epoch, holder, lease_until)
                VALUES (in_name, in_segment, 1, in_holder, clock_timestamp() + in_lease)
                ON CONFLICT DO NOTHING;
                IF FOUND THEN
                    outcome := 'claimed';
                    at_epoch := 1;
                    RETURN;
                END IF;
            END IF;
            SELECT t.epoch, t.holder, t.lease_until
            INTO at_epoch, at_holder, at_until
            FROM {{schema}}.terms t
            WHERE t.name = in_name
              AND t.segment = in_segment
            FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                outcome := 'moved';
                at_epoch := 0;
                RETURN;
            END IF;
            IF NOT in_seize AND at_epoch <> in_epoch THEN
                outcome := 'moved';
                RETURN;
            END IF;
            IF NOT locked AND NOT in_seize AND at_until > clock_timestamp() THEN
                outcome := 'running';
                RETURN;
            END IF;
            locked := true;
        EXCEPTION WHEN lock_not_available THEN
            outcome := 'busy';
            CONTINUE;
        END;
        BEGIN
            open := '{}';
            denied := '{}';
            FOR session IN
                SELECT l.pid
                FROM {{schema}}.term_key_v1(in_name, in_segment, at_epoch) k
                JOIN pg_locks l ON l.locktype = 'advisory'
                               AND l.objsubid = 2
                               AND l.classid = (k.high & 4294967295::bigint)::oid
                               AND l.objid = (k.low & 4294967295::bigint)::oid
                WHERE l.granted
                  AND l.pid <> pg_backend_pid()
                  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
                  AND EXISTS (SELECT
                              FROM pg_locks r
                              WHERE r.pid = l.pid
                                AND r.locktype = 'relation'
                                AND r.relation = '{{schema}}.terms'::regclass)
            LOOP
                open := open || session;
                BEGIN
                    PERFORM pg_terminate_backend(session);
                EXCEPTION WHEN insufficient_privilege THEN
                    denied := denied || session;
                END;
            END LOOP;
            UPDATE {{schema}}.terms t
            SET epoch = t.epoch + 1,
                holder = in_holder,
                lease_until = clock_timestamp() + in_lease,
                claimed_at = clock_timestamp()
            WHERE t.name = in_name
              AND t.segment = in_segment;
            outcome := 'claimed';
            at_epoch := at_epoch + 1;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            outcome := 'busy';
        END;
    END LOOP;
END
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {{schema}} FROM PUBLIC;
