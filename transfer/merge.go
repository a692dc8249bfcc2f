package transfer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// merge looks at what the events of a stream have in common: their versions in
// the order of the file, and their ids. Of all that is wrong it reports what
// comes first in the file.
func (c *checker) merge(ctx context.Context) error {
	wrong, err := c.mergeVersions(ctx)
	if err != nil {
		return err
	}
	twice, err := c.mergeIDs(ctx)
	switch {
	case err != nil:
		return err
	case twice.line > 0 && (wrong == nil || twice.line <= wrong.Line):
		return c.repeated(ctx, twice)
	case wrong == nil:
		return nil
	}
	row, err := c.out.find(ctx, wrong.Line)
	if err != nil {
		return err
	}
	wrong.Stream = row.Stream
	return wrong
}

func (c *checker) mergeVersions(ctx context.Context) (first *Error, err error) {
	var (
		stream  [16]byte
		version uint64
		closed  bool
		later   bool
		n       int
	)
	for r, err := range c.versions.all() {
		if err == nil && n%4096 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		n++
		line, v := int64(binary.BigEndian.Uint64(r[16:])), binary.BigEndian.Uint64(r[24:])
		if n == 1 || !bytes.Equal(stream[:], r[:16]) {
			copy(stream[:], r[:16])
			version, closed, later = v, r[32] == 1, v > 1
			c.out.first.set(line)
			c.out.Streams++
			if later {
				c.out.later.set(line)
			}
			continue
		}
		if later {
			c.out.later.set(line)
		}
		var e *Error
		switch {
		case v <= version:
			e = refuse("version %d follows %d, want %d", v, version, version+1).remedy("lines were reordered or repeated: export again")
		case v > version+1:
			e = refuse("version %d follows %d, want %d", v, version, version+1).remedy("lines are missing: export again, without a selection by name")
		case closed:
			e = refuse("version %d follows an event that closes the stream", v)
		}
		if e != nil && (first == nil || line < first.Line) {
			e.Line = line
			first = e
		}
		version, closed = v, closed || r[32] == 1
	}
	return first, nil
}

// pair is two lines with one id.
type pair struct{ before, line int64 }

func (c *checker) mergeIDs(ctx context.Context) (first pair, err error) {
	var (
		last record
		n    int
	)
	for r, err := range c.ids.all() {
		if err == nil && n%4096 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return pair{}, err
		}
		if line := int64(binary.BigEndian.Uint64(r[32:])); n > 0 && bytes.Equal(last[:32], r[:32]) && (first.line == 0 || line < first.line) {
			first = pair{int64(binary.BigEndian.Uint64(last[32:])), line}
		}
		last = *r
		n++
	}
	return first, nil
}

// repeated says what two events with one id have in common.
func (c *checker) repeated(ctx context.Context, p pair) error {
	before, err := c.out.find(ctx, p.before)
	if err != nil {
		return err
	}
	row, err := c.out.find(ctx, p.line)
	if err != nil {
		return err
	}
	e := refuse("id %s is that of line %d too", row.ID, p.before).remedy("an id is used once in a stream")
	if !before.same(row) {
		e = refuse("id %s is that of line %d too, for other content", row.ID, p.before).remedy("an id is used once in a stream")
	}
	e.Line, e.Stream = p.line, row.Stream
	return e
}

// same compares the content of two events: what makes a repeated append one.
func (r *Row) same(o *Row) bool {
	return r.Name == o.Name && r.Schema == o.Schema && r.ContentType == o.ContentType && r.Closes == o.Closes && bytes.Equal(r.Payload, o.Payload)
}

// find reads the file again up to a line. It is for messages.
func (f *Checked) find(ctx context.Context, line int64) (*Row, error) {
	l, err := openLines(ctx, f.src, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.close() }()
	for {
		text, err := l.next()
		if errors.Is(err, io.EOF) {
			return nil, ErrChanged
		}
		if err != nil {
			return nil, err
		}
		if l.n < line {
			continue
		}
		row := &Row{Line: line}
		if _, err := new(parser).line(text, row); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrChanged, err)
		}
		row.Payload = bytes.Clone(row.Payload)
		return row, nil
	}
}
