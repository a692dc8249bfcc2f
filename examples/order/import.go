package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/examples/order/intake"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
	"github.com/annals-go/annals/examples/order/sales"
)

// importJob is one run of the import command.
type importJob struct {
	input, report, rejected string
	verify                  bool
	writers                 int
	out                     io.Writer // the summary
	progressTo              io.Writer
}

// run validates the whole file before it starts anything.
func (j *importJob) run(ctx context.Context) error {
	began := time.Now()
	if err := j.check(); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	plan, err := intake.Validate(ctx, j.input)
	if err != nil {
		return err
	}
	totals := &totals{validated: time.Since(began)}
	rejected, err := intake.CreateRejected(j.rejected)
	if err != nil {
		return err
	}
	defer rejected.Discard()
	p, err := openPipeline(ctx, j.writers)
	if err != nil {
		return err
	}
	defer p.close()

	if err := j.transport(ctx, p, plan, rejected, totals); err != nil {
		return err
	}
	if err := rejected.Close(); err != nil {
		return err
	}
	if err := j.writeReport(ctx, p); err != nil {
		return err
	}
	if err := totals.write(j.out, j, p.meter); err != nil {
		return err
	}
	if j.verify {
		return j.verifyModel(ctx, p)
	}
	return nil
}

func (j *importJob) check() error {
	if j.writers < 1 || j.writers > 64 {
		return fmt.Errorf("--writers is %d, want 1 to 64", j.writers)
	}
	names := map[string]string{}
	for _, flag := range []struct{ name, path string }{{"--input", j.input}, {"--report", j.report}, {"--rejected", j.rejected}} {
		path, err := filepath.Abs(flag.path)
		if err != nil {
			return err
		}
		if other, twice := names[path]; twice {
			return fmt.Errorf("%s and %s are both %s", other, flag.name, flag.path)
		}
		names[path] = flag.name
	}
	if info, err := os.Stat(filepath.Dir(j.report)); err != nil || !info.IsDir() {
		return fmt.Errorf("--report %s: its directory does not exist", j.report)
	}
	if info, err := os.Stat(j.report); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--report %s: exists and is not a regular file", j.report)
	}
	return nil
}

// transport runs all stages at once and returns when every event is in the read model.
func (j *importJob) transport(ctx context.Context, p *pipeline, plan *intake.Plan, rejected *intake.RejectedFile, t *totals) error {
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	p.start(ctx, group)
	stopProgress := p.meter.show(ctx, j.progressTo, plan.InvoiceCount)
	group.Go(func() error {
		defer cancel() // ends the other stages
		if err := j.place(ctx, p, plan, rejected, t); err != nil {
			return err
		}
		t.placed = time.Since(began)
		if err := p.await(ctx); err != nil {
			return err
		}
		t.transported = time.Since(began)
		return nil
	})
	err := group.Wait()
	stopProgress(err == nil && t.transported > 0)
	if err == nil && t.transported == 0 {
		err = context.Cause(ctx) // interrupted from outside
	}
	return err
}

// place sends each invoice to its aggregate, several at once.
func (j *importJob) place(ctx context.Context, p *pipeline, plan *intake.Plan, rejected *intake.RejectedFile, t *totals) error {
	group, ctx := errgroup.WithContext(ctx)
	invoices := make(chan retail.Invoice)
	desk := &desk{file: rejected, totals: t}
	for range j.writers {
		group.Go(func() error {
			for invoice := range invoices {
				if err := desk.place(ctx, p, invoice); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(invoices)
		for invoice, err := range plan.Invoices(ctx, desk.reject) {
			if err != nil {
				return err
			}
			select {
			case invoices <- invoice:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return desk.err
}

// desk turns invoices into commands, and keeps what it cannot accept.
type desk struct {
	mu   sync.Mutex
	file *intake.RejectedFile
	err  error // of writing the file
	*totals
}

func (d *desk) place(ctx context.Context, p *pipeline, invoice retail.Invoice) error {
	ctx = event.WithMetadata(ctx, event.Metadata{Actor: "order import", EventTime: invoice.Lines[0].At})
	var (
		res aggregate.Result
		err error
	)
	switch invoice.Kind {
	case retail.Order:
		res, err = p.orders.Execute(ctx, invoice.Number, order.Place{Customer: invoice.Customer, Lines: invoice.Lines})
	case retail.Return:
		res, err = p.returns.Execute(ctx, invoice.Number, returns.Accept{Customer: invoice.Customer, Lines: invoice.Lines})
	}
	switch {
	case refused(err):
		for _, row := range invoice.Rows {
			d.reject(intake.Rejection{Line: row, Invoice: invoice.Number, Reason: err.Error()})
		}
		res.Events = 0
	case err != nil:
		return fmt.Errorf("import invoice %s: %w", invoice.Number, err)
	}
	d.count(invoice, res, err != nil)
	p.meter.appended.add(res.Events, 1)
	return nil
}

// refused reports an answer about this invoice alone: the import goes on.
func refused(err error) bool {
	return errors.Is(err, order.ErrDiffers) || errors.Is(err, returns.ErrDiffers) || errors.Is(err, eventstore.ErrLimit)
}

func (d *desk) reject(r intake.Rejection) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rejectedLines++
	if err := d.file.Write(r); err != nil && d.err == nil {
		d.err = err
	}
}

func (d *desk) count(invoice retail.Invoice, res aggregate.Result, refused bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case refused:
		d.refused++
	case res.Events == 0:
		d.unchanged++
	case invoice.Kind == retail.Order:
		d.orders++
	default:
		d.returns++
	}
	if !refused {
		d.lines += len(invoice.Lines)
	}
	d.events += res.Events
}

func (j *importJob) verifyModel(ctx context.Context, p *pipeline) error {
	v, err := sales.Verify(ctx, p.pool, p.db)
	if err != nil {
		return err
	}
	for _, d := range v.Differences {
		fmt.Fprintln(j.out, d)
	}
	if len(v.Differences) > 0 {
		return fmt.Errorf("verify: the read model differs from a rebuild of %d events: see the rows above", v.Events)
	}
	_, err = fmt.Fprintf(j.out, "verified      %d rows, rebuilt from %d events, no difference\n", v.Rows, v.Events)
	return err
}
