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
