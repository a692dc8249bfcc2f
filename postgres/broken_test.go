package postgres_test

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// broken are the designs that somebody will want to go back to. Those with
// edits read with the reader of Annals.
var broken = []design{
	{
		name: "the cursor alone",
		read: func(ctx context.Context, r *reader) (page, error) { return r.pageOf(r.events(ctx, r.pool, unbounded)) },
		caught: []catch{
			{"open append", "lost [a]"},
			{"draw at each step of the reader", "lost [a1"},
		},
	},
	{
		name:   "transactions below xmin, cursor by position",
		change: addXID,
		alone:  true,
		read:   belowXmin,
		caught: []catch{
			{"transaction with an older id appends later", "lost [d]"},
			{"unrelated transactions", "beside an open write in the same database: stalled, without [1]"},
			{"unrelated transactions", "beside an open write in another database: stalled, without [2]"},
		},
	},
	{
		name:   "transactions below xmin, ordered by their ids",
		change: addXID,
		alone:  true,
		read:   byXID,
		caught: []catch{
			{"append after another write", "inverted: s after s@2"},
			{"unrelated transactions", "beside an open write in another database: stalled, without [2]"},
		},
	},
	{
		name: "a hole given up after ten minutes",
		read: holesGivenUp,
		caught: []catch{
			{"append open for an hour", "lost [a]"},
		},
	},
	{
		name: "the bound and the events in one statement",
		read: oneStatement,
		caught: []catch{
			{"commit at each step of the reader", "lost [a2]"},
		},
	},
	{
		name: "the events before the bound",
		read: eventsBeforeBound,
		caught: []catch{
			{"commit at each step of the reader", "lost [a2]"},
		},
	},
	{
		name: "all statements in one snapshot",
		read: func(ctx context.Context, r *reader) (page, error) { return atLevel(ctx, r, pgx.RepeatableRead, true) },
		caught: []catch{
			{"commit at each step of the reader", "lost [a3]"},
			{"commit inside of the bound", "lost [a"},
		},
	},
	{
		name: "the bound and the events in one snapshot",
		read: func(ctx context.Context, r *reader) (page, error) { return atLevel(ctx, r, pgx.RepeatableRead, false) },
		caught: []catch{
			{"commit inside of the bound", "lost [a before drawn a before locks]"},
		},
	},
	{
		name: "the isolation level left to the session",
		read: func(ctx context.Context, r *reader) (page, error) { return atLevel(ctx, r, "", false) },
		caught: []catch{
			{"repeatable read by default", "lost [a before drawn a before locks]"},
			{"serializable by default", "lost [a before drawn a before locks]"},
		},
	},
	{
		name:  "the cursor at the bound",
		edits: []edit{{"log_bound_v1", leastOfAll, "bound := least(drawn, lowest)"}},
		read:  cursorAtBound,
		caught: []catch{
			{"crash takes positions back", "lost [after]"},
		},
	},
	{
		name:  "locks without what was drawn before them",
		edits: []edit{{"log_bound_v1", leastOfAll, "bound := coalesce(lowest, 281474976710655)"}},
		read:  readLog,
		caught: []catch{
			{"draw at each step of the reader", "lost [a3 a4]"},
		},
	},
	{
		name: "what was drawn, read after the locks",
		edits: []edit{
			{"log_bound_v1", drawn, ""},
			{"log_bound_v1", leastOfAll, drawn + leastOfAll},
		},
		read: readLog,
		caught: []catch{
			{"draw inside of the bound", "lost [a before drawn]"},
		},
	},
	{
		name:  "only locks that show a pid",
		edits: []edit{{"log_bound_v1", "l.locktype = 'advisory'", "l.locktype = 'advisory' AND l.pid IS NOT NULL"}},
		read:  readLog,
		caught: []catch{
			{"prepared transactions", "lost [a]"},
		},
	},
	{
		name:  "locks of every schema",
		edits: []edit{{"log_bound_v1", "(l.classid::bigint >> 16) = {{namespace}}", "true"}},
		read:  readLog,
		caught: []catch{
			{"appends to other stores", "beside an open append to another schema: stalled, without [1]"},
		},
	},
	{
		name:  "locks of every database",
		edits: []edit{{"log_bound_v1", "l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())", "true"}},
		read:  readLog,
		caught: []catch{
			{"appends to other stores", "beside an open append to another database: stalled"},
		},
	},
	{
		name:   "a sequence that caches",
		change: `ALTER TABLE annals.events ALTER COLUMN position SET CACHE 10`,
		read:   readLog,
		caught: []catch{
			{"second append of a session", "lost [a]"},
		},
	},
	{
		name:   "a sequence without an end",
		change: `ALTER TABLE annals.events ALTER COLUMN position SET MAXVALUE 9223372036854775807`,
		read:   readLog,
		caught: []catch{
			{"last position", "appended at 281474976710657 with the marks [0]"},
		},
	},
	{
		name:  "no last value taken for zero",
		edits: []edit{{"log_bound_v1", "SELECT coalesce(max(e.position), 0) INTO drawn", "SELECT 0 INTO drawn"}},
		read:  readLog,
		caught: []catch{
			{"sequence set, not yet drawn from", "behind a sequence that was set: stalled, without [b]"},
		},
	},
	{
		name:  "no last value taken for no limit",
		edits: []edit{{"log_bound_v1", "IF drawn IS NULL THEN", "IF false THEN"}},
		read:  readLog,
		caught: []catch{
			{"draw inside of the bound of a sequence that was set", "lost [a before top]"},
		},
	},
	{
		name: "a mark for the first append, noted for the whole transaction",
		// A rollback to a savepoint does not give back a lock of the session.
		edits: []edit{
			{"mark_append", "    held text := ", `    noted boolean := EXISTS (
        SELECT
        FROM pg_locks l
        WHERE l.locktype = 'advisory'
          AND l.pid = pg_backend_pid()
          AND l.classid = 0
          AND l.objid::bigint = pg_current_xact_id()::text::bigint
    );
    held text := CASE WHEN NOT noted THEN `},
			{"mark_append", "::bigint)::text;", "::bigint)::text END;"},
			{"mark_append", "BEGIN\n", "BEGIN\n    PERFORM pg_advisory_lock_shared(pg_current_xact_id()::text::bigint);\n"},
		},
		read: readLog,
		caught: []catch{
			{"rollback to a savepoint", "lost [a]"},
		},
	},
	{
		name:  "a mark for each append",
		edits: []edit{{"mark_append", "nullif(current_setting('annals.mark_{{namespace}}', true), '')::bigint,", "NULL::bigint,"}},
		read:  readLog,
		caught: []catch{
			{"many appends in one transaction", "100 locks after 100 appends, want 1"},
			{"thousands of appends in one transaction", "3000 appends in one transaction: ERROR: out of shared memory"},
		},
	},
	{
		name:  "a mark as it was set",
		edits: []edit{{"mark_append", "greatest(0, least(", "(least("}},
		read:  readLog,
		caught: []catch{
			{"hostile settings", "lost [before_-1"},
		},
	},
	{
		name:  "a mark kept for the session",
		edits: []edit{{"mark_append", ")::text, true)", ")::text, false)"}},
		read:  readLog,
		caught: []catch{
			{"second append of a session", "while a is open: stalled, without [c]"},
		},
	},
	{
		name:   "a lock call in a CTE that nothing reads",
		edits:  []edit{severalEvents, {"append_v1", "WITH written AS (", "WITH mark AS (" + lockCall + "), written AS ("}},
		change: dropTrigger,
		read:   readLog,
		caught: []catch{
			{"open append", "lost [a]"},
		},
	},
	{
		name:   "a mark taken by append alone",
		edits:  []edit{severalEvents, {"append_v1", "WITH written AS (", "PERFORM mark FROM (" + lockCall + ") held;\n    WITH written AS ("}},
		change: dropTrigger,
		read:   readLog,
		caught: []catch{
			{"every way in", "INSERT: 0 marks, want 1"},
			{"every way in", "COPY: 0 marks, want 1"},
		},
	},
	{
		name:  "events inserted in any order",
		edits: []edit{{"append_v1", "ORDER BY g.place", "ORDER BY g.place DESC"}},
		read:  readLog,
		caught: []catch{
			{"rivals for a stream", "inverted: s@2 after s@3"},
		},
	},
	{
		name:   "no unique key to decide between rivals",
		change: `ALTER TABLE annals.events DROP CONSTRAINT events_version_key`,
		read:   readLog,
		caught: []catch{
			{"rivals for a stream", "inverted: s after s"},
		},
	},
	{
		name:  "synchronous_commit left to the caller",
		edits: []edit{{"mark_append", "= 'off'", "= 'never'"}},
		read:  readLog,
		caught: []catch{
			{"crash after an asynchronous commit", "not stored [a]"},
		},
	},
}

const (
	addXID      = `ALTER TABLE annals.events ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()`
	dropTrigger = `DROP TRIGGER events_mark_append ON annals.events`
	lockCall    = `SELECT pg_advisory_xact_lock_shared(({{namespace}}::bigint << 48) | coalesce(pg_sequence_last_value('annals.events_position_seq'), 0)) AS mark`

	// Pieces of log_bound_v1.
	drawn      = `drawn := pg_sequence_last_value('"annals".events_position_seq');`
	leastOfAll = `SELECT least(drawn, lowest, coalesce(max(e.position), 0)) INTO bound FROM "annals".events e`
)

// severalEvents makes append_v1 insert one event as it does several.
var severalEvents = edit{"append_v1", "IF given = 1 AND", "IF false AND"}
