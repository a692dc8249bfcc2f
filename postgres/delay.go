package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
)

// delaysSQL finds everybody who holds a mark. A prepared transaction has no pid; it
// is known by its id, which it has locked too. Lock: none.
const delaysSQL = `
SELECT ((l.classid::bigint & 65535) << 32) | l.objid::bigint,
       coalesce(l.pid, 0),
       coalesce(x.gid, ''),
       coalesce(a.usename, x.owner, ''),
       coalesce(a.application_name, ''),
       coalesce(a.state, ''),
       greatest(0, coalesce(extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.state_change, x.prepared)), 0))::double precision
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks own ON l.pid IS NULL AND own.pid IS NULL AND own.locktype = 'transactionid' AND own.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts x ON x.transaction = own.transactionid
WHERE l.locktype = 'advisory'
  AND l.objsubid = 1
  AND (l.classid::bigint >> 16) = {{namespace}}
  AND l.granted
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
ORDER BY 1, 2`

// Delay is an open transaction that has appended: readers wait for it at the
// first hole behind its mark. Or somebody else holds such a lock, which no
// Postgres can forbid.
type Delay struct {
	Mark        event.Position
	PID         int    // of the server process, for pg_terminate_backend; 0: prepared
	Prepared    string // the name of a prepared transaction, for ROLLBACK PREPARED
	Role        string
	Application string        // if it may be seen
	State       string        // such as "idle in transaction", if it may be seen
	Open        time.Duration // since the transaction began; 0 if that may not be seen
}

// Who names who it is, and what ends it.
func (d Delay) Who() string {
	if d.PID == 0 {
		return fmt.Sprintf("prepared transaction %q of role %s", d.Prepared, d.Role)
	}
	return fmt.Sprintf("pid %d of role %s (application %q, %s)", d.PID, d.Role, d.Application, d.State)
}

// Delays returns who may keep readers of the log waiting right now, the lowest
// mark first. An append that is under way is one too, for a moment. A role sees
// less of the sessions of others unless it is a member of pg_read_all_stats.
func (d *DB) Delays(ctx context.Context) ([]Delay, error) {
	rows, err := d.pool.Query(ctx, d.sql(delaysSQL))
	if err != nil {
		return nil, fmt.Errorf("list delays: %w", err)
	}
	out, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w Delay, err error) {
		var seconds float64
		err = row.Scan((*int64)(&w.Mark), &w.PID, &w.Prepared, &w.Role, &w.Application, &w.State, &seconds)
		w.Open = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
		return w, err
	})
	if err != nil {
		return nil, fmt.Errorf("list delays: %w", err)
	}
	return out, nil
}
