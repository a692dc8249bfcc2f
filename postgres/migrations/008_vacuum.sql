-- When autovacuum looks at each table.
--
-- Safe while an old version is live. Lock: SHARE UPDATE EXCLUSIVE on each table,
-- which stops no read and no append, but waits for a vacuum.

-- The log. Rows never change, so there is nothing to clean up but what rolled-back
-- appends leave. Vacuum is for two other things: the visibility map, which lets
-- indexes answer without the table (the head of the log, the list of streams), and
-- freezing.
--
-- By a number of rows and not by a share: 5 % of 100 million are 5 million rows that
-- no index could answer for alone, then all at once; 100,000 are some 30 MB, the
-- only pages that the run reads, because all others are marked already.
--
-- Rows freeze at the first run, because none will change: with the default age of 50
-- million transactions each page is written once more, years later, in a run that
-- reads the whole table and cannot be put off.
--
-- Statistics by a share: plans do not depend on them, and a sample costs the same
-- however large the table is.
ALTER TABLE {{schema}}.events SET (
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_threshold = 100000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_freeze_min_age = 0,
    autovacuum_analyze_scale_factor = 0.02
);

-- Small tables of rows that are updated often, each in place on its own page. A
-- transaction that stays open keeps dead rows from going, and then pages fill: so
-- look early, and do not pause, since there are few pages.
ALTER TABLE {{schema}}.checkpoints SET (
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE {{schema}}.published_mark SET (
    autovacuum_vacuum_threshold = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_cost_delay = 0
);
ALTER TABLE {{schema}}.snapshots SET (
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05
);
