package event

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names. They are part of the storage format: a store refuses what
// exceeds them before it sends anything.
const (
	MaxCategoryBytes = 64  // of Stream.Category
	MaxIDBytes       = 192 // of Stream.ID
	MaxNameBytes     = 128 // of Raw.Name
)

// ErrInvalidName is matched by every *NameError.
var ErrInvalidName = errors.New("invalid name")

// NameError says which name is refused and why. It matches ErrInvalidName.
type NameError struct {
	What   string // "category", "stream id" or "event name"
	Name   string
	Reason string
}

func (e *NameError) Error() string {
	const most = 80 // a hostile name may be long, and must not break the line of a log
	name := e.Name
	if len(name) > most {
		name = name[:most] + "..."
	}
	return fmt.Sprintf("invalid %s %q: %s", e.What, name, e.Reason)
}

// Is reports whether target is ErrInvalidName.
func (e *NameError) Is(target error) bool { return target == ErrInvalidName }

// Stream names one sequence of events: an aggregate's category and its id.
// Streams are compared byte by byte, without any Unicode normalisation.
type Stream struct {
	// Category is the kind of the aggregate: letters, digits and underscores,
	// beginning with a letter, at most MaxCategoryBytes.
	Category string
	// ID is the aggregate's id: valid UTF-8 without control or format
	// characters (which could reorder or hide text), at most MaxIDBytes.
	ID string
}

// String returns "category-id", the form that ParseStream reads.
func (s Stream) String() string { return s.Category + "-" + s.ID }

// Compare orders streams by category and then by id, byte by byte.
func (s Stream) Compare(t Stream) int {
	return cmp.Or(strings.Compare(s.Category, t.Category), strings.Compare(s.ID, t.ID))
}

// Validate returns a *NameError if the category or the id is outside the rules
// that Stream states.
func (s Stream) Validate() error {
	if err := ValidateCategory(s.Category); err != nil {
		return err
	}
	if reason := badID(s.ID); reason != "" {
		return &NameError{What: "stream id", Name: s.ID, Reason: reason}
	}
	return nil
}

// ValidateCategory returns a *NameError unless name can be the category of a
// stream, as Stream says.
func ValidateCategory(name string) error {
	if reason := badCategory(name); reason != "" {
		return &NameError{What: "category", Name: name, Reason: reason}
	}
	return nil
}

// ParseStream reads "category-id". A category has no dash, so the first one
// ends it, and ids may hold more of them.
func ParseStream(s string) (Stream, error) {
	category, id, ok := strings.Cut(s, "-")
	if !ok {
		return Stream{}, &NameError{What: "stream", Name: s, Reason: "want category-id, such as order-o-1"}
	}
	stream := Stream{Category: category, ID: id}
	return stream, stream.Validate()
}

// ValidateName returns a *NameError unless name can be the stored name of an
// event: family.fact of letters, digits, dots, underscores and dashes, at most
// MaxNameBytes.
func ValidateName(name string) error {
	if reason := badName(name); reason != "" {
		return &NameError{What: "event name", Name: name, Reason: reason}
	}
	return nil
}

// Family returns the part of an event name before its first dot.
func Family(name string) string {
	family, _, _ := strings.Cut(name, ".")
	return family
}

func badCategory(s string) string {
	if reason := badLength(s, MaxCategoryBytes); reason != "" {
		return reason
	}
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && (i == 0 || c != '_' && !isDigit(c)) {
			return "want letters, digits and underscores, beginning with a letter"
		}
	}
	return ""
}

func badID(s string) string {
	if reason := badLength(s, MaxIDBytes); reason != "" {
		return reason
	}
	if !utf8.ValidString(s) {
		return "not valid UTF-8"
	}
	for _, r := range s {
		if r < unicode.MaxASCII && r >= ' ' && r != 0x7f {
			continue
		}
		if !unicode.IsGraphic(r) {
			return fmt.Sprintf("character %U is not printable", r)
		}
	}
	return ""
}

func badName(s string) string {
	if reason := badLength(s, MaxNameBytes); reason != "" {
		return reason
	}
	for i := range len(s) {
		c := s[i]
		if !isLetter(c) && !isDigit(c) && c != '.' && c != '_' && c != '-' {
			return "want letters, digits, dots, underscores and dashes"
		}
	}
	if family, fact, ok := strings.Cut(s, "."); !ok || family == "" || fact == "" {
		return "want family.fact, such as order.placed"
	}
	return ""
}

func badLength(s string, most int) string {
	switch {
	case s == "":
		return "empty"
	case len(s) > most:
		return fmt.Sprintf("%d bytes long, at most %d", len(s), most)
	}
	return ""
}

func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
