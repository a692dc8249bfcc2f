-- Who may do what, as far as it needs no role. Roles belong to the whole cluster,
-- so no migration makes them: annals roles does, and grants them their rights.
--
-- PUBLIC has nothing. Postgres gives it EXECUTE on every new function, so a step
-- that makes one ends with this REVOKE too.
--
-- Safe while an old version is live: it runs as the owner, or as one of the roles.
-- Lock: none on tables.
REVOKE ALL ON SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA {{schema}} FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {{schema}} FROM PUBLIC;

-- With the rights of the owner, because their callers have none to write, only to
-- call: positions, versions and times are those of the function. Each names the
-- schema of all that it uses and sets its search path, with temporary objects last,
-- so that nothing of the caller's stands in for a table, type or operator.
--
-- All other functions run with the rights of their caller, which suffice: they read
-- what the caller may read.
ALTER FUNCTION {{schema}}.append_v1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION {{schema}}.append_all_v1 SECURITY DEFINER;
ALTER FUNCTION {{schema}}.publish_mark_v1 SECURITY DEFINER;

-- It adds the generation of a server that has taken over, and nothing else.
ALTER FUNCTION {{schema}}.lineage_v1 SECURITY DEFINER;

-- Fired by an INSERT or COPY of an importer too, who has no right to the sequence.
ALTER FUNCTION {{schema}}.mark_append SECURITY DEFINER;
