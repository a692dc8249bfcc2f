package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
)

// How long a change of the schema waits. Appends queue behind a lock that it
// waits for, so it gives up soon, lets them pass, and tries again.
const (
	changePatience = 15 * time.Second
	changePause    = 100 * time.Millisecond // times the number of tries, at most ten, and random

	// turnSQL takes turns with others that change this schema. Lock: the key of two
	// numbers, until the end of the transaction. Keys of two numbers are apart from
	// those of one, which are the marks of appends.
	turnSQL = `
SET LOCAL lock_timeout = '30s';
SELECT pg_advisory_xact_lock(1634627169, {{namespace}});
SET LOCAL lock_timeout = '300ms'`

	// asOwnerSQL acts as the owner of the store: what is made is owned by it.
	asOwnerSQL = `
SELECT set_config('role', o.rolname, true)
FROM pg_roles o
WHERE o.oid = coalesce(
          (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass('{{schema}}.migrations')),
          (SELECT n.nspowner FROM pg_namespace n WHERE n.oid = to_regnamespace('{{schema}}')))
  AND o.rolname <> current_user
  AND NOT starts_with(o.rolname, 'pg_')
  AND pg_has_role(o.oid, 'MEMBER')`

	// blockerSQL finds who has been in a transaction longest of those that hold a lock
	// on something of the schema, or are changing it.
	blockerSQL = `
SELECT coalesce(l.pid, 0),
       coalesce(a.application_name, ''),
       coalesce(a.state, ''),
       coalesce(extract(epoch FROM clock_timestamp() - a.xact_start), 0)::double precision
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted
  AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
  AND (l.locktype = 'relation' AND EXISTS (SELECT FROM pg_class c WHERE c.oid = l.relation AND c.relnamespace = to_regnamespace('{{schema}}'))
       OR l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 1634627169 AND l.objid = {{namespace}})
ORDER BY a.xact_start NULLS FIRST
LIMIT 1`
)

const codeLockTimeout = "55P03"

// ErrBlocked is matched by *BlockedError.
var ErrBlocked = errors.New("blocked by another transaction")

// BlockedError says that a lock could not be had in time, and who most likely
// holds it: of the transactions with a lock in the schema, the one that has been
// open longest. End it, or wait, and run the command again.
type BlockedError struct {
	PID         int           // of the server process; 0: a prepared transaction, or it has ended meanwhile
	Application string        // its application_name, if it may be seen
	State       string        // such as "idle in transaction", if it may be seen
	Open        time.Duration // since its transaction began
	Err         error         // of the server
}

func (e *BlockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("blocked by a prepared transaction, or one that has ended: %v", e.Err)
	}
	return fmt.Sprintf("blocked by pid %d (application %q, %s, open for %v): %v", e.PID, e.Application, e.State, e.Open, e.Err)
}

// Is reports whether target is ErrBlocked.
func (e *BlockedError) Is(target error) bool { return target == ErrBlocked }

// Unwrap returns the error of the server.
func (e *BlockedError) Unwrap() error { return e.Err }

// patiently runs fn in a transaction of the owner of the schema, one at a time,
// again and again while it cannot have a lock.
func (c config) patiently(ctx context.Context, db Conn, fn func(context.Context, pgx.Tx) error) error {
	deadline := time.Now().Add(c.patience)
	for try := 1; ; try++ {
		turn := false
		err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, c.sql(turnSQL)); err != nil {
				return err
			}
			turn = true
			if _, err := tx.Exec(ctx, c.sql(asOwnerSQL)); err != nil {
				return err
			}
			return fn(ctx, tx)
		})
		if !hasCode(err, codeLockTimeout, codeDeadlock) {
			return err
		}
		pause := time.Duration(min(try, 10)) * changePause
		pause = pause/2 + rand.N(pause)
		if !turn || time.Now().Add(pause).After(deadline) {
			return c.blocked(ctx, db, err)
		}
		select {
		case <-ctx.Done():
			return c.blocked(context.WithoutCancel(ctx), db, errors.Join(ctx.Err(), err))
		case <-time.After(pause):
		}
	}
}

func (c config) blocked(ctx context.Context, db Conn, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	e := &BlockedError{Err: cause}
	var seconds float64
	if err := db.QueryRow(ctx, c.sql(blockerSQL)).Scan(&e.PID, &e.Application, &e.State, &seconds); err == nil {
		e.Open = time.Duration(seconds * float64(time.Second)).Round(time.Millisecond)
	}
	return e
}
