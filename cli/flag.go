package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

// The flags of this package state their bounds; pflag adds name and value.

// numberFlag is a whole number within bounds.
type numberFlag struct {
	value, least, most int64
}

func (f *numberFlag) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < f.least || n > f.most {
		return fmt.Errorf("want a whole number from %d to %d", f.least, f.most)
	}
	f.value = n
	return nil
}

func (f *numberFlag) String() string { return strconv.FormatInt(f.value, 10) }
func (f *numberFlag) Type() string   { return "number" }

// maxPosition is the greatest that the store draws: below 2^48.
const maxPosition = 1<<48 - 1

const maxLimit = 1_000_000

func limitFlag() *numberFlag { return &numberFlag{value: 100, least: 1, most: maxLimit} }

// namesFlag is a name, or several by commas or by giving the flag again.
type namesFlag struct {
	names []string
	check func(string) error
}

func (f *namesFlag) Set(s string) error {
	for n := range strings.SplitSeq(s, ",") {
		if err := f.check(n); err != nil {
			return err
		}
		f.names = append(f.names, n)
	}
	return nil
}

func (f *namesFlag) String() string { return strings.Join(f.names, ",") }
func (f *namesFlag) Type() string   { return "name,..." }

// timeFlag is a time as RFC 3339 has it.
type timeFlag struct{ value time.Time }

func (f *timeFlag) Set(s string) error {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return errors.New("want a time such as 2026-01-31T09:00:00Z")
	}
	f.value = t
	return nil
}

func (f *timeFlag) String() string {
	if f.value.IsZero() {
		return ""
	}
	return f.value.Format(time.RFC3339Nano)
}
func (f *timeFlag) Type() string { return "time" }

// choiceFlag is one of a few words.
type choiceFlag struct {
	value   string
	choices []string
}

func (f *choiceFlag) Set(s string) error {
	if !slices.Contains(f.choices, s) {
		return errors.New("want " + strings.Join(f.choices, " or "))
	}
	f.value = s
	return nil
}

func (f *choiceFlag) String() string { return f.value }
func (f *choiceFlag) Type() string   { return strings.Join(f.choices, "|") }

// durationFlag is a time that is not too short to be meant.
type durationFlag time.Duration

func (f *durationFlag) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Millisecond {
		return errors.New("want a duration of at least 1ms, such as 30s")
	}
	*f = durationFlag(d)
	return nil
}

func (f durationFlag) String() string { return time.Duration(f).String() }
func (durationFlag) Type() string     { return "duration" }

// schemaFlag is a name that package postgres accepts.
type schemaFlag string

func (f *schemaFlag) Set(s string) error {
	if _, err := postgres.Migrations(postgres.WithSchema(s)); err != nil {
		return errors.New("want lower-case letters, digits and underscores, at most 40")
	}
	*f = schemaFlag(s)
	return nil
}

func (f schemaFlag) String() string { return string(f) }
func (schemaFlag) Type() string     { return "name" }

// streamFlag is a stream, written category-id.
type streamFlag struct{ event.Stream }

func (f *streamFlag) Set(s string) (err error) {
	f.Stream, err = event.ParseStream(s)
	return err
}

func (f streamFlag) String() string {
	if f.Stream == (event.Stream{}) {
		return ""
	}
	return f.Stream.String()
}
func (streamFlag) Type() string { return "stream" }
