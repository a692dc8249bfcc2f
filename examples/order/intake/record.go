package intake

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// columns is the header of an order file.
var columns = []string{
	"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
}

// maxRecord bounds one CSV record, in bytes, the blank lines before it
// included.
const maxRecord = 1 << 20

var errRecordTooLarge = fmt.Errorf("record is larger than %d bytes, is a quote left open?", maxRecord)

// records reads CSV records of bounded size and knows on which line each
// starts.
type records struct {
	ctx   context.Context
	csv   *csv.Reader
	meter *meter

	// line is where the record after the last one would start.
	line int
}

// newRecords reads the header. Not safe for concurrent use.
func newRecords(ctx context.Context, text io.Reader) (*records, error) {
	m := &meter{r: text}
	r := &records{ctx: ctx, csv: csv.NewReader(m), meter: m, line: 1}
	r.csv.FieldsPerRecord = -1
	r.csv.ReuseRecord = true
	line, header, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("is empty")
	}
	if err != nil {
		return nil, err
	}
	if !slices.Equal(header, columns) {
		return nil, fmt.Errorf("line %d: columns are %s, want %s", line, quoted(strings.Join(header, ",")), strings.Join(columns, ","))
	}
	return r, nil
}

// next returns a record and the line it starts on, and io.EOF after the last.
// The record is valid until the following call; its strings are for good.
func (r *records) next() (int, []string, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, nil, err
	}
	start := r.csv.InputOffset()
	r.meter.limit = start + maxRecord
	fields, err := r.csv.Read()
	switch {
	case errors.Is(r.meter.err, errRecordTooLarge):
		return 0, nil, fmt.Errorf("line %d: %w", r.line, r.meter.err)
	case r.meter.err != nil:
		// Before the CSV error: half a record seldom is valid CSV.
		return 0, nil, r.meter.err
	case err == io.EOF:
		return 0, nil, io.EOF
	case err != nil:
		return 0, nil, r.parseError(err)
	case r.csv.InputOffset()-start > maxRecord:
		return 0, nil, fmt.Errorf("line %d: %w", r.line, errRecordTooLarge)
	}
	first, _ := r.csv.FieldPos(0)
	last, _ := r.csv.FieldPos(len(fields) - 1)
	r.line = last + strings.Count(fields[len(fields)-1], "\n") + 1
	return first, fields, nil
}

// parseError names the line where the record starts: where a quote is left
// open, the line that the parser stops at says nothing.
func (r *records) parseError(err error) error {
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return fmt.Errorf("line %d: %w", parse.StartLine, parse.Err)
	}
	return err
}

// meter stops reading when the bytes read exceed limit, and keeps the first
// error other than io.EOF. The CSV reader asks for more only when it has used
// up what it has, so passing limit means that one record did.
type meter struct {
	r     io.Reader
	read  int64
	limit int64
	err   error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.err == nil && m.read > m.limit {
		m.err = errRecordTooLarge
	}
	if m.err != nil {
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.read += int64(n)
	if err != nil && err != io.EOF {
		m.err = causeOf(err)
	}
	return n, err
}
