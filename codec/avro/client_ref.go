package avro

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
)

// wire returns the schema as the registry is told of it.
func wire(s Schema) (sr.Schema, error) {
	used, err := direct(s)
	if err != nil {
		return sr.Schema{}, err
	}
	out := sr.Schema{Schema: s.Text}
	for _, r := range used {
		out.References = append(out.References, sr.SchemaReference{Name: r.Name, Subject: r.Subject, Version: r.Version})
	}
	return out, nil
}

// maxReferenceDepth bounds references of references.
const maxReferenceDepth = 64

// resolved reads what a schema refers to, each after those that it refers to itself.
func (c *Client) resolved(ctx context.Context, s sr.Schema) (Schema, error) {
	if s.Type != sr.TypeAvro {
		return Schema{}, fmt.Errorf("%w: schema is %v, not AVRO", errNotAvro, s.Type)
	}
	r := references{client: c, seen: map[place]bool{}}
	if err := r.add(ctx, s.References, 0); err != nil {
		return Schema{}, err
	}
	return Schema{Text: s.Schema, References: r.list}, nil
}

type place struct {
	subject string
	version int
}

type references struct {
	client *Client
	seen   map[place]bool
	list   []Reference
	bytes  int
}

func (r *references) add(ctx context.Context, refs []sr.SchemaReference, depth int) error {
	if depth > maxReferenceDepth {
		return fmt.Errorf("references of schema are nested deeper than %d", maxReferenceDepth)
	}
	for _, ref := range refs {
		at := place{ref.Subject, ref.Version}
		if r.seen[at] {
			continue
		}
		r.seen[at] = true
		if len(r.seen) > maxReferences {
			return fmt.Errorf("schema refers to more than %d others", maxReferences)
		}
		doing := fmt.Sprintf("reference %s (version %d of subject %s)", short(ref.Name), ref.Version, short(ref.Subject))
		// What was deleted softly is still referred to.
		got, err := r.client.sr.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), ref.Subject, ref.Version)
		if err != nil {
			return fail(ctx, doing, err, ErrUnknownID)
		}
		if r.bytes += len(got.Schema.Schema); r.bytes > maxAnswer {
			return fmt.Errorf("%s: %w: references of schema exceed %d bytes", doing, codec.ErrUnavailable, maxAnswer)
		}
		if err := r.add(ctx, got.References, depth+1); err != nil {
			return err
		}
		r.list = append(r.list, Reference{Name: ref.Name, Subject: ref.Subject, Version: ref.Version, Text: got.Schema.Schema})
	}
	return nil
}
