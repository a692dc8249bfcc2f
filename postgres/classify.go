package postgres

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// systemicCodes are what says nothing about an event: by class, or whole.
var systemicCodes = []string{
	"08",    // the connection
	"53",    // resources of the server
	"57P",   // it is shut down, or somebody has ended the session
	"58",    // the system that it runs on
	"25P03", // the session idled for too long
	"28",    // the credentials
	"3D000", // no such database
	codeSerialization, codeDeadlock, codeLockTimeout,
	codeReadOnly,
	// Whoever deploys has forgotten a step, or a right.
	codeUndefinedTable, "42703", codeUndefinedFunc, codeInsufficientPrivilege, codeInvalidSchema,
	codeOtherServer,
}

// permanentCodes are what the server will say of the same values again.
var permanentCodes = []string{
	"22",    // the values
	"23502", // NULL where none is allowed
	"23514", // a check
}

// Classify implements worker.Classifier. What concerns the server, the connection, the
// schema or rights is systemic; a value that the server will not take is permanent;
// another error of the server, such as of a unique or foreign key, is transient,
// because other rows may change that. What is no failure, such as worker.ErrFenced, and
// what is not of this package or its driver, is unclassified.
func (d *DB) Classify(err error) worker.Class {
	switch {
	case err == nil, errors.Is(err, worker.ErrFenced), errors.Is(err, worker.ErrAltered), errors.Is(err, context.Canceled):
		return worker.Unclassified
	case errors.Is(err, ErrNotMigrated), errors.Is(err, ErrReplica), errors.Is(err, eventstore.ErrOutcomeUnknown), errors.Is(err, eventstore.ErrOtherServer):
		return worker.ClassSystemic
	}
	if pg, ok := pgError(err); ok {
		switch {
		case hasClass(pg, systemicCodes), pg.Code == codeCanceled && errors.Is(err, context.DeadlineExceeded):
			return worker.ClassSystemic
		case hasClass(pg, permanentCodes):
			return worker.ClassPermanent
		}
		return worker.ClassTransient
	}
	var (
		late    lateError
		lost    lostError
		connect *pgconn.ConnectError
	)
	if errors.As(err, &late) || errors.As(err, &lost) || errors.As(err, &connect) || errors.Is(err, pgconn.ErrConnClosed) || isNetwork(err) || isClosedPool(err) {
		return worker.ClassSystemic
	}
	return worker.Unclassified
}

// isNetwork leaves out the end of a context, which is a timeout of net too.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) && !errors.Is(err, context.DeadlineExceeded)
}

// isClosedPool knows the error by its text: it is of a package behind pgxpool.
func isClosedPool(err error) bool { return strings.HasSuffix(err.Error(), "closed pool") }

func hasClass(pg *pgconn.PgError, codes []string) bool {
	for _, c := range codes {
		if strings.HasPrefix(pg.Code, c) {
			return true
		}
	}
	return false
}
