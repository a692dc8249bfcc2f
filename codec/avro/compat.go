package avro

import (
	"errors"
	"fmt"
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// Check returns nil if a subject that has the earlier schemas, oldest first, may have the
// next one, and an *IncompatibleError otherwise: that of the newest earlier schema that
// does not go with it, whose Version is its place in earlier, from 1. An error of another
// type says that a text is not a schema, or that it exceeds the limits.
//
// A reader goes with a writer if everything that the writer can write can be read, by the
// rules of the Avro specification. Compared with the checker of Confluent, which is that of
// Avro for Java, Check refuses more, and never less:
//
//   - A change of precision or scale of a decimal, and of one logical type to another, such
//     as timestamp-millis to timestamp-micros. Java reads the number as it is: no error, and
//     a wrong value. To give a value a logical type, or to take it away, is allowed, except
//     between decimal and string: digits are no text.
//   - Two writer fields, or two reader fields, that are one and the same by an alias.
//   - A reader union whose branch of that kind and name does not fit, though another one
//     would: which one a reader takes differs between libraries.
//
// Like Avro for Java since 1.11, and unlike earlier ones, it lets a namespace change: names
// are compared without it. With RecordNameStrategy such a schema is another subject.
func Check(mode Mode, next Schema, earlier ...Schema) error {
	if mode < 0 || int(mode) >= len(modeNames) {
		return fmt.Errorf("check schema: %v is not known: want one of %v", mode, modeNames)
	}
	after, err := parseBounded(next, DefaultLimits())
	if err != nil {
		return fmt.Errorf("check schema: %w", err)
	}
	if mode == None {
		return nil
	}
	for i := len(earlier); i > 0; i-- {
		before, err := parseBounded(earlier[i-1], DefaultLimits())
		if err != nil {
			return fmt.Errorf("check schema: version %d: %w", i, err)
		}
		if broken := mode.broken(before, after); broken != nil {
			broken.Version, broken.Mode = i, mode
			return broken
		}
		if mode == Backward || mode == Forward || mode == Full {
			break
		}
	}
	return nil
}

// broken returns what the mode does not allow of the step from before to after, or nil.
func (m Mode) broken(before, after *avrolib.Schema) *IncompatibleError {
	if m != Forward && m != ForwardTransitive {
		if err := reads(before, after); err != nil {
			return explain(err, after, "the new schema does not read what this one has written")
		}
	}
	if m != Backward && m != BackwardTransitive {
		if err := reads(after, before); err != nil {
			return explain(err, after, "it does not read what the new schema writes")
		}
	}
	return nil
}

// reads returns an error if the reader does not read all that the writer writes.
func reads(writer, reader *avrolib.Schema) error {
	// Resolve begins with CheckCompatibility. It refuses some that this one lets pass, and
	// what it refuses is an event that nobody reads.
	if _, err := avrolib.Resolve(writer, reader); err != nil {
		return err
	}
	_, err := sameMeaning(writer, reader)
	return err
}

func explain(err error, next *avrolib.Schema, direction string) *IncompatibleError {
	var ce *avrolib.CompatibilityError
	if !errors.As(err, &ce) {
		return &IncompatibleError{Rule: direction + ": " + short(strings.TrimPrefix(err.Error(), "avro: "))}
	}
	e := &IncompatibleError{Rule: direction + ": " + rule(ce)}
	if ce.Path != "" && ce.Path != "(root)" {
		e.Field = short(ce.Path)
		if name := rootName(next); name != "" {
			e.Field = short(name) + "." + e.Field
		}
	}
	return e
}

// rule says in plain words what a compatibility error means.
func rule(e *avrolib.CompatibilityError) string {
	writer, reader := short(e.WriterType), short(e.ReaderType)
	switch e.Detail {
	case missingDefault:
		return "the reader needs this field, it has no default, and the writer lacks it"
	case "incompatible types":
		return fmt.Sprintf("the writer has type %s, the reader %s", writer, reader)
	case "record names do not match", "enum names do not match", "fixed names do not match":
		return fmt.Sprintf("the writer has %s %s, the reader %s without an alias for it", strings.Fields(e.Detail)[0], writer, reader)
	case "fixed sizes differ", "decimal precision or scale differ":
		return fmt.Sprintf("%s: the writer has %s, the reader %s", e.Detail, writer, reader)
	case "writer type matches no reader union branch", "writer union branch has no matching reader branch":
		return fmt.Sprintf("the union of the reader has no branch for %s of the writer", writer)
	}
	return short(e.Detail)
}

// short bounds what a schema says in an error: names have no limit of their own.
func short(s string) string {
	const limit = 300
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}

// FullName returns the name of the record, enum or fixed that the schema is, with its
// namespace, and the empty string for any other.
func FullName(s Schema) (string, error) {
	parsed, err := parseBounded(s, DefaultLimits())
	if err != nil {
		return "", fmt.Errorf("name of schema: %w", err)
	}
	return rootName(parsed), nil
}

func rootName(s *avrolib.Schema) string { return node.FullName(s.Root()) }
