package avro

import (
	"encoding/json"
	"fmt"
	"strings"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// maxReferences bounds what one schema refers to, directly and through others.
const maxReferences = 256

// parseBounded parses the schema after those that it refers to. Texts that exceed the limits
// are refused before the library sees them.
func parseBounded(s Schema, limits Limits) (*avrolib.Schema, error) {
	if err := bounded(s, limits); err != nil {
		return nil, err
	}
	var cache avrolib.SchemaCache
	for _, r := range s.References {
		if _, err := cache.Parse(r.Text); err != nil {
			return nil, fmt.Errorf("reference %s: %w", short(r.Name), notASchema(err))
		}
	}
	parsed, err := cache.Parse(s.Text)
	if err != nil {
		return nil, notASchema(err)
	}
	var mistaken error
	each(parsed.Root(), "", func(n *avrolib.SchemaNode, _ string) {
		if err := node.Misnamed(n); err != nil {
			mistaken = fmt.Errorf("not an Avro schema: %w", err)
		}
	})
	return parsed, mistaken
}

func notASchema(err error) error {
	return fmt.Errorf("not an Avro schema: %s", short(strings.TrimPrefix(err.Error(), "avro: ")))
}

func bounded(s Schema, limits Limits) error {
	if len(s.References) > maxReferences {
		return fmt.Errorf("schema refers to %d others, more than %d", len(s.References), maxReferences)
	}
	if err := boundedText(s.Text, limits); err != nil {
		return err
	}
	for _, r := range s.References {
		if err := boundedText(r.Text, limits); err != nil {
			return fmt.Errorf("reference %s: %w", short(r.Name), err)
		}
	}
	return nil
}

func boundedText(text string, limits Limits) error {
	if len(text) > limits.SchemaBytes {
		return fmt.Errorf("text of schema has %d bytes, more than the limit of %d", len(text), limits.SchemaBytes)
	}
	tree, err := decodeTree(text)
	if err != nil {
		return err
	}
	return boundedDepth(tree, limits.SchemaDepth)
}

// decodeTree decodes the text as exactly one JSON value whose numbers keep their digits.
func decodeTree(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("not an Avro schema: %s", short(err.Error()))
	}
	if d.More() {
		return nil, fmt.Errorf("not an Avro schema: text goes on after byte %d", d.InputOffset())
	}
	return tree, nil
}

// boundedDepth bounds types in each other. Whatever else is nested, such as defaults and
// attributes of others, counts as well.
func boundedDepth(node any, left int) error {
	if left < 0 {
		return fmt.Errorf("types of schema are nested deeper than the limit")
	}
	switch n := node.(type) {
	case []any:
		for _, branch := range n {
			if err := boundedDepth(branch, left-1); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, v := range n {
			list, isList := v.([]any)
			if key != "fields" || !isList {
				if err := boundedDepth(v, left-1); err != nil {
					return err
				}
				continue
			}
			for _, f := range list { // the field and its type are one level
				field, isMap := f.(map[string]any)
				if !isMap {
					continue
				}
				for _, v := range field {
					if err := boundedDepth(v, left-1); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
