package avro

import (
	"context"
	"errors"
	"fmt"
)

// Registry keeps the schemas that payloads name by a number. Implementations are safe for
// concurrent use, and their errors match codec.ErrUnavailable if the registry did not
// answer, or not with what it was asked for.
type Registry interface {
	// Schema returns the schema of an id, which never changes. The error matches
	// ErrUnknownID if the registry has no such id.
	Schema(ctx context.Context, id int) (Schema, error)
	// Lookup returns the id of a schema under a subject. The error matches
	// ErrNotRegistered if the subject does not have it.
	Lookup(ctx context.Context, subject string, s Schema) (int, error)
	// Register is Lookup that adds the schema to the subject if it is not there. The
	// error is an *IncompatibleError if the registry refuses it.
	Register(ctx context.Context, subject string, s Schema) (int, error)
}

// Schema is the text of a schema (.avsc), and of what it refers to.
type Schema struct {
	Text string
	// References are the schemas whose named types Text uses, each after those that it
	// refers to itself.
	References []Reference
}

// Reference is a schema that another one uses.
type Reference struct {
	Name    string // full name of the type, as the schema that uses it says
	Subject string // where the registry has it
	Version int    // of the subject
	Text    string
}

var (
	// ErrNotRegistered says that the registry does not have the schema of an event under
	// its subject. It is a permanent error: annals schema register, or WithRegistration,
	// mends it.
	ErrNotRegistered = errors.New("schema is not registered")
	// ErrUnknownID says that a payload names a schema that the registry does not have:
	// it was written with another registry, or the registry has lost it.
	ErrUnknownID = errors.New("registry has no schema of this id")
	// ErrIncompatible is matched by every *IncompatibleError.
	ErrIncompatible = errors.New("schema is not compatible")
)

// IncompatibleError says which rule a schema breaks.
type IncompatibleError struct {
	Subject string // empty if it is not known
	Version int    // of the subject: the earlier schema that does not go with the new one; 0 if it is not known
	Mode    Mode   // None: this program is to read a payload, whatever the mode of its subject
	Field   string // path to it, such as order.Placed.lines.price; empty if it is the schema itself, or not known
	Rule    string // what is wrong, such as "reader field has no default and the writer lacks it"
}

func (e *IncompatibleError) Error() string {
	text := "schema is not compatible"
	if e.Subject != "" {
		text = fmt.Sprintf("subject %s: %s", e.Subject, text)
	}
	if e.Version > 0 {
		text += fmt.Sprintf(" with version %d", e.Version)
	}
	if e.Mode != None {
		text += fmt.Sprintf(" (%v)", e.Mode)
	}
	if e.Field != "" {
		text += fmt.Sprintf(": field %s", e.Field)
	}
	return text + ": " + e.Rule
}

// Is matches ErrIncompatible.
func (e *IncompatibleError) Is(target error) bool { return target == ErrIncompatible }
