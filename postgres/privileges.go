package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ErrPrivilege is matched by *PrivilegeError.
var ErrPrivilege = errors.New("too many privileges")

// PrivilegeError says what the role of a connection can do, and must not.
type PrivilegeError struct {
	Schema string
	Role   string // that the connection has
	What   string // such as "update an event"
	Remedy string
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("check privileges in schema %s: role %s can %s: %s", e.Schema, e.Role, e.What, e.Remedy)
}

// Is reports whether target is ErrPrivilege.
func (e *PrivilegeError) Is(target error) bool { return target == ErrPrivilege }

const (
	codeInsufficientPrivilege = "42501"

	// whoSQL needs no right in the schema.
	whoSQL = `
SELECT current_user,
       r.rolsuper,
       o.rolname,
       pg_has_role(o.oid, 'MEMBER'),
       pg_is_in_recovery()
FROM pg_roles r
CROSS JOIN pg_class c
JOIN pg_roles o ON o.oid = c.relowner
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.rolname = current_user
  AND n.nspname = $1
  AND c.relname = 'events'`

	// A statement that waits for a lock has passed the checks already.
	carefulSQL = `
SET LOCAL lock_timeout = '200ms';
SET LOCAL statement_timeout = '5s'`
)

// Privileges tries, with the credentials of the pool, what a member of the given
// roles must not be able to do: to change or remove events, to choose positions
// or times, to go around the mark, and so on. Without roles: those of a service
// that appends and works. It returns a *PrivilegeError for each attempt that
// succeeds, joined, and nil if none does.
//
// It is safe in production: each attempt is rolled back and touches no row, and
// what would take a lock that others wait for, or could not be rolled back, is
// asked and not tried. A superuser, and a member of the owner, can do everything,
// so nothing is tried and that is the one error.
//
// Errors beside: ErrNotMigrated, ErrReplica.
func (d *DB) Privileges(ctx context.Context, roles ...Role) error {
	if len(roles) == 0 {
		roles = serviceRoles
	}
	var problems []error
	err := func() error {
		tx, err := d.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
		if err != nil {
			return err
		}
		defer rollback(ctx, tx)
		var (
			super, member, replica bool
			login, owner           string
		)
		err = tx.QueryRow(ctx, whoSQL, d.schema).Scan(&login, &super, &owner, &member, &replica)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fmt.Errorf("%w, run annals migrate", ErrNotMigrated)
		case err != nil:
			return missing(err)
		case replica:
			return ErrReplica
		}
		found := func(what string) {
			problems = append(problems, &PrivilegeError{d.schema, login, what, d.remedy(roles)})
		}
		switch {
		case super:
			found("do everything, as a superuser")
			return nil
		case member:
			found("do everything, as a member of the owner " + owner)
			return nil
		}
		if _, err := tx.Exec(ctx, carefulSQL); err != nil {
			return err
		}
		for _, a := range attacks {
			if a.allowed(roles) {
				continue
			}
			can, err := d.assail(ctx, tx, a)
			if err != nil {
				return fmt.Errorf("try to %s: %w", a.what, err)
			}
			if can {
				found(a.what)
			}
		}
		return nil
	}()
	if err != nil {
		problems = append(problems, fmt.Errorf("check privileges in schema %s: %w", d.schema, err))
	}
	return errors.Join(problems...)
}

func (d *DB) remedy(roles []Role) string {
	var names []string
	for _, r := range roles {
		names = append(names, d.role(r))
	}
	return "run annals roles, and log in as a role that owns nothing there and is a member of " + strings.Join(names, " and ") + " alone"
}

// assail reports whether an attack succeeds, in a savepoint that is rolled
// back.
func (d *DB) assail(ctx context.Context, tx pgx.Tx, a attack) (can bool, err error) {
	inner, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	defer rollback(ctx, inner)
	if a.ask != "" {
		err := inner.QueryRow(ctx, d.sql(a.ask)).Scan(&can)
		if hasCode(err, codeInsufficientPrivilege) {
			return false, nil // no right to the schema at all
		}
		return can, err
	}
	_, err = inner.Exec(ctx, d.sql(a.try))
	switch {
	case err == nil, hasCode(err, codeLockTimeout):
		return true, nil
	case hasCode(err, codeInsufficientPrivilege):
		return false, nil
	}
	return false, err
}
