-- Parking: keys whose first event did not take effect, and what is held aside for
-- them, in order.
--
-- Safe while an old version is live: it only creates. Nothing to build concurrently
-- first.
CREATE TABLE {{schema}}.parked (
    name     text        COLLATE "C" NOT NULL,
    part     text        COLLATE "C" NOT NULL,
    key      text        COLLATE "C" NOT NULL,
    state    text        COLLATE "C" NOT NULL,
    since    timestamptz NOT NULL,
    next_at  timestamptz,
    attempts integer     NOT NULL,
    error    text        COLLATE "C" NOT NULL DEFAULT '',
    stack    text        COLLATE "C" NOT NULL DEFAULT '',
    version  text        COLLATE "C" NOT NULL DEFAULT '',
    history  jsonb       NOT NULL DEFAULT '[]',
    owner    text        COLLATE "C" NOT NULL DEFAULT '',
    note     text        COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT parked_pkey PRIMARY KEY (name, part, key),
    CONSTRAINT parked_state_is_known CHECK (state IN ('retrying', 'waiting')),
    CONSTRAINT parked_attempts_are_counted CHECK (attempts >= 0),
    CONSTRAINT parked_history_is_bounded CHECK (jsonb_array_length(history) <= 20)
) WITH (fillfactor = 80);
COMMENT ON TABLE {{schema}}.parked IS 'Written with the mark of its part, whose revision guards it: see annals parked.';

-- Without a cascade: a key that still has events does not go.
CREATE TABLE {{schema}}.parked_items (
    name text   COLLATE "C" NOT NULL,
    part text   COLLATE "C" NOT NULL,
    key  text   COLLATE "C" NOT NULL,
    seq  bigint NOT NULL,
    data bytea,
    CONSTRAINT parked_items_pkey PRIMARY KEY (name, part, key, seq),
    CONSTRAINT parked_items_key_is_parked FOREIGN KEY (name, part, key) REFERENCES {{schema}}.parked (name, part, key)
);
COMMENT ON COLUMN {{schema}}.parked_items.data IS 'What was received; NULL: it is the event of the log at position seq.';

CREATE TABLE {{schema}}.parked_audits (
    id     bigint      GENERATED ALWAYS AS IDENTITY,
    name   text        COLLATE "C" NOT NULL,
    part   text        COLLATE "C" NOT NULL,
    key    text        COLLATE "C" NOT NULL,
    at     timestamptz NOT NULL,
    actor  text        COLLATE "C" NOT NULL,
    action text        COLLATE "C" NOT NULL,
    seq    bigint      NOT NULL DEFAULT 0,
    detail text        COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT parked_audits_pkey PRIMARY KEY (id)
);
CREATE INDEX parked_audits_newest_idx ON {{schema}}.parked_audits (name, at DESC, id DESC);
COMMENT ON TABLE {{schema}}.parked_audits IS 'Who has done what about parked keys. Only ever added to.';

-- How many events are behind a position, counted up to most, and when the first
-- of them was recorded.
-- Index: events_pkey. Lock: none. Promise: at most most rows are read.
CREATE FUNCTION {{schema}}.lag_v1(
    after_position bigint,
    most           integer,
    OUT events     bigint,
    OUT since      timestamptz
)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    SELECT count(*)
    INTO events
    FROM (SELECT FROM {{schema}}.events e WHERE e.position > after_position ORDER BY e.position LIMIT most) behind;
    SELECT e.recorded_at
    INTO since
    FROM {{schema}}.events e
    WHERE e.position > after_position
    ORDER BY e.position
    LIMIT 1;
END
$$;

REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {{schema}} FROM PUBLIC;
