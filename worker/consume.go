package worker

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// Consume reads a partitioned source until ctx ends, and returns nil then, after the
// deliveries in flight. It is Run with another source: what is read, and by whom,
// the source decides, and each part that it gives has a mark and a term of its own.
// It waits, and returns, as Run does.
func (r Reader) Consume(ctx context.Context, source Source) error {
	w := newRun(r)
	return w.consume(ctx, source)
}

// sink takes what a source delivers.
type sink struct {
	*run
	source  *segment // waits while the source fails, and then nothing is delivered
	mu      sync.Mutex
	parts   map[string]*member
	met     map[string]bool         // lineages that deliveries have come with
	ongoing context.Context         //nolint:containedctx // that of Consume: it outlives a connection of the source
	fail    context.CancelCauseFunc // ends Consume with an error
}

// member is a part that the source has given to this reader.
type member struct {
	turn    chan struct{} // full while there is a delivery, or a drain: one at a time
	seg     *segment
	retired bool
}

func (w *run) consume(ctx context.Context, source Source) (err error) {
	w.Health.began(w.Name)
	defer func() { w.Health.ended(err) }()
	outer := ctx
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &sink{run: w, source: &segment{run: w}, parts: map[string]*member{}, met: map[string]bool{}, ongoing: ctx, fail: fail}
	var background sync.WaitGroup
	beside, cancel := context.WithCancel(ctx)
	background.Go(func() { s.renewAll(beside) })
	background.Go(func() { s.drainAll(beside) })
	defer func() {
		cancel()
		background.Wait()
		s.leave(ctx)
	}()
	defer s.goesOn()
	for ctx.Err() == nil {
		err := Guard(func() error { return source.Consume(ctx, s) })
		switch {
		case outer.Err() != nil:
			return nil
		case ctx.Err() != nil: // a drain has failed
			return context.Cause(ctx)
		case err == nil:
			return nil // it has no more, as those of tests
		case w.fatal(err):
			return err
		}
		if errors.Is(err, errTermOver) {
			s.source.rest(ctx)
			continue
		}
		s.source.stand(ctx, "the source fails", err)
	}
	return nil
}

// goesOn ends the wait for the source, if there was one.
func (s *sink) goesOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.source.pauses > 0 {
		s.source.resumed(time.Since(s.source.paused))
	}
}

// Begin implements Sink: it takes the terms of the parts from whoever had them.
func (s *sink) Begin(ctx context.Context, parts ...string) (Checkpoint, error) {
	for _, part := range parts {
		if err := s.seize(ctx, part); err != nil {
			return nil, err
		}
	}
	c, err := s.Store.Checkpoint(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	if _, _, err := s.run.Begin(ctx, "", c); err != nil {
		return nil, err
	}
	for _, part := range parts {
		if err := s.open(ctx, part, c[part]); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (s *sink) seize(ctx context.Context, part string) error {
	term, err := s.Store.Claim(ctx, Claiming{Name: s.Name, Holder: s.Holder, Segment: part, Lease: s.Lease, Seize: true})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.parts[part]; before != nil {
		s.Hooks.lost(TermLost{s.Name, before.seg.term, "it was given again"})
	}
	s.parts[part] = &member{turn: make(chan struct{}, 1), seg: s.segment(term, part, nil)}
	s.Hooks.gained(TermGained{s.Name, term})
	return nil
}

func (s *sink) member(part string) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parts[part]
}

// open has a segment know where it stands.
func (s *sink) open(ctx context.Context, part string, at Mark) error {
	m := s.member(part)
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.exit()
	m.seg.mark = at
	return m.seg.settle(ctx)
}

// reread reads where a part of a source stands, and what is parked if that has changed.
func (s *segment) reread(ctx context.Context) error {
	c, err := s.Store.Checkpoint(ctx, s.Name)
	if err != nil {
		return err
	}
	s.mark = c[s.part]
	return s.settle(ctx)
}

// enter waits until nobody else works on the part.
func (m *member) enter(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) exit() { <-m.turn }

// renewAll says that the parts are still worked on, for those who look. It decides
// nothing: the source does.
func (s *sink) renewAll(ctx context.Context) {
	for {
		var segments []*segment
		s.mu.Lock()
		for _, m := range s.parts {
			segments = append(segments, m.seg)
		}
		s.mu.Unlock()
		if _, err := s.renew(ctx, segments, s.source.report()); err != nil && ctx.Err() == nil {
			s.Logger.WarnContext(ctx, "cannot renew terms", "name", s.Name, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(s.Lease / 3):
		case <-s.kick:
		}
	}
}

// drainPoll is how often a consumer looks whether something parked is due, or was
// decided on.
const drainPoll = time.Second

// drainAll tries what is parked, between deliveries.
func (s *sink) drainAll(ctx context.Context) {
	for pause(ctx, drainPoll) {
		s.mu.Lock()
		all := slices.Collect(maps.Values(s.parts))
		s.mu.Unlock()
		for _, m := range all {
			select {
			case m.turn <- struct{}{}:
			default:
				continue // a delivery is under way
			}
			if len(m.seg.held) > 0 {
				s.drainPart(ctx, m)
			}
			m.exit()
		}
	}
}

func (s *sink) drainPart(ctx context.Context, m *member) {
	if m.retired {
		return
	}
	for again := true; again && ctx.Err() == nil; {
		err := m.seg.reread(ctx)
		if err == nil {
			again, err = m.seg.drainDue(ctx)
		}
		if err != nil {
			switch err := m.seg.recover(ctx, err); {
			case errors.Is(err, errTermOver): // another member has it
				m.retired = true
			case err != nil:
				s.fail(err)
			}
			return
		}
	}
}

// leave gives the terms up.
func (s *sink) leave(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*tenure
	for _, m := range s.parts {
		m.turn <- struct{}{}
		m.seg.tidyUp(ctx)
		m.exit()
		all = append(all, &tenure{term: m.seg.term})
	}
	s.resign(ctx, true, all...)
	for _, t := range all {
		s.Hooks.lost(TermLost{s.Name, t.term, "the worker ends"})
	}
}
