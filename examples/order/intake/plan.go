package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"strings"

	"github.com/annals-go/annals/examples/order/retail"
)

// maxInvoiceLines bounds one invoice and with it the memory that a file of
// repeated lines can take.
const maxInvoiceLines = 100_000

// Plan is what Validate learned of a file: enough to hand out each invoice as
// soon as its last line was read. It is safe for concurrent use; every call of
// Invoices reads the file anew.
type Plan struct {
	// LineCount is the number of records below the header, good and bad.
	LineCount int

	// RejectCount is how many of them will be rejected.
	RejectCount int

	// InvoiceCount is the number of invoices that will be yielded.
	InvoiceCount int

	path    string
	version version

	// lines holds the number of good lines of each invoice. Read only.
	lines map[string]int
}

// Validate reads the whole file and changes nothing. It accepts a file without
// a single good line, and a header alone: what is bad about lines is reported
// by Invoices.
//
// The error names the file, the line where there is one, and the cause; the
// package comment lists the causes. It returns ErrChanged if the file was
// written to meanwhile, and the error of ctx once that ended.
func Validate(ctx context.Context, path string) (*Plan, error) {
	p := &Plan{path: path, lines: map[string]int{}}
	src, err := openSource(ctx, path)
	if err != nil {
		return nil, readError(path, err)
	}
	defer src.close()
	p.version, err = walk(ctx, src, func(e entry) error {
		p.LineCount++
		count := p.lines[e.invoice] + 1
		if count > maxInvoiceLines {
			return fmt.Errorf("invoice %s has more than %d lines", e.invoice, maxInvoiceLines)
		}
		if count == 1 {
			// A substring would keep its whole record in memory.
			e.invoice = strings.Clone(e.invoice)
		}
		p.lines[e.invoice] = count
		return nil
	}, func(Rejection) {
		p.LineCount++
		p.RejectCount++
	})
	if err != nil {
		return nil, readError(path, err)
	}
	p.InvoiceCount = len(p.lines)
	return p, nil
}

// Invoices reads the file again and yields each invoice once and complete, with
// its lines in the order of the file, as soon as its last line was read. The
// customer is that of the first line that has one. An invoice without a good
// line is not yielded.
//
// It calls reject, unless nil, for each bad line, from the goroutine of the
// loop. Good lines and rejected lines together are LineCount.
//
// An error is yielded once, with the zero Invoice, and ends the loop. It is
// ErrChanged if the file is not the one that was validated. A change of size or
// time is noticed before the first invoice; one that hides its time is noticed
// at the latest after the last, when invoices were handed out already.
func (p *Plan) Invoices(ctx context.Context, reject func(Rejection)) iter.Seq2[retail.Invoice, error] {
	if reject == nil {
		reject = func(Rejection) {}
	}
	return func(yield func(retail.Invoice, error) bool) {
		err := p.deliver(ctx, reject, func(invoice retail.Invoice) bool { return yield(invoice, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(retail.Invoice{}, readError(p.path, err))
		}
	}
}

// errStopped says that the caller left the loop.
var errStopped = errors.New("stopped")

func (p *Plan) deliver(ctx context.Context, reject func(Rejection), yield func(retail.Invoice) bool) error {
	src, err := openSource(ctx, p.path)
	if err != nil {
		return err
	}
	defer src.close()
	if src.opened.size != p.version.size || !src.opened.modified.Equal(p.version.modified) {
		return ErrChanged
	}

	missing := maps.Clone(p.lines)
	open := map[string]*retail.Invoice{}
	stopped := false
	read, err := walk(ctx, src, func(e entry) error {
		if missing[e.invoice] == 0 {
			return ErrChanged
		}
		invoice := open[e.invoice]
		if invoice == nil {
			invoice = &retail.Invoice{
				Number: e.invoice,
				Kind:   e.kind,
				Lines:  make([]retail.Line, 0, missing[e.invoice]),
				Rows:   make([]int, 0, missing[e.invoice]),
			}
			open[e.invoice] = invoice
		}
		if invoice.Customer == "" {
			invoice.Customer = e.customer
		}
		invoice.Lines = append(invoice.Lines, e.line)
		invoice.Rows = append(invoice.Rows, e.row)
		if missing[e.invoice]--; missing[e.invoice] > 0 {
			return nil
		}
		delete(missing, e.invoice)
		delete(open, e.invoice)
		if !yield(*invoice) {
			stopped = true
			return errStopped
		}
		return nil
	}, reject)
	switch {
	case stopped:
		return errStopped
	case err != nil:
		return err
	case read.sum != p.version.sum || len(missing) > 0:
		return ErrChanged
	}
	return nil
}

// walk reads a file from its header to its end, calls good or bad for each
// record, in order, and returns the version that it read. An error of good ends
// it and is returned with the line.
func walk(ctx context.Context, src *source, good func(entry) error, bad func(Rejection)) (version, error) {
	rows, err := newRecords(ctx, src.text)
	if err != nil {
		return version{}, err
	}
	for {
		line, fields, err := rows.next()
		if errors.Is(err, io.EOF) {
			return src.finish()
		}
		if err != nil {
			return version{}, err
		}
		e, reason := parseEntry(fields)
		if reason != nil {
			bad(Rejection{
				Line: line,
				// Cloned, since the caller may collect these.
				Invoice: strings.Clone(clip(strings.TrimSpace(fields[0]), maxInvoiceBytes)),
				Reason:  reason.Error(),
			})
			continue
		}
		e.row = line
		if err := good(e); err != nil {
			return version{}, fmt.Errorf("line %d: %w", line, err)
		}
	}
}
