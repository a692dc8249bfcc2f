-- Append: one call, one round trip.
--
-- Outcomes: 'appended'; 'repeated' (the same events were appended before);
-- 'reused' (taken_id of the stream is something else's; at_version is where);
-- 'closed' and 'conflict' (at_version is the stream's); 'absent' (nothing
-- speaks against it now). Only 'appended' has written.
--
-- Promises: P3, P4. The unique key on (category, stream_id, version) is the
-- referee between rivals: the loser gets 23505 and calls again. A version is
-- drawn only after its predecessor is visible, and positions are drawn after
-- that check, so the order of the log extends the order of each stream.
--
-- Index: events_version_key for the version, events_id_key for ids.
-- Lock: the mark of mark_append; a row lock on the unique key, until commit.
-- Rights: 007_roles.sql.

-- Whether a stream at a version meets what an append expects.
CREATE FUNCTION {{schema}}.allows(expect text, expected bigint, actual bigint) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE expect
               WHEN 'any' THEN true
               WHEN 'none' THEN actual = 0
               WHEN 'exists' THEN actual > 0
               WHEN 'exact' THEN actual = expected
           END
$$;

-- What has become of an append that has not been written. An equality of rows is
-- written as two comparisons, which only events_id_key can answer: with = the
-- planner may read the whole stream by events_version_key and join that.
CREATE FUNCTION {{schema}}.look_up_v1(
    in_category      text,
    in_stream_id     text,
    in_expect        text,      -- any, none, exists, exact
    in_expected      bigint,    -- for exact
    in_event_ids     uuid[],
    in_names         text[],
    in_schemas       smallint[],
    in_content_types text[],
    in_payloads      bytea[],
    in_closes        boolean,
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
    given  bigint := cardinality(in_event_ids);
    found  bigint;
    same   bigint;
    first  bigint;
    last   bigint;
    closed boolean;
BEGIN
    -- First the stream, then the ids: whoever is refused for what the stream has by
    -- now, and sent these events before, finds them if it was they that it has.
    SELECT e.version, e.closes
    INTO at_version, closed
    FROM {{schema}}.events e
    WHERE e.category = in_category
      AND e.stream_id = in_stream_id
    ORDER BY e.version DESC
    LIMIT 1;

    SELECT count(*),
           count(*) FILTER (WHERE e.name = g.name
                              AND e.schema_version = g.schema_version
                              AND e.content_type = g.content_type
                              AND e.payload = g.payload
                              AND e.closes = (in_closes AND g.place = given)
                              AND e.version - g.place = f.version - 1),
           min(e.version),
           max(e.version)
    INTO found, same, first, last
    FROM unnest(in_event_ids, in_names, in_schemas, in_content_types, in_payloads)
         WITH ORDINALITY AS g (event_id, name, schema_version, content_type, payload, place)
    JOIN {{schema}}.events e
      ON (e.event_id, e.category, e.stream_id) >= (g.event_id, in_category, in_stream_id)
     AND (e.event_id, e.category, e.stream_id) <= (g.event_id, in_category, in_stream_id)
    LEFT JOIN {{schema}}.events f
      ON (f.event_id, f.category, f.stream_id) >= (in_event_ids[1], in_category, in_stream_id)
     AND (f.event_id, f.category, f.stream_id) <= (in_event_ids[1], in_category, in_stream_id);

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

    at_version := coalesce(at_version, 0);
    outcome := CASE
                   WHEN closed THEN 'closed'
                   WHEN {{schema}}.allows(in_expect, in_expected, at_version) THEN 'absent'
                   ELSE 'conflict'
               END;
END
$$;

-- One append to one stream. Each setting of a function costs about 5
-- microseconds of a call, and this one is called most: it has only the one that
-- its plans need, and names the schema of all that it uses.
CREATE FUNCTION {{schema}}.append_v1(
    in_category      text,
    in_stream_id     text,
    in_expect        text,
    in_expected      bigint,
    in_event_ids     uuid[],
    in_names         text[],
    in_schemas       smallint[],
    in_content_types text[],
    in_payloads      bytea[],
    in_metadatas     bytea[],
    in_closes        boolean,
    in_look_up       boolean,   -- whether to look for the ids first: after 23505 on events_id_key
    OUT outcome      text,
    OUT at_version   bigint,
    OUT at_position  bigint,
    OUT taken_id     uuid
)
LANGUAGE plpgsql VOLATILE
SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
    given    bigint := cardinality(in_event_ids);
    actual   bigint;
    closed   boolean;
    inserted bigint;
BEGIN
    -- The usual case, all in one statement: one event, which the stream allows.
    IF given = 1 AND NOT in_look_up THEN
        INSERT INTO {{schema}}.events
            (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum)
        SELECT in_category, in_stream_id, coalesce(l.version, 0) + 1, in_event_ids[1], in_names[1], in_schemas[1],
               in_content_types[1], in_payloads[1], in_metadatas[1], in_closes,
               {{schema}}.checksum_v1(in_category, in_stream_id, coalesce(l.version, 0) + 1, in_event_ids[1], in_names[1], in_schemas[1],
                                      in_content_types[1], in_payloads[1], in_metadatas[1], in_closes)
        FROM (VALUES (true)) AS one
        LEFT JOIN LATERAL (
            SELECT e.version, e.closes
            FROM {{schema}}.events e
            WHERE e.category = in_category
              AND e.stream_id = in_stream_id
            ORDER BY e.version DESC
            LIMIT 1
        ) l ON true
        WHERE l.closes IS NOT TRUE
          AND {{schema}}.allows(in_expect, in_expected, coalesce(l.version, 0))
        RETURNING version, position
        INTO at_version, at_position;
        IF at_position IS NOT NULL THEN
            outcome := 'appended';
            RETURN;
        END IF;
    END IF;

    SELECT e.version, e.closes
    INTO actual, closed
    FROM {{schema}}.events e
    WHERE e.category = in_category
      AND e.stream_id = in_stream_id
    ORDER BY e.version DESC
    LIMIT 1;
    actual := coalesce(actual, 0);

    -- A repeat is so unlikely while the stream allows the append that it is left
    -- to the unique key on ids, which costs no look-up.
    IF in_look_up OR closed OR NOT {{schema}}.allows(in_expect, in_expected, actual) THEN
        SELECT l.outcome, l.at_version, l.at_position, l.taken_id
        INTO outcome, at_version, at_position, taken_id
        FROM {{schema}}.look_up_v1(in_category, in_stream_id, in_expect, in_expected,
                                   in_event_ids, in_names, in_schemas, in_content_types, in_payloads, in_closes) l;
        IF outcome <> 'absent' THEN
            RETURN;
        END IF;
        actual := at_version;
    END IF;

    outcome := 'appended';
    at_version := actual + given;
    WITH written AS (
        INSERT INTO {{schema}}.events
            (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum)
        SELECT in_category, in_stream_id, actual + g.place, g.event_id, g.name, g.schema_version, g.content_type, g.payload, g.metadata, in_closes AND g.place = given,
               {{schema}}.checksum_v1(in_category, in_stream_id, actual + g.place, g.event_id, g.name, g.schema_version, g.content_type, g.payload, g.metadata, in_closes AND g.place = given)
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
END
$$;

-- Appends to several streams, one to each, in one statement. An append that the
-- state of its stream refuses is left out; with in_together nothing is written
-- then. The caller gives the streams in sorted order, so that two such
-- statements do not wait for each other in a circle.
--
-- Without in_together the appends have nothing to do with each other, so none
-- shall wait long for a stream that another one writes to: beyond 50 ms all
-- fail with 55P03, and are sent one by one.
--
-- For each append: whether it was admitted, and the version of its stream
-- before. For each event of the admitted ones, in order: its position. For each
-- append that was refused, unless in_together: what look_up_v1 says.
CREATE FUNCTION {{schema}}.append_all_v1(
    in_categories    text[],     -- of each append
    in_stream_ids    text[],
    in_expects       text[],
    in_expecteds     bigint[],
    in_closes        boolean[],
    in_counts        integer[],  -- how many of the events that follow are its
    in_appends       integer[],  -- of each event: which append, from 1
    in_places        integer[],  -- and its place in that, from 1
    in_event_ids     uuid[],
    in_names         text[],
    in_schemas       smallint[],
    in_content_types text[],
    in_payloads      bytea[],
    in_metadatas     bytea[],
    in_together      boolean,
    OUT admitted     boolean[],
    OUT actuals      bigint[],
    OUT positions    bigint[],
    OUT outcomes     text[],
    OUT at_versions  bigint[],
    OUT at_positions bigint[],
    OUT taken_ids    uuid[]
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
    given integer := 0;
    last  integer := 0;
    found record;
BEGIN
    IF NOT in_together THEN
        PERFORM set_config('lock_timeout', '50ms', true);
    END IF;
    SELECT array_agg(coalesce(l.version, 0) ORDER BY r.place),
           array_agg(l.closes IS NOT TRUE AND {{schema}}.allows(r.expect, r.expected, coalesce(l.version, 0)) ORDER BY r.place)
    INTO actuals, admitted
    FROM unnest(in_categories, in_stream_ids, in_expects, in_expecteds)
         WITH ORDINALITY AS r (category, stream_id, expect, expected, place)
    LEFT JOIN LATERAL (
        SELECT e.version, e.closes
        FROM {{schema}}.events e
        WHERE e.category = r.category
          AND e.stream_id = r.stream_id
        ORDER BY e.version DESC
        LIMIT 1
    ) l ON true;

    IF in_together AND false = ANY (admitted) THEN
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(in_counts) LOOP
        -- Whoever calls, versions are dense and in the order of positions.
        FOR place IN 1 .. in_counts[i] LOOP
            IF in_appends[last + place] IS DISTINCT FROM i OR in_places[last + place] IS DISTINCT FROM place THEN
                RAISE EXCEPTION 'append to % streams: event % is out of its place', cardinality(in_counts), last + place
                    USING ERRCODE = 'invalid_parameter_value';
            END IF;
        END LOOP;
        IF admitted[i] THEN
            given := given + in_counts[i];
        ELSE
            IF outcomes IS NULL THEN -- from 1 on: the first subscript assigned would be the lower bound
                outcomes := array_fill(NULL::text, ARRAY[cardinality(in_counts)]);
                at_versions := array_fill(NULL::bigint, ARRAY[cardinality(in_counts)]);
                at_positions := at_versions;
                taken_ids := array_fill(NULL::uuid, ARRAY[cardinality(in_counts)]);
            END IF;
            SELECT l.*
            INTO found
            FROM {{schema}}.look_up_v1(
                in_categories[i], in_stream_ids[i], in_expects[i], in_expecteds[i],
                in_event_ids[last + 1 : last + in_counts[i]], in_names[last + 1 : last + in_counts[i]],
                in_schemas[last + 1 : last + in_counts[i]], in_content_types[last + 1 : last + in_counts[i]],
                in_payloads[last + 1 : last + in_counts[i]], in_closes[i]) l;
            outcomes[i] := found.outcome;
            at_versions[i] := found.at_version;
            at_positions[i] := found.at_position;
            taken_ids[i] := found.taken_id;
        END IF;
        last := last + in_counts[i];
    END LOOP;
    IF cardinality(in_appends) <> last THEN
        RAISE EXCEPTION 'append to % streams: % events, want % as counted', cardinality(in_counts), cardinality(in_appends), last
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF given = 0 THEN
        RETURN;
    END IF;

    WITH written AS (
        INSERT INTO {{schema}}.events
            (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum)
        SELECT in_categories[g.append], in_stream_ids[g.append], actuals[g.append] + g.place, g.event_id, g.name, g.schema_version,
               g.content_type, g.payload, g.metadata, in_closes[g.append] AND g.place = in_counts[g.append],
               {{schema}}.checksum_v1(in_categories[g.append], in_stream_ids[g.append], actuals[g.append] + g.place, g.event_id, g.name, g.schema_version,
                                      g.content_type, g.payload, g.metadata, in_closes[g.append] AND g.place = in_counts[g.append])
        FROM unnest(in_appends, in_places, in_event_ids, in_names, in_schemas, in_content_types, in_payloads, in_metadatas)
             WITH ORDINALITY AS g (append, place, event_id, name, schema_version, content_type, payload, metadata, event)
        WHERE admitted[g.append]
        ORDER BY g.event
        RETURNING position
    )
    SELECT array_agg(w.position ORDER BY w.position)
    INTO positions
    FROM written w;

    IF cardinality(positions) IS DISTINCT FROM given THEN
        RAISE EXCEPTION 'append to % streams: % of % events were inserted', cardinality(in_counts), coalesce(cardinality(positions), 0), given
            USING HINT = 'A trigger or rule on the events table swallows rows. Remove it.';
    END IF;
END
$$;
