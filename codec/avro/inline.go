package avro

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// File is a schema in a file.
type File struct {
	Name string // how errors name it
	Text string
	// Defines are the full names of the types that the text defines, in its order. Inline
	// sets it.
	Defines []string
}

// Inline returns files whose texts need no other file: where one uses a type that only others
// define, it has their definition in the place where it uses it first. A text that needs none
// stays as it is, byte for byte; any other comes back in the form of Normal. Files may use each
// other in a circle.
//
// Files that define a type need not agree, unless a third one uses it: that is an error, which
// names both, because nothing says which one is meant. So is a file that would have two
// definitions of a type. A type that no file defines is left to whoever parses the text. Texts
// beyond the limits of schemas are errors; documentation may differ.
func Inline(files ...File) ([]File, error) {
	in := inliner{files: make([]inlineFile, len(files))}
	trees, all := make([]any, len(files)), map[string]bool{}
	for i, f := range files {
		if err := boundedText(f.Text, DefaultLimits()); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		tree, err := decodeTree(f.Text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		own := normalizer{defined: map[string]bool{}}
		trees[i] = tree
		in.files[i] = inlineFile{File: f, root: own.schema(tree, ""), own: map[string]definition{}}
		maps.Copy(all, own.defined)
		_, err = parseBounded(Schema{Text: f.Text}, DefaultLimits())
		in.files[i].alone = err == nil
	}
	for i := range in.files {
		f := &in.files[i]
		if !f.alone { // what it calls by a short name may be in another file
			f.root = (&normalizer{defined: all}).schema(trees[i], "")
		}
		f.root = f.take(f.root)
		f.Defines = f.names
	}
	out := make([]File, len(files))
	for i := range in.files {
		text, err := in.text(&in.files[i])
		if err != nil {
			return nil, err
		}
		out[i] = in.files[i].File
		out[i].Text = text
	}
	return out, nil
}

// text returns the text of a file with what it needs of others.
func (in *inliner) text(f *inlineFile) (string, error) {
	e := expansion{inliner: in, file: f, there: map[string]definition{}}
	tree, err := e.expand(f.root, f)
	if err != nil || !e.foreign {
		return f.Text, err
	}
	var text strings.Builder
	n := normalizer{defined: map[string]bool{}}
	n.write(&text, n.schema(tree, ""))
	return text.String(), nil
}

// inliner knows the definitions of all files.
type inliner struct{ files []inlineFile }

// inlineFile is a file, in which each definition has been taken out and its name left.
type inlineFile struct {
	File
	alone bool // it needs no other
	root  any
	own   map[string]definition
	names []string // of own, in the order of the text
}

// definition is a named type. The types that it uses are names.
type definition struct {
	tree map[string]any
	key  string // of two that are the same, but for documentation
	file *inlineFile
}

// take takes the definitions out of a normal tree.
func (f *inlineFile) take(node any) any {
	switch v := node.(type) {
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = f.take(v[i])
		}
		return out
	case map[string]any:
		o := maps.Clone(v)
		kind, _ := o["type"].(string)
		name, _ := o["name"].(string)
		named := definesType(kind)
		if named {
			f.names = append(f.names, name)
		}
		mapTypes(o, func(t any) any { return f.take(t) })
		if !named {
			return o
		}
		var key strings.Builder
		(&normalizer{}).write(&key, withoutDoc(o))
		if _, twice := f.own[name]; !twice { // an error when it is parsed
			f.own[name] = definition{tree: o, key: key.String(), file: f}
		}
		return name
	}
	return node
}

func definesType(kind string) bool {
	return kind == "record" || kind == "error" || kind == "enum" || kind == "fixed"
}

// mapTypes replaces the types inside an object that is a schema.
func mapTypes(o map[string]any, fn func(any) any) {
	switch kind, _ := o["type"].(string); kind {
	case "record", "error":
		fields, ok := o["fields"].([]any)
		if !ok {
			return
		}
		fields = slices.Clone(fields)
		for i := range fields {
			if field, ok := fields[i].(map[string]any); ok {
				field = maps.Clone(field)
				field["type"] = fn(field["type"])
				fields[i] = field
			}
		}
		o["fields"] = fields
	case "array":
		o["items"] = fn(o["items"])
	case "map":
		o["values"] = fn(o["values"])
	case "enum", "fixed":
	default:
		o["type"] = fn(o["type"])
	}
}

// withoutDoc leaves the documentation of a definition and of its fields out.
func withoutDoc(o map[string]any) map[string]any {
	o = maps.Clone(o)
	delete(o, "doc")
	delete(o, "namespace") // says that there is none, which the name says, too
	if fields, ok := o["fields"].([]any); ok {
		fields = slices.Clone(fields)
		for i := range fields {
			if field, ok := fields[i].(map[string]any); ok {
				field = maps.Clone(field)
				delete(field, "doc")
				fields[i] = field
			}
		}
		o["fields"] = fields
	}
	return o
}

// expansion puts definitions back into a file.
type expansion struct {
	*inliner
	file    *inlineFile
	there   map[string]definition // what the text has so far
	foreign bool                  // there is one of another file
}

// expand returns the tree with the definition of each name in its first place. The tree is
// one of from.
func (e *expansion) expand(node any, from *inlineFile) (any, error) {
	switch v := node.(type) {
	case string:
		return e.name(v, from)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			t, err := e.expand(v[i], from)
			if err != nil {
				return nil, err
			}
			out[i] = t
		}
		return out, nil
	case map[string]any:
		return e.object(v, from)
	}
	return node, nil
}

func (e *expansion) object(o map[string]any, from *inlineFile) (any, error) {
	o = maps.Clone(o)
	var failed error
	mapTypes(o, func(t any) any {
		if failed != nil {
			return t
		}
		t, failed = e.expand(t, from)
		return t
	})
	return o, failed
}

func (e *expansion) name(name string, from *inlineFile) (any, error) {
	if primitives[name] {
		return name, nil
	}
	d, err := e.find(name, from)
	if err != nil {
		return nil, err
	}
	if d.file == nil {
		return name, nil // of nobody
	}
	if known, ok := e.there[name]; ok {
		if known.key != d.key {
			return nil, fmt.Errorf("%s: comes to use the %s of %s and that of %s, which are not the same: make them the same", e.file.Name, short(name), known.file.Name, d.file.Name)
		}
		return name, nil
	}
	e.there[name] = d
	if d.file != e.file {
		e.foreign = true
	}
	if strings.Contains(name, ".") {
		return e.object(d.tree, d.file)
	}
	tree := maps.Clone(d.tree)
	tree["namespace"] = "" // or it would take that of what it is in
	return e.object(tree, d.file)
}

// find returns the definition that a file means by a name: its own, or that of the others.
func (e *expansion) find(name string, from *inlineFile) (definition, error) {
	if d, ok := from.own[name]; ok {
		return d, nil
	}
	var found definition
	for i := range e.files {
		d, ok := e.files[i].own[name]
		switch {
		case !ok:
		case found.file == nil:
			found = d
		case found.key != d.key:
			return definition{}, fmt.Errorf("%s: uses %s, which %s and %s define, and not the same: define it in %s itself", from.Name, short(name), found.file.Name, d.file.Name, from.Name)
		}
	}
	return found, nil
}
