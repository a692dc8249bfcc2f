package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/annals-go/annals/codec/avro"
)

// state is how a schema stands to the history of its subject.
type state string

const (
	stateRegistered   state = "registered"
	stateMissing      state = "not registered" // the subject is not there
	stateDiffers      state = "differs"        // the subject may have it as its next version
	stateIncompatible state = "incompatible"
	stateRead         state = "read" // an old shape that is written otherwise than in the code, and read all the same
)

// verdict is a schema beside the history of its subject.
type verdict struct {
	wanted
	State       state
	Mode        avro.Mode
	Version, ID int // of the subject, if it has the schema
	Newest      int // version of the subject; 0 if it has none
	Broken      *avro.IncompatibleError
}

// judge compares schemas, which are sorted by subject, with a history. Those of one
// subject follow each other: a later one has to go with an earlier one, too.
func judge(ctx context.Context, h history, all []wanted) ([]verdict, error) {
	var out []verdict
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(w wanted) bool { return w.Subject != all[0].Subject })
		if n < 0 {
			n = len(all)
		}
		some, err := judgeSubject(ctx, h, all[:n])
		if err != nil {
			return nil, err
		}
		out, all = append(out, some...), all[n:]
	}
	return out, nil
}

// settled reports whether nothing is to be added for the schema.
func (v verdict) settled() bool { return v.State == stateRegistered || v.State == stateRead }

// readsAll returns nil if an old shape is read from every version that there is, and what
// is wrong with the newest other one, as avro.Check does.
func (w wanted) readsAll(versions []avro.Registered, mode avro.Mode) error {
	for i, v := range slices.Backward(versions) {
		err := w.reads(v.Schema)
		if broken := new(avro.IncompatibleError); errors.As(err, &broken) {
			broken.Version, broken.Mode = i+1, mode
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func judgeSubject(ctx context.Context, h history, all []wanted) ([]verdict, error) {
	subject := all[0].Subject
	versions, err := h.Versions(ctx, subject)
	if err != nil {
		return nil, err
	}
	mode, err := h.Mode(ctx, subject)
	if err != nil {
		return nil, err
	}
	var earlier []avro.Schema
	var places []int // versions of them, 0 if it is not known yet
	known := map[string]avro.Registered{}
	for _, v := range versions {
		normal, err := avro.Normal(v.Schema)
		if err != nil {
			return nil, fmt.Errorf("subject %s version %d: %w", subject, v.Version, err)
		}
		earlier, places, known[normal] = append(earlier, v.Schema), append(places, v.Version), v
	}
	var out []verdict
	for _, w := range all {
		v := verdict{wanted: w, Mode: mode, State: stateMissing}
		if len(versions) > 0 {
			v.State, v.Newest = stateDiffers, versions[len(versions)-1].Version
		}
		normal, err := avro.Normal(w.Schema)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.what(), err)
		}
		if r, ok := known[normal]; ok {
			if r.Version > 0 {
				v.State, v.Version, v.ID = stateRegistered, r.Version, r.ID
			}
			out = append(out, v)
			continue
		}
		err = avro.Check(mode, w.Schema, earlier...)
		if err != nil && w.reads != nil && len(versions) > 0 {
			if err = w.readsAll(versions, mode); err == nil {
				v.State, v.Version, v.ID = stateRead, v.Newest, versions[len(versions)-1].ID
				out = append(out, v)
				continue
			}
		}
		switch {
		case errors.As(err, &v.Broken):
			v.State, v.Broken.Subject = stateIncompatible, subject
			if at := v.Broken.Version; at >= 1 && at <= len(places) {
				v.Broken.Version = places[at-1]
			}
		case err != nil:
			return nil, fmt.Errorf("%s: %w", w.what(), err)
		default:
			place := 0
			if w.Event == "" {
				place = w.Version
			}
			earlier, places, known[normal] = append(earlier, w.Schema), append(places, place), avro.Registered{}
		}
		out = append(out, v)
	}
	return out, nil
}
