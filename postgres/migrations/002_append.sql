-- Append: one call, one round trip.
--
-- Outcomes: 'appended'; 'repeated' (the same events were appended before);
-- 'conflict' (at_version is the stream's); 'reused' (taken_id of the stream is
-- something else's; at_version is where). Only 'appended' has written.
--
-- Promises: P3, P4. The unique key on (category, stream_id, version) is the
-- referee between rivals: the loser gets 23505 and calls again. A version is
-- drawn only after its predecessor is visible, and positions are drawn after
-- that check, so the order of the log extends the order of each stream.
--
-- Index: events_version_key for the version, events_id_key for ids.
-- Lock: the mark of mark_append; a row lock on the unique key, until commit.
-- It runs with the rights of its caller.
CREATE FUNCTION {{schema}}.append_v1(
    in_category      text,
    in_stream_id     text,
    in_expect        text,      -- any, none, exists, exact
    in_expected      bigint,    -- for exact
    in_event_ids     uuid[],
    in_names         text[],
    in_schemas       smallint[],
    in_content_types text[],
    in_payloads      bytea[],
    in_metadatas     bytea[],
    in_look_up       boolean,   -- whether to look for the ids first: after 23505 on events_id_key
    OUT outcome      text,
    OUT at_version   bigint,
    OUT at_position  bigint,
    OUT taken_id     uuid
)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    given    bigint := cardinality(in_event_ids);
    actual   bigint;
    allowed  boolean;
    found    bigint;
    same     bigint;
    first    bigint;
    last     bigint;
    inserted bigint;
BEGIN
    SELECT e.version
    INTO actual
    FROM {{schema}}.events e
    WHERE e.category = in_category
      AND e.stream_id = in_stream_id
    ORDER BY e.version DESC
    LIMIT 1;
    actual := coalesce(actual, 0);
    allowed := CASE in_expect
                   WHEN 'any' THEN true
                   WHEN 'none' THEN actual = 0
                   WHEN 'exists' THEN actual > 0
                   WHEN 'exact' THEN actual = in_expected
               END;

    -- An exact version that still holds makes a repeat so unlikely that it is
    -- left to the unique key on ids, which costs no look-up.
    IF in_look_up OR NOT allowed OR in_expect IN ('any', 'exists') THEN
        SELECT count(*),
               count(*) FILTER (WHERE e.name = g.name
                                  AND e.schema_version = g.schema_version
                                  AND e.content_type = g.content_type
                                  AND e.payload = g.payload
                                  AND e.version - g.place = f.version - 1),
               min(e.version),
               max(e.version)
        INTO found, same, first, last
        FROM unnest(in_event_ids, in_names, in_schemas, in_content_types, in_payloads)
             WITH ORDINALITY AS g (event_id, name, schema_version, content_type, payload, place)
        JOIN {{schema}}.events e
          ON e.event_id = g.event_id
         AND e.category = in_category
         AND e.stream_id = in_stream_id
        LEFT JOIN {{schema}}.events f
          ON f.event_id = in_event_ids[1]
         AND f.category = in_category
         AND f.stream_id = in_stream_id;

        IF found > 0 THEN
            outcome := CASE WHEN same = given THEN 'repeated' ELSE 'reused' END;
            SELECT e.version, e.position, e.event_id
            INTO at_version, at_position, taken_id
            FROM {{schema}}.events e
            WHERE e.category = in_category
              AND e.stream_id = in_stream_id
              AND e.version = CASE WHEN same = given THEN last ELSE first END;
            RETURN;
        END IF;

        IF NOT allowed THEN
            outcome := 'conflict';
            at_version := actual;
            RETURN;
        END IF;
    END IF;

    WITH written AS (
        INSERT INTO {{schema}}.events
            (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
        SELECT in_category, in_stream_id, actual + g.place, g.event_id, g.name, g.schema_version, g.content_type, g.payload, g.metadata
        FROM unnest(in_event_ids, in_names, in_schemas, in_content_types, in_payloads, in_metadatas)
             WITH ORDINALITY AS g (event_id, name, schema_version, content_type, payload, metadata, place)
        ORDER BY g.place
        RETURNING position
    )
    SELECT count(*), max(w.position)
    INTO inserted, at_position
    FROM written w;

    IF inserted <> given THEN
        RAISE EXCEPTION 'append %-%: % of % events were inserted', in_category, in_stream_id, inserted, given
            USING HINT = 'A trigger or rule on the events table swallows rows. Remove it.';
    END IF;
    outcome := 'appended';
    at_version := actual + given;
END
$$;
