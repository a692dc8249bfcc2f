package upcast

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// builder fills a Chain and collects what contradicts itself.
type builder struct {
	*Chain
	current map[string]reflect.Type
	errs    []error
}

func (b *builder) fail(format string, args ...any) {
	b.errs = append(b.errs, fmt.Errorf("upcast "+format, args...))
}

func (b *builder) add(r Rule) {
	switch r.kind {
	case drop:
		if b.dropped[r.name] {
			b.fail("%s: dropped twice", r.name)
		}
		b.dropped[r.name] = true
	case rename:
		if to, twice := b.renamed[r.name]; twice {
			b.fail("%s: renamed both to %s and to %s", r.name, to, r.to)
		}
		b.renamed[r.name] = r.to
	case step, split:
		at := shape{r.name, r.from}
		if _, twice := b.rules[at]; twice {
			b.fail("%s: two rules from schema %d", r.name, r.from)
			return
		}
		b.rules[at] = r
		b.shapes[at] = r.in
	default:
		b.fail("rule is empty: build it with Step, Split, Drop or Rename")
	}
}

// place gives each current type the schema version behind its last rule.
func (b *builder) place() {
	steps := map[string]int{}
	for at := range b.rules {
		steps[at.name]++
	}
	for name, t := range b.current {
		b.latest[name] = steps[name] + 1
		at := shape{name, steps[name] + 1}
		if _, gap := b.rules[at]; !gap {
			b.shapes[at] = t
		}
	}
	for _, name := range slices.Sorted(maps.Keys(steps)) {
		for v := 1; v <= steps[name]; v++ {
			if _, ok := b.rules[shape{name, v}]; !ok {
				b.fail("%s: gap: %d rules, but none from schema %d", name, steps[name], v)
				break
			}
		}
	}
}

func (b *builder) check() {
	for _, at := range slices.SortedFunc(maps.Keys(b.rules), func(x, y shape) int {
		if x.name != y.name {
			return compare(x.name, y.name)
		}
		return x.schema - y.schema
	}) {
		r := b.rules[at]
		for i, into := range r.into {
			b.meet(r, into)
			if slices.ContainsFunc(r.into[:i], func(t Target) bool { return t.shape == into.shape }) {
				b.fail("%s from schema %d: two targets of type %v", r.name, r.from, into.shape)
			}
			if into.name == r.name && into.schema <= r.from {
				b.fail("%s from schema %d: leads back to schema %d", r.name, r.from, into.schema)
			}
		}
	}
	b.checkCycles()
	for _, name := range slices.Sorted(maps.Keys(b.dropped)) {
		if _, used := b.current[name]; used || b.has(name) {
			b.fail("%s: dropped, but it has a current type or rules", name)
		}
	}
	for _, old := range slices.Sorted(maps.Keys(b.renamed)) {
		to := b.renamed[old]
		if _, used := b.current[old]; used || b.has(old) || b.dropped[old] {
			b.fail("%s: renamed to %s, but it has a current type or rules of its own", old, to)
		}
		if !b.has(to) {
			b.fail("%s: renamed to %s, which has no shape", old, to)
		}
	}
}

func (b *builder) meet(r Rule, into Target) {
	have, ok := b.shapes[shape{into.name, into.schema}]
	switch {
	case !ok:
		b.fail("%s from schema %d: leads to %s schema %d, which has no shape", r.name, r.from, into.name, into.schema)
	case have != into.shape:
		b.fail("%s from schema %d: gives %v, but %s schema %d is %v", r.name, r.from, into.shape, into.name, into.schema, have)
	}
}

// checkCycles finds splits of different names that lead into each other: a
// walk longer than the number of rules has met one twice.
func (b *builder) checkCycles() {
	var walk func(at shape, depth int) bool
	walk = func(at shape, depth int) bool {
		if depth > len(b.rules) {
			return true
		}
		for _, into := range b.rules[at].into {
			if walk(shape{into.name, into.schema}, depth+1) {
				return true
			}
		}
		return false
	}
	for at := range b.rules {
		if walk(at, 0) {
			b.fail("%s from schema %d: leads into a circle", at.name, at.schema)
			return
		}
	}
}

func (b *builder) has(name string) bool {
	for s := range b.shapes {
		if s.name == name {
			return true
		}
	}
	return false
}
