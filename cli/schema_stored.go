package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

// stored decodes samples of all that the database has.
func (r *checkRun) stored(ctx context.Context) error {
	db, done, err := r.opened(ctx)
	if err != nil {
		return err
	}
	defer done()
	shapes, err := db.Shapes(ctx, int(r.samples.value))
	if err != nil {
		return err
	}
	ignored, samples := 0, 0
	for _, s := range shapes {
		c := r.covering(s.Name)
		switch {
		case c == nil && r.ignored(s.Name):
			ignored++
			continue
		case c == nil:
			err = r.say(faultRecord{Finding: foundUnknown, Event: s.Name, Schema: s.Schema, Position: s.First,
				Rule: fmt.Sprintf("no codec of this program covers it, and %s stored up to position %d: give cli.WithCodecs its codec, or leave it out with --ignore %s",
					countedAre(s.Events), s.Last, event.Family(s.Name))})
		default:
			samples += len(s.Samples)
			err = r.sample(ctx, db, c, s)
		}
		if err != nil {
			return err
		}
	}
	did := fmt.Sprintf("%s of %s", counted(int64(samples), "sample"), counted(int64(len(shapes)-ignored), "stored shape"))
	if ignored > 0 {
		did += fmt.Sprintf(" (%d ignored)", ignored)
	}
	r.did = append(r.did, did)
	return nil
}

func (r *checkRun) ignored(name string) bool {
	return slices.Contains(r.ignore.names, event.Family(name))
}

func countedAre(n int64) string {
	if n == 1 {
		return "1 event is"
	}
	return fmt.Sprintf("%d events are", n)
}

// sample decodes the samples of a shape. Those that fail are one finding, of the first.
func (r *checkRun) sample(ctx context.Context, db *postgres.DB, c Codec, s postgres.StoredShape) error {
	failed := 0
	var fault faultRecord
	for e, err := range db.EventsAt(ctx, s.Samples...) {
		if err != nil {
			return err
		}
		_, err := c.Values(e)
		switch {
		case err == nil:
			continue
		case errors.Is(err, codec.ErrUnavailable):
			return fmt.Errorf("check stored %s: %w", shapeOf(s.Name, s.Schema), err)
		}
		if failed++; failed == 1 {
			fault = faultRecord{Finding: foundUndecodable, Event: s.Name, Schema: s.Schema, Position: e.Position, Rule: err.Error()}
			fault.because(err)
		}
	}
	if failed == 0 {
		return nil
	}
	fault.Rule += fmt.Sprintf(" (%d of %d samples failed, of %s)", failed, len(s.Samples), counted(s.Events, "event"))
	return r.say(fault)
}

// because takes subject, field and rule out of errors that have them.
func (r *faultRecord) because(err error) {
	var schema *avro.IncompatibleError
	var value *json.UnmarshalTypeError
	switch {
	case errors.As(err, &schema):
		r.Subject, r.Field = schema.Subject, schema.Field
	case errors.As(err, &value) && value.Field != "":
		r.Field = value.Field
	}
}
