// Package avrogen makes Go types of Avro schemas, for teams that write the schema first.
//
// # Usage
//
//	source, err := avrogen.Generate("order", avrogen.File{Name: "order.placed.v1.avsc", Text: text})
//
// annals schema gen does that with files. The types are stored through a codec whose format
// has the same files (avro.WithSchemas), so what is written has the schema of the file, and
// not one that is derived from the Go type. Give them the marker of the sealed interface in
// a file of your own.
//
// # Types
//
// A record is a struct, an enum a type of string with a constant for each symbol, a fixed
// an array of bytes, a union of null and one other a pointer, and any other union any, with
// a comment that lists what it may hold; a union of two records is an error, since a value
// would not say which of them it is. Of the logical types date and the timestamps are
// time.Time, times of a day time.Duration, decimal is big.Rat with a tag, and uuid is
// string. Others are what they are written as.
//
// Fields have Go names with the usual initialisms: order_id is OrderID. A type keeps its
// name if Go can export it. So no name is a keyword, a predeclared one or that of an import.
// Names that would be the same in Go are an error, and so is an alias that a tag cannot hold.
// Documentation becomes comments of one line each, with what is not to be seen as escapes.
//
// The tags say name, aliases, logical type and default, so a schema that avro.New derives
// from the struct reads and is read by that of the file, but for enums, unions of several,
// and names that Go has in another spelling.
package avrogen

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"go/token"
	"strconv"
	"strings"
	"text/template"
	"unicode"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro"
)

// File is a schema, and how errors and the generated code name it.
type File struct {
	Name string
	Text []byte
}

// Generate returns the source of a Go file of the package with the types of all files, in
// their order, gofmt-ed. A file may use types that another one defines, whichever comes
// first, as avro.Inline has it; files that define the same type have to agree on it, but for
// documentation. The same files give the same bytes. Errors name the file, and the type and
// field.
func Generate(pkg string, files ...File) ([]byte, error) {
	source, err := generate(pkg, files)
	if err != nil {
		return nil, fmt.Errorf("generate types: %w", err)
	}
	return source, nil
}

func generate(pkg string, files []File) ([]byte, error) {
	if !token.IsIdentifier(pkg) || pkg == "_" {
		return nil, fmt.Errorf("package %q: want a Go identifier that is no keyword", pkg)
	}
	if len(files) == 0 {
		return nil, errors.New("no files, want at least one schema")
	}
	all := make([]avro.File, len(files))
	for i, f := range files {
		all[i] = avro.File{Name: oneLine(f.Name), Text: string(f.Text)}
	}
	all, err := avro.Inline(all...)
	if err != nil {
		return nil, err
	}
	g := newGenerator(all)
	m := model{Package: pkg}
	for _, f := range all {
		m.Files = append(m.Files, f.Name)
		parsed, err := avrolib.Parse(f.Text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, remedied(err))
		}
		if err := g.collect(f, parsed.Root()); err != nil {
			return nil, err
		}
	}
	if m.Types, err = g.types(); err != nil {
		return nil, err
	}
	m.Time, m.Big = g.usesTime, g.usesBig
	var b bytes.Buffer
	if err := source.Execute(&b, m); err != nil {
		return nil, err
	}
	return format.Source(b.Bytes())
}

// remedied says what names are like if the parser has refused one.
func remedied(err error) error {
	text := strings.TrimPrefix(err.Error(), "avro: ")
	if what, _, bad := strings.Cut(text, `: invalid name "`); bad {
		return fmt.Errorf("%s: Avro has names of the letters A to Z, digits and _ only, which begin with no digit, and namespaces of such names with dots between them: rename it", what)
	}
	return errors.New(text)
}

// oneLine makes a text fit for a comment of one line: white space is a space, and what is not
// to be seen, or changes how the rest is seen, an escape.
func oneLine(s string) string {
	var b strings.Builder
	for _, r := range strings.Join(strings.Fields(s), " ") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

// model is what the template shows.
type model struct {
	Package   string
	Files     []string
	Time, Big bool
	Types     []typeModel
}

type typeModel struct {
	Name    string
	Doc     []string // lines
	Kind    string   // struct, or what the type is
	Logical string   // of a fixed
	Fields  []fieldModel
	Symbols []symbolModel
}

// key is the same for two definitions that give the same type, but for comments, and for
// aliases of types, which stand where a type is defined.
func (t typeModel) key() string {
	all := []string{t.Kind, t.Logical}
	for _, f := range t.Fields {
		all = append(all, f.Name, f.Type, f.Same)
	}
	for _, s := range t.Symbols {
		all = append(all, s.Symbol)
	}
	return strings.Join(all, "\n")
}

type fieldModel struct {
	Name, Type, Tag string
	Doc             []string
	Same            string // what the tag says, but for aliases of the type
}

type symbolModel struct{ Name, Symbol, Value string }

var source = template.Must(template.New("types").Parse(`// Code generated by annals schema gen from {{range $i, $f := .Files}}{{if $i}}, {{end}}{{$f}}{{end}}. DO NOT EDIT.

package {{.Package}}
{{if or .Time .Big}}
import (
{{- if .Big}}
	"math/big"
{{- end}}
{{- if .Time}}
	"time"
{{- end}}
)
{{end}}
{{- range .Types}}
{{range .Doc}}// {{.}}
{{end -}}
{{if eq .Kind "struct" -}}
type {{.Name}} struct {
{{- range .Fields}}
{{range .Doc}}	// {{.}}
{{end}}	{{.Name}} {{.Type}} {{.Tag}}
{{- end}}
}
{{else -}}
type {{.Name}} {{.Kind}}
{{end}}
{{- if .Symbols}}
{{- $type := .Name}}
// The symbols of {{.Name}}.
const (
{{- range .Symbols}}
	{{.Name}} {{$type}} = {{.Value}}
{{- end}}
)
{{end}}
{{- end}}`))
