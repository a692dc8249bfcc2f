package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// show reports progress until the function that it returns is called, with true
// if all went through: bars on a terminal, plain lines elsewhere.
func (m *meter) show(ctx context.Context, w io.Writer, invoices int) (stop func(complete bool)) {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return m.bars(ctx, w, invoices)
	}
	return m.plain(ctx, w, invoices)
}

// every calls fn now and then, until the returned function is called.
func every(ctx context.Context, d time.Duration, fn func()) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ended:
				return
			case <-tick.C:
				fn()
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
	}
}

func (m *meter) plain(ctx context.Context, w io.Writer, invoices int) func(bool) {
	began := time.Now()
	line := func() {
		took := time.Since(began)
		done := m.appended.invoices.Load()
		fmt.Fprintf(w, "appended %d/%d invoices (%.0f/s, eta %s)  relayed %d events (%.0f/s, lag %d)  projected %d events (%.0f/s, lag %d, eta %s)\n",
			done, invoices, rate(done, took), eta(done, int64(invoices), took),
			m.relayed.events.Load(), rate(m.relayed.events.Load(), took), m.lag(&m.relayed),
			m.projected.events.Load(), rate(m.projected.events.Load(), took), m.lag(&m.projected),
			eta(m.projected.events.Load(), m.expected(invoices), took))
	}
	stop := every(ctx, time.Second, line)
	return func(bool) {
		stop()
		line()
	}
}

func (m *meter) bars(ctx context.Context, w io.Writer, invoices int) func(bool) {
	p := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
	bar := func(name string, lag func() int64) *mpb.Bar {
		return p.AddBar(0, // the total is set later: a bar that has one from the start ends there by itself
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR), decor.CountersNoUnit("%d / %d", decor.WCSyncSpace)),
			mpb.AppendDecorators(
				decor.AverageSpeed(0, "%.0f/s", decor.WCSyncSpace),
				decor.Any(func(decor.Statistics) string { return fmt.Sprintf("lag %d", lag()) }, decor.WCSyncSpace),
				decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO, decor.WCSyncSpace), "done"),
			))
	}
	appended := bar("appended", func() int64 { return max(0, int64(invoices)-m.appended.invoices.Load()) })
	relayed := bar("relayed", func() int64 { return m.lag(&m.relayed) })
	projected := bar("projected", func() int64 { return m.lag(&m.projected) })
	update := func() {
		appended.SetTotal(int64(invoices), false)
		appended.SetCurrent(m.appended.invoices.Load())
		for b, s := range map[*mpb.Bar]*stage{relayed: &m.relayed, projected: &m.projected} {
			b.SetTotal(max(m.expected(invoices), s.events.Load()), false)
			b.SetCurrent(s.events.Load())
		}
	}
	update()
	stop := every(ctx, 100*time.Millisecond, update)
	return func(complete bool) {
		stop()
		for b, n := range map[*mpb.Bar]int64{appended: m.appended.invoices.Load(), relayed: m.relayed.events.Load(), projected: m.projected.events.Load()} {
			if !complete {
				b.Abort(false)
				continue
			}
			b.SetCurrent(n)
			b.SetTotal(n, true)
		}
		p.Wait()
	}
}

func rate(n int64, took time.Duration) float64 {
	if took <= 0 {
		return 0
	}
	return float64(n) / took.Seconds()
}

func eta(done, total int64, took time.Duration) string {
	switch {
	case done >= total:
		return "0s"
	case done == 0:
		return "?"
	}
	return (took * time.Duration(total-done) / time.Duration(done)).Round(time.Second).String()
}
