package avrogen

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	avrolib "github.com/twmb/avro"
)

func (g *generator) field(f *avrolib.SchemaField) (fieldModel, error) {
	expr, logical, note, err := g.expr(&f.Type)
	if err != nil {
		return fieldModel{}, err
	}
	m := fieldModel{Name: goName(f.Name), Type: expr, Doc: docLines(f.Doc)}
	if note != "" {
		m.Doc = append(m.Doc, note)
	}
	parts := []string{f.Name}
	if logical != "" {
		parts = append(parts, logical)
	}
	for _, a := range f.Aliases {
		parts = append(parts, "alias="+a)
	}
	typed := typeAliases(&f.Type)
	for _, a := range slices.Concat(f.Aliases, typed) {
		if a == "" || strings.ContainsAny(a, ",()[]") {
			return m, fmt.Errorf("alias %q cannot stand in the tag of a Go field: want one that is not empty, without , ( ) [ ]", a)
		}
	}
	m.Same = strings.Join(parts, ",")
	for _, a := range typed {
		parts = append(parts, "type-alias="+a)
	}
	if dflt, ok := defaultText(f); ok {
		parts = append(parts, "default="+dflt) // the last: it ends with the tag
		m.Same += ",default=" + dflt
	}
	m.Tag = tag(strings.Join(parts, ","))
	return m, nil
}

// typeAliases are those of a type that is defined here: where it is only named, a schema
// that is derived takes them from its definition.
func typeAliases(n *avrolib.SchemaNode) []string {
	switch n.Type {
	case "record", "fixed":
		return n.Aliases
	case "array":
		return typeAliases(n.Items)
	case "map":
		return typeAliases(n.Values)
	case "union":
		if inner, nullable := nullableOf(n); nullable {
			return typeAliases(inner)
		}
	}
	return nil
}

// defaultText is the default of a field as a tag has it: JSON, or text as it is if that
// is not JSON of its own. A nullable field has null for a default, which needs no words.
func defaultText(f *avrolib.SchemaField) (string, bool) {
	if _, nullable := nullableOf(&f.Type); !f.HasDefault || f.Type.Type == "union" && (!nullable || f.Default == nil) {
		return "", false
	}
	v := asText(f.Default)
	text, err := json.Marshal(v)
	if err != nil {
		return "", false // not a number, or infinite
	}
	if s, ok := v.(string); ok && s != "" && !json.Valid([]byte(s)) && strconv.CanBackquote(s) {
		return s, true
	}
	return string(text), true
}

// asText returns a default with one character for each byte of what is bytes in it.
func asText(dflt any) any {
	switch v := dflt.(type) {
	case []byte:
		runes := make([]rune, len(v))
		for i, c := range v {
			runes[i] = rune(c)
		}
		return string(runes)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = asText(v[i])
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k := range v {
			out[k] = asText(v[k])
		}
		return out
	}
	return dflt
}

// tag is a literal of Go.
func tag(avro string) string {
	text := "avro:" + strconv.Quote(avro)
	if strconv.CanBackquote(text) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

// docLines are the lines of a doc comment, which it cannot leave.
func docLines(doc string) []string {
	if strings.TrimSpace(doc) == "" {
		return nil
	}
	lines := strings.FieldsFunc(doc, func(r rune) bool { return r == '\n' || r == '\r' })
	for i, l := range lines {
		if lines[i] = oneLine(l); strings.HasPrefix(lines[i], "+build") {
			lines[i] = "+ build" + strings.TrimPrefix(lines[i], "+build") // gofmt would make it a constraint of the file
		}
	}
	return slices.DeleteFunc(lines, func(l string) bool { return l == "" })
}
