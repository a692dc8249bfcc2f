package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
)

// Rows reads the file again and yields the events behind the first so many, in
// order. A row is valid until the next one. Commit no further than the last row
// that had Checked set: the bytes behind it may be others than those that were
// checked. After an error it yields no more.
//
// Errors: ErrChanged, those of the source, and that of ctx.
func (f *Checked) Rows(ctx context.Context, after int64) iter.Seq2[*Row, error] {
	return f.rows(ctx, func(line int64) bool { return line > after+1 })
}

// FirstRows is Rows for the first event of each stream, and for all events of the
// streams that do not begin at version 1: what there is to compare with a store.
// Of these rows Line, Position, Stream, Version, ID, RecordedTime and First are
// set, and Checked is not. It reads the file only if there are many.
func (f *Checked) FirstRows(ctx context.Context, after int64) iter.Seq2[*Row, error] {
	if f.firsts == nil {
		return f.rows(ctx, func(line int64) bool { return line > after+1 && (f.first.has(line) || f.later.has(line)) })
	}
	return func(yield func(*Row, error) bool) {
		for _, r := range f.firsts {
			if r.Line > after+1 && !yield(&r, nil) {
				return
			}
		}
	}
}

func (f *Checked) rows(ctx context.Context, want func(line int64) bool) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		if err := f.read(ctx, want, yield); err != nil {
			yield(nil, fmt.Errorf("read file: %w", err))
		}
	}
}

// read yields the rows of the wanted lines. It compares the sum with that of the
// check at each mark.
func (f *Checked) read(ctx context.Context, want func(line int64) bool, yield func(*Row, error) bool) error {
	if f.Events == 0 {
		return nil
	}
	l, err := openLines(ctx, f.src, f.Bytes)
	if err != nil {
		return changed(err)
	}
	defer func() { _ = l.close() }()
	var (
		p     parser
		row   Row
		marks = f.marks
	)
	for len(marks) > 0 {
		line, err := l.next()
		if err != nil {
			return changed(err)
		}
		l.count()
		at := l.n == marks[0].line
		if at {
			if l.total() != marks[0].sum {
				return ErrChanged
			}
			marks = marks[1:]
		}
		if l.n == 1 || !want(l.n) {
			continue
		}
		row.Line = l.n
		end, refused := p.line(line, &row)
		if refused != nil || end != nil {
			return ErrChanged
		}
		if !f.plain && string(row.Metadata) != "{}" {
			if row.Metadata, err = stored(row.Metadata); err != nil {
				return err
			}
		}
		row.First, row.Checked = f.first.has(l.n), at
		if !yield(&row, nil) {
			return nil
		}
	}
	return nil
}

// stored is metadata as it is stored.
func stored(b []byte) ([]byte, error) {
	m, refused := new(parser).metadata(b)
	if refused != nil {
		return nil, ErrChanged
	}
	return json.Marshal(m)
}

// changed says what it means if a file that was whole is not.
func changed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, ErrRefused) {
		return ErrChanged
	}
	return err
}
