package postgres

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
)

// SQLSTATE codes that mean something to the store.
const (
	codeUniqueViolation = "23505"
	codeDeadlock        = "40P01"
	codeSerialization   = "40001"
	codeUndefinedTable  = "42P01"
	codeInvalidSchema   = "3F000"
	codeUndefinedFunc   = "42883"
	codeReadOnly        = "25006"
	codeInFailedTx      = "25P02"
	codeForeignKey      = "23503"
	codeCanceled        = "57014"
	codeOtherServer     = "AN001" // raised by same_server
	codeTermOver        = "AN002" // raised by fence_v1
)

// errAbsent says that a look-up found nothing that speaks against the append.
var errAbsent = errors.New("nothing speaks against it any more")

func pgError(err error) (*pgconn.PgError, bool) {
	var pg *pgconn.PgError
	ok := errors.As(err, &pg)
	return pg, ok
}

func hasCode(err error, codes ...string) bool {
	pg, ok := pgError(err)
	for _, c := range codes {
		if ok && pg.Code == c {
			return true
		}
	}
	return false
}

// isRival reports an error that only says that another transaction was quicker:
// the next attempt sees what it stored.
func isRival(err error) bool {
	return isTaken(err) || hasCode(err, codeDeadlock, codeSerialization)
}

// isTaken reports that another append has taken the version or one of the ids.
func isTaken(err error) bool {
	pg, ok := pgError(err)
	return ok && pg.Code == codeUniqueViolation && (pg.ConstraintName == "events_version_key" || pg.ConstraintName == "events_id_key")
}

// isIDTaken reports a rival, or an earlier append, with one of the ids.
func isIDTaken(err error) bool {
	pg, ok := pgError(err)
	return ok && isTaken(err) && pg.ConstraintName == "events_id_key"
}

// isRefused reports what the state of a stream, or of its ids, has refused.
func isRefused(err error) bool {
	return errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrClosed) || errors.Is(err, eventstore.ErrIDReused)
}

// isRejected reports that the server has answered that it wrote nothing. It
// answers a statement that it has rejected, and keeps the connection. Without
// such an answer, or with one that ends the connection, the events may be stored:
// also when a pooler in between gives it.
func isRejected(err error) bool {
	if sabotage.TrustSafeToRetry && pgconn.SafeToRetry(err) { //nolint:forbidigo // the mistake itself
		return true
	}
	pg, ok := pgError(err)
	return ok && !leavesOpen(pg)
}

func leavesOpen(pg *pgconn.PgError) bool {
	if endsSession(pg) || pg.Code == "40003" {
		return true
	}
	for _, class := range []string{"08", "57P", "58", "XX"} {
		if strings.HasPrefix(pg.Code, class) {
			return true
		}
	}
	return false
}

// endsSession reports an answer after which the server hangs up.
func endsSession(err error) bool {
	pg, ok := pgError(err)
	return ok && (pg.SeverityUnlocalized == "FATAL" || pg.SeverityUnlocalized == "PANIC")
}

// lostError says that the connection is gone, which the error of the driver may not
// tell from the end of some other reader.
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

// missing names what is missing: the schema, a server that takes writes, or the
// connection.
func missing(err error) error {
	if hasCode(err, codeReadOnly) {
		return fmt.Errorf("%w: %w", ErrReplica, err)
	}
	if hasCode(err, codeUndefinedTable, codeInvalidSchema, codeUndefinedFunc) {
		return fmt.Errorf("%w, run annals migrate: %w", ErrNotMigrated, err)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return lostError{err}
	}
	return err
}
