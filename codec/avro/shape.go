package avro

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"

	avrolib "github.com/twmb/avro"

	"github.com/annals-go/annals/codec/avro/internal/node"
)

// shape is what a name and schema version of an event are stored as.
type shape struct {
	Declared // Written is guarded by Format.mu
	typ      reflect.Type
	derived  bool // its schema is that of the type
	parsed   *avrolib.Schema
	root     *part
	open     bool // the type has an any in it: see kept
}

type shapeKey struct {
	name   string
	schema int
}

func (f *Format) newShape(name string, schema int, typ reflect.Type, written bool) (*shape, error) {
	s := &shape{typ: typ, Declared: Declared{Name: name, Version: schema, Written: written}}
	file := fmt.Sprintf("%s.v%d.avsc", name, schema)
	text, fromFile, err := f.text(file, name, schema, typ)
	if err != nil {
		return nil, err
	}
	s.derived, s.Schema = !fromFile, Schema{Text: text}
	if s.parsed, err = parseBounded(s.Schema, f.limits); err != nil {
		return nil, err
	}
	root := s.parsed.Root()
	if !isRecord(root) {
		return nil, fmt.Errorf("%s: want a record, got %s", file, root.Type)
	}
	if fromFile {
		if s.open, err = fits(s.parsed, typ); err != nil {
			return nil, fmt.Errorf("%v does not fit %s: %w", typ, file, err)
		}
	}
	if s.root, err = compile(s.parsed); err != nil {
		return nil, err
	}
	s.Subject = node.FullName(root)
	if f.subject != nil {
		s.Subject = f.subject(name, s.Subject)
	}
	return s, nil
}

// text returns the schema of the file, or that of the type if there is no such file.
func (f *Format) text(file, name string, schema int, typ reflect.Type) (text string, fromFile bool, err error) {
	if f.files != nil {
		b, err := fs.ReadFile(f.files, file)
		if err == nil {
			text, err := f.inlined(file, string(b))
			return text, true, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", false, err
		}
	}
	text, err = derive(name, schema, typ)
	return text, false, err
}

// inlined returns the text of a file with what it uses of the files beside it.
func (f *Format) inlined(file, text string) (string, error) {
	if _, err := parseBounded(Schema{Text: text}, f.limits); err == nil {
		return text, nil // it needs none
	}
	names, err := fs.Glob(f.files, "*.avsc")
	if err != nil {
		return "", err
	}
	at := slices.Index(names, file)
	if at < 0 {
		return text, nil // of files that cannot be listed
	}
	var files []File
	for _, name := range names {
		b, err := fs.ReadFile(f.files, name)
		if err != nil {
			return "", err
		}
		files = append(files, File{Name: name, Text: string(b)})
	}
	if files, err = Inline(files...); err != nil {
		return "", err
	}
	return files[at].Text, nil
}
