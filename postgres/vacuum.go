package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// vacuumSettings are those of migrations/008_vacuum.sql and 011_bus.sql, which say why.
var vacuumSettings = map[string][]string{
	"events": {
		"autovacuum_vacuum_insert_threshold=100000",
		"autovacuum_vacuum_insert_scale_factor=0",
		"autovacuum_vacuum_threshold=100000",
		"autovacuum_vacuum_scale_factor=0",
		"autovacuum_freeze_min_age=0",
		"autovacuum_analyze_scale_factor=0.02",
	},
	"checkpoints": {
		"fillfactor=50",
		"autovacuum_vacuum_threshold=50",
		"autovacuum_vacuum_scale_factor=0.01",
		"autovacuum_vacuum_cost_delay=0",
	},
	"terms":   leaseSettings,
	"members": leaseSettings,
	"snapshots": {
		"autovacuum_vacuum_threshold=1000",
		"autovacuum_vacuum_scale_factor=0.05",
	},
	"inbox": {
		"autovacuum_vacuum_insert_threshold=1000000",
		"autovacuum_vacuum_insert_scale_factor=0",
		"autovacuum_vacuum_threshold=10000",
		"autovacuum_vacuum_scale_factor=0.02",
	},
	"published_mark": {
		"fillfactor=10",
		"autovacuum_vacuum_threshold=50",
		"autovacuum_vacuum_scale_factor=0.01",
		"autovacuum_vacuum_cost_delay=0",
	},
}

// leaseSettings are those of migrations/009_terms.sql.
var leaseSettings = []string{
	"fillfactor=50",
	"autovacuum_vacuum_threshold=50",
	"autovacuum_vacuum_scale_factor=0.01",
	"autovacuum_vacuum_cost_delay=0",
}

// maxSinceVacuum is more rows than are inserted, at any rate, between two visits
// of an autovacuum that comes once a minute.
const maxSinceVacuum = 5_000_000

// Lock: none. The limit of the age is one and a half times that at which a vacuum
// is forced: one that works begins there, and has ended long before.
const vacuumSQL = `
SELECT c.relname,
       coalesce(c.reloptions, '{}'),
       age(c.relfrozenxid)::bigint,
       current_setting('autovacuum_freeze_max_age')::bigint * 3 / 2,
       coalesce(s.n_ins_since_vacuum, 0),
       current_setting('autovacuum'),
       current_setting('track_counts')
FROM pg_class c
LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
WHERE c.relnamespace = to_regnamespace('{{schema}}')
  AND c.relkind = 'r'
ORDER BY c.relname`

// CheckVacuum looks at what the server does about vacuum: whether it is switched
// off, whether the settings of a table are not those of the migrations any more,
// and whether the last vacuum is alarmingly long ago, by the age of the oldest row
// that is not frozen or by the rows inserted since. The counts of the server are
// estimates, and start again after a crash.
//
// Errors: a *SetupError for each finding, ErrNotMigrated.
func (d *DB) CheckVacuum(ctx context.Context) error {
	rows, err := d.pool.Query(ctx, d.sql(vacuumSQL))
	if err != nil {
		return fmt.Errorf("check schema %s: %w", d.schema, err)
	}
	defer rows.Close()
	var problems []error
	found := func(what string, got, want any, remedy string) {
		problems = append(problems, &SetupError{d.schema, what, fmt.Sprint(got), fmt.Sprint(want), d.config.sql(remedy)})
	}
	seen := map[string]bool{}
	for rows.Next() {
		var (
			table, autovacuum, counts string
			options                   []string
			age, oldest, inserted     int64
		)
		if err := rows.Scan(&table, &options, &age, &oldest, &inserted, &autovacuum, &counts); err != nil {
			return fmt.Errorf("check schema %s: %w", d.schema, err)
		}
		if len(seen) == 0 && (autovacuum != "on" || counts != "on") {
			found("autovacuum", "autovacuum="+autovacuum+", track_counts="+counts, "both on", "switch them on for the server")
		}
		seen[table] = true
		slices.Sort(options)
		if off := slices.IndexFunc(options, isAutovacuumOff); off >= 0 {
			found("autovacuum of "+table, options[off], "on", "ALTER TABLE {{schema}}."+table+" RESET (autovacuum_enabled)")
		}
		var missing []string
		for _, want := range vacuumSettings[table] {
			if !slices.Contains(options, want) {
				missing = append(missing, want)
			}
		}
		if len(missing) > 0 {
			found("storage of "+table, "{"+strings.Join(options, ", ")+"}", "also "+strings.Join(missing, ", "), "ALTER TABLE {{schema}}."+table+" SET ("+strings.Join(missing, ", ")+")")
		}
		if age > oldest {
			found("the age of "+table, fmt.Sprint(age, " transactions"), fmt.Sprint("at most ", oldest), "VACUUM (FREEZE) {{schema}}."+table+", after a look at what keeps autovacuum from it, such as an old transaction or replication slot")
		}
		if inserted > maxSinceVacuum {
			found(table, fmt.Sprint(inserted, " rows past its last vacuum"), fmt.Sprint("at most ", int64(maxSinceVacuum)), "VACUUM {{schema}}."+table+", after a look at what keeps autovacuum from it")
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("check schema %s: %w", d.schema, err)
	}
	for _, table := range slices.Sorted(maps.Keys(vacuumSettings)) {
		if !seen[table] {
			return fmt.Errorf("check schema %s: no table %s, run annals migrate: %w", d.schema, table, ErrNotMigrated)
		}
	}
	return errors.Join(problems...)
}

// isAutovacuumOff knows the ways to write false.
func isAutovacuumOff(option string) bool {
	value, ok := strings.CutPrefix(option, "autovacuum_enabled=")
	return ok && slices.Contains([]string{"false", "off", "no", "0", "f"}, strings.ToLower(value))
}
