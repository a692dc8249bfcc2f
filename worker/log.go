package worker

import (
	"context"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// mostRead is the most events of a page of which a segment takes its own.
const mostRead = 10_000

// readLog works until ctx ends, and returns nil then.
func (s *segment) readLog(ctx context.Context) error {
	s.most = min(s.Batch*s.Segments, max(s.Batch, mostRead))
	s.size = s.most
	if s.FirstBatch > 0 {
		s.size = min(s.size, s.FirstBatch)
	}
	defer func() {
		s.tidyUp(ctx)
		if s.pauses > 0 {
			s.resumed(time.Since(s.paused))
		}
	}()
	for ctx.Err() == nil {
		idle, err := s.step(ctx)
		switch {
		case err == nil && idle:
			err = s.wait(ctx)
		case err == nil:
		default:
			err = s.recover(ctx, err)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// step applies one page, and before it what is parked and due.
func (s *segment) step(ctx context.Context) (idle bool, err error) {
	if !s.begun {
		reading, cancel := context.WithTimeout(ctx, s.Timeout)
		defer cancel()
		if err := s.begin(reading); err != nil {
			return false, err
		}
	}
	drained := false
	if s.from >= s.mark.Position { // what is read again first may be older than what is parked
		if drained, err = s.drainDue(ctx); err != nil {
			return false, err
		}
	}
	reading, cancel := context.WithTimeout(ctx, s.Timeout) // the drain had its own
	defer cancel()
	page, err := s.pages.read(reading, ctx, s.Timeout, eventstore.LogQuery{After: s.from, Limit: s.most, Server: s.mark.Server})
	if err != nil {
		return false, err
	}
	if len(page.Events) > 0 {
		if err := s.take(ctx, &intake{page: page, own: true, mark: logMark}); err != nil {
			return false, err
		}
	}
	idle, s.behind = page.Next == s.from, len(page.Events) >= s.Batch
	s.from = page.Next
	s.progress(s.part, s.from)
	if idle {
		s.fair = time.Time{}
	}
	return idle && !drained, nil
}

// logMark is the mark after the events lo to hi of a page.
func logMark(m Mark, in *intake, lo, hi int) Mark {
	to := in.page.Next
	if hi < len(in.page.Events) {
		to = in.page.Events[hi-1].Position
	}
	return m.Reached(to, in.page.Events[lo:hi])
}

// wait waits for more of the log, or until something parked is due. With something
// parked it also looks whether somebody has decided on it.
func (s *segment) wait(ctx context.Context) error {
	if len(s.held) > 0 {
		c, err := s.Store.Checkpoint(ctx, s.Name)
		if err != nil {
			return s.recover(ctx, err)
		}
		if c[s.part].Revision != s.mark.Revision {
			s.begun = false
			return nil
		}
	}
	waiting, cancel := context.WithCancel(ctx)
	if len(s.held) > 0 { // the log does not tell of what somebody decides
		look := time.Now().Add(s.Lease / 3)
		if due, ok := s.nextDue(); ok && due.Before(look) {
			look = due
		}
		waiting, cancel = context.WithDeadline(ctx, look)
	}
	defer cancel()
	if err := s.Log.Wait(waiting, s.from); err != nil && waiting.Err() == nil {
		return s.recover(ctx, err)
	}
	return nil
}
