package upcast

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

var (
	// ErrUnknownName says that no rule and no current type has the name. A newer binary
	// may have stored it.
	ErrUnknownName = errors.New("unknown event name")
	// ErrUnknownSchema says that the name is known, this schema version of it is not. A
	// newer binary may have stored it.
	ErrUnknownSchema = errors.New("unknown schema version")
)

type shape struct {
	name   string
	schema int
}

// Chain is a checked set of rules over the current shapes. It is safe for
// concurrent use.
type Chain struct {
	shapes  map[shape]reflect.Type
	rules   map[shape]Rule
	latest  map[string]int // current schema version; of a name that is still written
	dropped map[string]bool
	renamed map[string]string
}

// NewChain checks the rules against the current types by name. The error names
// every contradiction: a gap, a duplicate, shapes that do not meet, a rule that
// leads nowhere.
func NewChain(current map[string]reflect.Type, rules ...Rule) (*Chain, error) {
	c := &Chain{
		shapes: map[shape]reflect.Type{}, rules: map[shape]Rule{}, latest: map[string]int{},
		dropped: map[string]bool{}, renamed: map[string]string{},
	}
	b := builder{Chain: c, current: current}
	for _, r := range rules {
		b.add(r)
	}
	b.place()
	b.check()
	return c, errors.Join(b.errs...)
}

// Latest returns the schema version that the named event is written with
// today, or 0 if it is not written any more.
func (c *Chain) Latest(name string) int { return c.latest[name] }

// Current returns the name that events stored under a name have today: the one that
// Rename leads to, or the name itself.
func (c *Chain) Current(name string) string { return c.at(name, 0).name }

// Shape returns the type of the bytes stored under a name and schema version.
// It returns nil and no error for a dropped event: its bytes need no decoding.
func (c *Chain) Shape(name string, schema int) (reflect.Type, error) {
	if c.dropped[name] {
		return nil, nil
	}
	at := c.at(name, schema)
	if t, ok := c.shapes[at]; ok {
		return t, nil
	}
	for s := range c.shapes {
		if s.name == at.name {
			return nil, fmt.Errorf("%w %d of %s: this program knows up to %d", ErrUnknownSchema, schema, name, c.newest(at.name))
		}
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownName, name)
}

// Shapes calls yield for every (name, schema version) that can be decoded,
// dropped names excepted, sorted by name and version.
func (c *Chain) Shapes(yield func(name string, schema int) bool) {
	all := make([]shape, 0, len(c.shapes))
	for s := range c.shapes {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b shape) int {
		if a.name != b.name {
			return compare(a.name, b.name)
		}
		return a.schema - b.schema
	})
	for _, s := range all {
		if !yield(s.name, s.schema) {
			return
		}
	}
}

// Names calls yield for every name that the chain knows, once each and in no
// order: those with a shape, those that are renamed, those that are dropped.
func (c *Chain) Names(yield func(name string) bool) {
	seen := map[string]bool{}
	for s := range c.shapes {
		seen[s.name] = true
	}
	for name := range c.renamed {
		seen[name] = true
	}
	for name := range c.dropped {
		seen[name] = true
	}
	for name := range seen {
		if !yield(name) {
			return
		}
	}
}

// Lift turns a value of a stored shape into values of current types: one, more
// (split) or none. An upcaster that panics, or gives a type it did not
// declare, is an error that names it.
func (c *Chain) Lift(name string, schema int, v any) ([]any, error) {
	return c.lift(nil, c.at(name, schema), v)
}

func (c *Chain) lift(out []any, at shape, v any) ([]any, error) {
	for {
		r, ok := c.rules[at]
		if !ok {
			return append(out, v), nil
		}
		vs, err := call(r, v)
		if err != nil {
			return out, err
		}
		if r.kind == step {
			at, v = shape{r.into[0].name, r.into[0].schema}, vs[0]
			continue
		}
		for _, v := range vs {
			next, err := r.target(v)
			if err != nil {
				return out, err
			}
			if out, err = c.lift(out, next, v); err != nil {
				return out, err
			}
		}
		return out, nil
	}
}

func (r Rule) target(v any) (shape, error) {
	t := reflect.TypeOf(v)
	for _, into := range r.into {
		if into.shape == t {
			return shape{into.name, into.schema}, nil
		}
	}
	return shape{}, fmt.Errorf("upcast %s from schema %d: split gave %v, which no target declares", r.name, r.from, t)
}

func call(r Rule, v any) (out []any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("upcast %s from schema %d: panic: %v", r.name, r.from, p)
		}
	}()
	return r.fn(v), nil
}

func (c *Chain) at(name string, schema int) shape {
	if to, ok := c.renamed[name]; ok {
		name = to
	}
	return shape{name, schema}
}

func (c *Chain) newest(name string) int {
	newest := 0
	for s := range c.shapes {
		if s.name == name {
			newest = max(newest, s.schema)
		}
	}
	return newest
}

func compare(a, b string) int {
	if a < b {
		return -1
	}
	return 1
}
