package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/annals-go/annals/codec/avro"
)

// wanted is a schema that a subject shall have.
type wanted struct {
	Subject string
	Event   string // empty if it is that of a file
	Version int    // schema version of the event, or version of the subject in a file
	Schema  avro.Schema
	// reads says whether the program reads what another schema has written. It is nil but
	// for old shapes, which nothing is written with any more.
	reads func(avro.Schema) error
}

// what names it for people.
func (w wanted) what() string {
	if w.Event == "" {
		return w.Subject
	}
	return fmt.Sprintf("%s (%s v%d)", w.Subject, w.Event, w.Version)
}

// declared returns the schemas of the codecs, sorted by subject, event and version.
func (a *app) declared() []wanted {
	var all []wanted
	seen := map[*avro.Format]bool{}
	for _, c := range a.codecs {
		for _, format := range c.Formats() {
			f, ok := format.(*avro.Format)
			if !ok || seen[f] {
				continue
			}
			seen[f] = true
			for _, d := range f.Declared() {
				w := wanted{Subject: d.Subject, Event: d.Name, Version: d.Version, Schema: d.Schema}
				if !a.writes(d.Name, d.Version) {
					w.reads = func(s avro.Schema) error { return f.Resolves(d.Name, d.Version, s) }
				}
				all = append(all, w)
			}
		}
	}
	slices.SortFunc(all, func(a, b wanted) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Event, b.Event), cmp.Compare(a.Version, b.Version))
	})
	return all
}

// writes reports whether a codec writes the event so today.
func (a *app) writes(name string, version int) bool {
	return slices.ContainsFunc(a.codecs, func(c Codec) bool { return c.Writes(name) == version })
}

// history is what has been registered, or committed.
type history interface {
	Versions(ctx context.Context, subject string) ([]avro.Registered, error)
	Mode(ctx context.Context, subject string) (avro.Mode, error)
}

// inMode is a history under a mode that the user gives.
type inMode struct {
	history
	mode avro.Mode
}

func (m inMode) Mode(context.Context, string) (avro.Mode, error) { return m.mode, nil }

// schemaDir is a directory of files SUBJECT.vVERSION.avsc. What a file name cannot have
// is escaped as in a URL. What one uses of others is in its text, as avro.Inline does it.
// Other files are not looked at, not even for that: they may change, and these are history.
type schemaDir struct {
	path     string
	subjects map[string][]avro.Registered
}

var schemaFile = regexp.MustCompile(`^(.+)\.v([1-9][0-9]{0,8})\.avsc$`)

func readSchemaDir(path string) (*schemaDir, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read --dir: %w", err)
	}
	var (
		all   []avro.Registered
		files []avro.File
	)
	for _, e := range entries {
		m := schemaFile.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		subject, err := url.PathUnescape(m[1])
		if err != nil {
			return nil, fmt.Errorf("read --dir: %s: %w", e.Name(), err)
		}
		text, err := os.ReadFile(filepath.Join(path, e.Name())) //nolint:gosec // the user names the directory
		if err != nil {
			return nil, fmt.Errorf("read --dir: %w", err)
		}
		version, err := strconv.Atoi(m[2])
		if err != nil {
			return nil, fmt.Errorf("read --dir: %s: %w", e.Name(), err)
		}
		all = append(all, avro.Registered{Subject: subject, Version: version})
		files = append(files, avro.File{Name: e.Name(), Text: string(text)})
	}
	if files, err = avro.Inline(files...); err != nil {
		return nil, fmt.Errorf("read --dir: %w", err)
	}
	d := &schemaDir{path, map[string][]avro.Registered{}}
	for i, r := range all {
		r.Schema.Text = files[i].Text
		d.subjects[r.Subject] = append(d.subjects[r.Subject], r)
	}
	for _, versions := range d.subjects {
		slices.SortFunc(versions, func(a, b avro.Registered) int { return cmp.Compare(a.Version, b.Version) })
	}
	return d, nil
}

func (d *schemaDir) Versions(_ context.Context, subject string) ([]avro.Registered, error) {
	return d.subjects[subject], nil
}

func (d *schemaDir) Mode(context.Context, string) (avro.Mode, error) {
	return avro.BackwardTransitive, nil
}

// all returns the files as schemas that a registry shall have, oldest first.
func (d *schemaDir) all() []wanted {
	var all []wanted
	for subject, versions := range d.subjects {
		for _, v := range versions {
			all = append(all, wanted{Subject: subject, Version: v.Version, Schema: v.Schema})
		}
	}
	slices.SortFunc(all, func(a, b wanted) int {
		return cmp.Or(cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Version, b.Version))
	})
	return all
}

// next is the file of the version that follows the newest.
func (d *schemaDir) next(subject string) string {
	version := 1
	if all := d.subjects[subject]; len(all) > 0 {
		version = all[len(all)-1].Version + 1
	}
	return fmt.Sprintf("%s.v%d.avsc", url.PathEscape(subject), version)
}

// add writes the next version of a subject.
func (d *schemaDir) add(w wanted) (file string, err error) {
	file = filepath.Join(d.path, d.next(w.Subject))
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(w.Schema.Text), "", "  "); err != nil {
		return "", fmt.Errorf("write %s: %w", file, err)
	}
	b.WriteByte('\n')
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // schemas without secrets, for a repository
	if err != nil {
		return "", fmt.Errorf("write schema: %w", err)
	}
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("write schema: %w", err)
	}
	version := 1
	if all := d.subjects[w.Subject]; len(all) > 0 {
		version = all[len(all)-1].Version + 1
	}
	d.subjects[w.Subject] = append(d.subjects[w.Subject], avro.Registered{Subject: w.Subject, Version: version, Schema: w.Schema})
	return file, nil
}
