package postgres

import "slices"

// attack is something that a role must not be able to do. In all its texts
// {{owner}} is the role that owns the events.
type attack struct {
	what string // behind "can"
	// try does it. Refused means SQLSTATE 42501. Where there is no ask, it changes
	// nothing even when it succeeds, if the transaction is rolled back.
	try string
	// ask is a boolean: whether it could be done. It is used instead of try where
	// that would lock out others, or could not be rolled back, if it succeeded.
	ask string
	may []Role // whose duty it is
}

func (a attack) allowed(roles []Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(a.may, r) })
}

const (
	ownsEvents = `SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = '{{schema}}.events'::regclass`
	ownsSchema = `SELECT pg_has_role(n.nspowner, 'USAGE') FROM pg_namespace n WHERE n.oid = '{{schema}}'::regnamespace`

	eventColumnsGiven = `category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata`
	oneEvent          = `'order', 'o', 1, gen_random_uuid(), 'order.noted', 1, 'text/plain', ''::bytea, ''::bytea`
)

// calls is whether a function of the schema may be called.
func calls(function string) string {
	return `SELECT bool_or(has_function_privilege(p.oid, 'EXECUTE')) FROM pg_proc p WHERE p.pronamespace = '{{schema}}'::regnamespace AND p.proname = '` + function + `'`
}

// attacks is the matrix: what nobody may do but those named, and the owner.
var attacks = []attack{
	// The log: only ever added to, and by the functions.
	{what: "update an event", try: `UPDATE {{schema}}.events SET payload = '' WHERE false`},
	{what: "delete an event", try: `DELETE FROM {{schema}}.events WHERE false`},
	{what: "truncate the events", try: `TRUNCATE {{schema}}.events`, ask: `SELECT has_table_privilege('{{schema}}.events', 'TRUNCATE')`},
	{what: "update an event by MERGE", try: `MERGE INTO {{schema}}.events e USING (SELECT 1 WHERE false) s ON true WHEN MATCHED THEN UPDATE SET payload = ''`},
	{what: "delete an event by MERGE", try: `MERGE INTO {{schema}}.events e USING (SELECT 1 WHERE false) s ON true WHEN MATCHED THEN DELETE`},
	{what: "update an event by ON CONFLICT", try: `INSERT INTO {{schema}}.events (` + eventColumnsGiven + `) SELECT ` + oneEvent + ` WHERE false ON CONFLICT (category, stream_id, version) DO UPDATE SET payload = ''`},
	{what: "update an event through the view", try: `UPDATE {{schema}}.events_readable SET version = 1 WHERE false`},
	{what: "delete an event through the view", try: `DELETE FROM {{schema}}.events_readable WHERE false`},
	{what: "insert an event without append_v1", try: `INSERT INTO {{schema}}.events (` + eventColumnsGiven + `) SELECT ` + oneEvent + ` WHERE false`, may: []Role{RoleImport}},
	{what: "insert an event through the view", try: `INSERT INTO {{schema}}.events_readable (version, name, schema_version, event_id) SELECT 1, 'order.noted', 1, gen_random_uuid() WHERE false`},
	{what: "choose a position", try: `INSERT INTO {{schema}}.events (position, ` + eventColumnsGiven + `) OVERRIDING SYSTEM VALUE SELECT -5, ` + oneEvent + ` WHERE false`},
	{what: "choose a recorded time", try: `INSERT INTO {{schema}}.events (recorded_at, ` + eventColumnsGiven + `) SELECT '1999-01-01', ` + oneEvent + ` WHERE false`, may: []Role{RoleImport}},
	{what: "note an import", try: `UPDATE {{schema}}.imports SET events = 0 WHERE false`, may: []Role{RoleImport}},
	{what: "forget an import", try: `DELETE FROM {{schema}}.imports WHERE false`},
	{what: "append", try: `SELECT {{schema}}.append_v1('order', 'o', 'exact', 99, '{}', '{}', '{}', '{}', '{}', '{}', false, false)`, ask: calls("append_v1"), may: []Role{RoleAppend}},
	{what: "append to several streams", try: `SELECT {{schema}}.append_all_v1('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', true)`, ask: calls("append_all_v1"), may: []Role{RoleAppend}},

	// Locks that stop appends and reads.
	{what: "lock an event for update", try: `SELECT e.position FROM {{schema}}.events e WHERE false FOR UPDATE`},
	{what: "lock an event for share", try: `SELECT e.position FROM {{schema}}.events e WHERE false FOR KEY SHARE`},
	{what: "lock the events", try: `LOCK TABLE {{schema}}.events IN SHARE MODE NOWAIT`, ask: `SELECT has_table_privilege('{{schema}}.events', 'UPDATE, DELETE, TRUNCATE')`},
	{what: "lock the checkpoints", try: `LOCK TABLE {{schema}}.checkpoints IN SHARE MODE NOWAIT`, ask: `SELECT has_table_privilege('{{schema}}.checkpoints', 'UPDATE, DELETE, TRUNCATE')`, may: []Role{RoleWork}},
	{what: "reference an event, which locks it", ask: `SELECT has_any_column_privilege('{{schema}}.events', 'REFERENCES')`},

	// The mark, and everything else that hangs on the table.
	{what: "disable the trigger that marks appends", try: `ALTER TABLE {{schema}}.events DISABLE TRIGGER ALL`, ask: ownsEvents},
	{what: "switch triggers off for the session", try: `SET LOCAL session_replication_role = replica`},
	{what: "make a trigger on the events", try: `CREATE TRIGGER swallow BEFORE INSERT ON {{schema}}.events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()`, ask: `SELECT has_table_privilege('{{schema}}.events', 'TRIGGER')`},
	{what: "make a rule on the events", try: `CREATE RULE swallow AS ON INSERT TO {{schema}}.events DO INSTEAD NOTHING`, ask: ownsEvents},
	{what: "make a policy on the events", try: `CREATE POLICY hide ON {{schema}}.events USING (false)`, ask: ownsEvents},
	{what: "change the default of the recorded time", try: `ALTER TABLE {{schema}}.events ALTER COLUMN recorded_at SET DEFAULT '1999-01-01'`, ask: ownsEvents},
	{what: "drop a constraint of the events", try: `ALTER TABLE {{schema}}.events DROP CONSTRAINT events_version_key`, ask: ownsEvents},
	{what: "make an index on the events", try: `CREATE UNIQUE INDEX ON {{schema}}.events (category)`, ask: ownsEvents},
	{what: "make a child table, whose rows would be events", try: `CREATE TEMP TABLE child () INHERITS ({{schema}}.events)`, ask: ownsEvents},
	{what: "drop the events", try: `DROP TABLE {{schema}}.events CASCADE`, ask: ownsEvents},
	{what: "rename the events", try: `ALTER TABLE {{schema}}.events RENAME TO gone`, ask: ownsEvents},
	{what: "comment on the events", try: `COMMENT ON TABLE {{schema}}.events IS ''`, ask: ownsEvents},
	{what: "grant what it has to others", ask: `SELECT has_table_privilege('{{schema}}.events', 'SELECT WITH GRANT OPTION') OR has_schema_privilege('{{schema}}'::regnamespace, 'USAGE WITH GRANT OPTION')`},
	{what: "call the trigger function", try: `SELECT {{schema}}.mark_append()`, ask: calls("mark_append")},

	// The sequence that positions are drawn from.
	{what: "draw a position", try: `SELECT nextval('{{schema}}.events_position_seq')`, ask: `SELECT has_sequence_privilege('{{schema}}.events_position_seq', 'USAGE, UPDATE')`},
	{what: "set the sequence", try: `SELECT setval('{{schema}}.events_position_seq', 1)`, ask: `SELECT has_sequence_privilege('{{schema}}.events_position_seq', 'UPDATE')`},
	{what: "change the sequence", try: `ALTER SEQUENCE {{schema}}.events_position_seq CACHE 10`, ask: ownsEvents},

	// What stands beside the log.
	{what: "insert a checkpoint", try: `INSERT INTO {{schema}}.checkpoints (name, part) SELECT 'x', '' WHERE false`, may: []Role{RoleWork}},
	{what: "move a checkpoint", try: `UPDATE {{schema}}.checkpoints SET position = 0 WHERE false`, may: []Role{RoleWork}},
	{what: "lock a checkpoint", try: `SELECT c.name FROM {{schema}}.checkpoints c WHERE false FOR UPDATE`, may: []Role{RoleWork}},
	{what: "delete a checkpoint", try: `DELETE FROM {{schema}}.checkpoints WHERE false`},
	{what: "truncate the checkpoints", try: `TRUNCATE {{schema}}.checkpoints`, ask: `SELECT has_table_privilege('{{schema}}.checkpoints', 'TRUNCATE')`},
	{what: "begin a term", try: `INSERT INTO {{schema}}.terms (name, segment, epoch, holder, lease_until) SELECT 'x', '', 1, '', now() WHERE false`, may: []Role{RoleWork}},
	{what: "change a term", try: `UPDATE {{schema}}.terms SET epoch = epoch WHERE false`, may: []Role{RoleWork}},
	{what: "delete a term, so that its epochs come again", try: `DELETE FROM {{schema}}.terms WHERE false`},
	{what: "truncate the terms", try: `TRUNCATE {{schema}}.terms`, ask: `SELECT has_table_privilege('{{schema}}.terms', 'TRUNCATE')`},
	{what: "change a member", try: `DELETE FROM {{schema}}.members WHERE false`, may: []Role{RoleWork}},
	{what: "change what is parked", try: `UPDATE {{schema}}.parked SET note = '' WHERE false`, may: []Role{RoleWork}},
	{what: "discard what is parked", try: `DELETE FROM {{schema}}.parked_items WHERE false`, may: []Role{RoleWork}},
	{what: "change a parked event", try: `UPDATE {{schema}}.parked_items SET data = '' WHERE false`},
	{what: "add to the audit", try: `INSERT INTO {{schema}}.parked_audits (name, part, key, at, actor, action) SELECT '', '', '', now(), '', '' WHERE false`, may: []Role{RoleWork}},
	{what: "change the audit", try: `UPDATE {{schema}}.parked_audits SET actor = '' WHERE false`},
	{what: "delete from the audit", try: `DELETE FROM {{schema}}.parked_audits WHERE false`},
	{what: "agree on a topic", try: `INSERT INTO {{schema}}.topics (relay, topic, id, partitions, replication, min_in_sync, retention, max_bytes, revision) SELECT '', '', '', 1, 0, 0, 0, 0, 1 WHERE false`, may: []Role{RoleWork}},
	{what: "decide about a topic", try: `UPDATE {{schema}}.topics SET decision = '' WHERE false`, may: []Role{RoleWork}},
	{what: "delete what was agreed on", try: `DELETE FROM {{schema}}.topics WHERE false`},
	{what: "remember a message", try: `INSERT INTO {{schema}}.inbox (consumer, id, topic, position) SELECT '', gen_random_uuid(), '', 1 WHERE false`, may: []Role{RoleWork}},
	{what: "change what is remembered", try: `UPDATE {{schema}}.inbox SET position = 0 WHERE false`},
	{what: "forget a message without a floor", try: `DELETE FROM {{schema}}.inbox WHERE false`},
	{what: "take a message back", try: `SELECT {{schema}}.take_back_v1('', '{}')`, ask: calls("take_back_v1"), may: []Role{RoleWork}},
	{what: "forget messages", try: `SELECT {{schema}}.forget_v1('', '-infinity', 0)`, ask: calls("forget_v1"), may: []Role{RoleWork}},
	{what: "truncate the inbox", try: `TRUNCATE {{schema}}.inbox`, ask: `SELECT has_table_privilege('{{schema}}.inbox', 'TRUNCATE')`},
	{what: "raise a floor of the inbox", try: `INSERT INTO {{schema}}.inbox_floors (consumer, topic, position, at) SELECT '', '', 1, now() WHERE false`},
	{what: "lower a floor of the inbox", try: `UPDATE {{schema}}.inbox_floors SET position = 0 WHERE false`},
	{what: "delete a floor of the inbox", try: `DELETE FROM {{schema}}.inbox_floors WHERE false`},
	{what: "set the published mark", try: `UPDATE {{schema}}.published_mark SET position = 0 WHERE false`},
	{what: "delete the published mark", try: `DELETE FROM {{schema}}.published_mark WHERE false`},
	{what: "publish the mark", try: `SELECT {{schema}}.publish_mark_v1()`, ask: calls("publish_mark_v1"), may: []Role{RoleWork}},
	{what: "change the lineage of the log", try: `UPDATE {{schema}}.lineage SET incarnation = incarnation WHERE false`},
	{what: "add to the lineage of the log", try: `INSERT INTO {{schema}}.lineage (generation, incarnation, server, since) SELECT 1, gen_random_uuid(), '', 0 WHERE false`},
	{what: "delete the lineage of the log", try: `DELETE FROM {{schema}}.lineage WHERE false`},
	{what: "read a snapshot", try: `SELECT s.state FROM {{schema}}.snapshots s WHERE false`, may: []Role{RoleAppend}},
	{what: "write a snapshot", try: `UPDATE {{schema}}.snapshots SET state = '' WHERE false`, may: []Role{RoleAppend}},
	{what: "delete a snapshot", try: `DELETE FROM {{schema}}.snapshots WHERE false`, may: []Role{RoleAppend}},
	{what: "truncate the snapshots", try: `TRUNCATE {{schema}}.snapshots`, ask: `SELECT has_table_privilege('{{schema}}.snapshots', 'TRUNCATE')`},
	{what: "claim a migration", try: `INSERT INTO {{schema}}.migrations (version, name) SELECT 1, '' WHERE false`},
	{what: "forget a migration", try: `DELETE FROM {{schema}}.migrations WHERE false`},

	// The schema and its functions.
	{what: "make a table in the schema", try: `CREATE TABLE {{schema}}.mine ()`, ask: `SELECT has_schema_privilege('{{schema}}'::regnamespace, 'CREATE')`},
	{what: "make a function in the schema", try: `CREATE FUNCTION {{schema}}.allows(expect text, expected integer, actual bigint) RETURNS boolean LANGUAGE sql AS 'SELECT true'`, ask: `SELECT has_schema_privilege('{{schema}}'::regnamespace, 'CREATE')`},
	{what: "change a function", try: `ALTER FUNCTION {{schema}}.append_v1 RESET ALL`, ask: ownsSchema},
	{what: "rename the schema", try: `ALTER SCHEMA {{schema}} RENAME TO gone`, ask: ownsSchema},
	{what: "drop the schema", try: `DROP SCHEMA {{schema}} CASCADE`, ask: ownsSchema},
	{what: "shadow what a function with the owner's rights uses", ask: `
SELECT EXISTS (
    SELECT
    FROM pg_proc p
    WHERE p.pronamespace = '{{schema}}'::regnamespace
      AND p.prosecdef
      AND 'search_path=pg_catalog, pg_temp' <> ALL (coalesce(p.proconfig, '{}'))
)`},
	{what: "use the rights of a superuser, who owns the functions that append", ask: `
SELECT EXISTS (
    SELECT
    FROM pg_proc p
    JOIN pg_roles r ON r.oid = p.proowner
    WHERE p.pronamespace = '{{schema}}'::regnamespace
      AND p.prosecdef
      AND r.rolsuper
)`},
	{what: "do what everybody can, because PUBLIC has rights in the schema", ask: `
SELECT EXISTS (
    SELECT
    FROM (
        SELECT coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM pg_namespace n WHERE n.oid = '{{schema}}'::regnamespace
        UNION ALL
        SELECT coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner)) FROM pg_class c WHERE c.relnamespace = '{{schema}}'::regnamespace AND c.relkind IN ('r', 'v', 'S')
        UNION ALL
        SELECT coalesce(p.proacl, acldefault('f', p.proowner)) FROM pg_proc p WHERE p.pronamespace = '{{schema}}'::regnamespace
    ) AS of_each (acl)
    CROSS JOIN LATERAL aclexplode(of_each.acl) a
    WHERE a.grantee = 0
)`},

	// The server.
	{what: "become the owner", try: `SET LOCAL ROLE {{owner}}`, ask: `SELECT pg_has_role(c.relowner, 'MEMBER') FROM pg_class c WHERE c.oid = '{{schema}}.events'::regclass`},
	{what: "make roles, and so become the owner", try: `CREATE ROLE annals_attack`, ask: `SELECT r.rolcreaterole FROM pg_roles r WHERE r.rolname = current_user`},
	{what: "drop the database, which it owns", ask: `SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database()`},
	{what: "run a program on the server", try: `COPY {{schema}}.lineage TO PROGRAM 'true'`, ask: `SELECT pg_has_role('pg_execute_server_program', 'MEMBER')`},
	{what: "write files of the server", try: `COPY {{schema}}.lineage TO '/annals/attack'`, ask: `SELECT pg_has_role('pg_write_server_files', 'MEMBER')`},
	{what: "read files of the server", try: `SELECT lo_import('/annals/attack')`, ask: `SELECT pg_has_role('pg_read_server_files', 'MEMBER') OR has_function_privilege('pg_catalog.lo_import(text)', 'EXECUTE') OR has_function_privilege('pg_catalog.pg_read_file(text)', 'EXECUTE')`},
	{what: "make a function of machine code", try: `CREATE FUNCTION pg_temp.attack() RETURNS integer LANGUAGE internal AS 'int4in'`},
}
