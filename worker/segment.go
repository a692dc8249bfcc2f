package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// segment is the work on one part under one term. Its methods are for one goroutine
// at a time, those of hangs and report aside.
type segment struct {
	*run
	term    Term
	part    string
	trusted *atomic.Int64 // UnixNano until which the lease runs at least; nil: somebody else decides

	begun bool
	mark  Mark           // as it is stored, and as a place in the log as it is now
	from  event.Position // where the next page begins
	held  map[string]*Parked
	fair  time.Time // no parked key before this time, while there is other work
	broke time.Time // nor before this one, for want of a budget

	size    int               // the most events of the next batch
	looked  bool              // at what the term before has left
	suspect Claim             // what a worker before this one has begun and not ended
	claimed bool              // this term has said what it begins with
	proven  bool              // a batch has taken effect since the term began
	tally   tally             // how many keys fail
	applied int               // events that took effect, to tell whether the fault is a key's
	tried   map[string]int    // what applied was when a key was tried last
	trying  map[string]Parked // what was known of keys before this term began an attempt
	pauses  int               // in a row
	paused  time.Time         // since when

	fresh     atomic.Bool  // a delivery took effect
	busyUntil atomic.Int64 // UnixNano: when the batch in flight is long overdue; 0: there is none
	mu        sync.Mutex
	state     Report
}

// grace is how much longer than its timeout a batch may take before it counts as hung:
// the store has its own deadlines for what comes after the handler.
const grace = 15 * time.Second

func (w *run) segment(term Term, part string, trusted *atomic.Int64) *segment {
	return &segment{run: w, term: term, part: part, trusted: trusted, size: w.Batch, tried: map[string]int{}, trying: map[string]Parked{}}
}

// hangs reports whether the batch in flight is long overdue.
func (s *segment) hangs(now time.Time) bool {
	until := s.busyUntil.Load()
	return until != 0 && now.UnixNano() > until
}

func (s *segment) report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *segment) tell(change func(*Report)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

// begin reads where the part stands, and what is parked.
func (s *segment) begin(ctx context.Context) error {
	c, err := s.Store.Checkpoint(ctx, s.Name)
	if err != nil {
		return err
	}
	if s.mark, s.from, err = s.Begin(ctx, s.part, c); err != nil {
		return err
	}
	return s.settle(ctx)
}

// settle reads what is parked, and what was begun behind the mark.
func (s *segment) settle(ctx context.Context) error {
	held := map[string]*Parked{}
	q := ParkedQuery{Name: s.Name, Part: &s.part, Limit: 1000}
	for {
		page, err := s.Store.Parked(ctx, q)
		if err != nil {
			return err
		}
		for i := range page {
			held[page[i].Key.Key] = &page[i]
			q.After = page[i].Key
		}
		if len(page) < q.Limit {
			break
		}
	}
	s.held, s.begun = held, true
	if !s.looked { // later it is a claim of this term, whose worker lives
		s.looked, s.suspect = true, s.mark.Claim
	}
	s.progress(s.part, s.mark.Position)
	return nil
}

// readLog works until ctx ends, and returns nil then.
func (s *segment) readLog(ctx context.Context) error {
	defer func() {
		if s.pauses > 0 {
			s.resumed(time.Since(s.paused))
		}
	}()
	defer func() {
		if ctx.Err() != nil {
			s.takeBack(ctx)
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

// takeBack says that what this term has begun and not ended, because it was stopped,
// has not ended the process. What a term before it has left stays as it was.
func (s *segment) takeBack(ctx context.Context) {
	if !s.claimed && len(s.trying) == 0 {
		return
	}
	ctx, cancel := Detach(ctx, s.Timeout)
	defer cancel()
	if !s.begun && s.begin(ctx) != nil {
		return // as if it had crashed
	}
	next := s.mark
	if s.claimed && next.Claim.Events > 0 {
		next.Claim = s.suspect
	}
	w := Write{Marks: Checkpoint{s.part: next}}
	for key := range s.trying {
		if p := s.held[key]; p != nil && p.Error == begunText {
			s.killed(p)
			w.Park = append(w.Park, *p)
		}
	}
	if next.Claim == s.mark.Claim && len(w.Park) == 0 {
		return
	}
	if err := s.save(ctx, w); err != nil {
		s.Logger.InfoContext(ctx, "cannot take back what was begun", "name", s.Name, "part", s.part, "error", err)
	}
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
	drained, err := s.drainDue(ctx)
	if err != nil {
		return false, err
	}
	reading, cancel := context.WithTimeout(ctx, s.Timeout) // the drain had its own
	defer cancel()
	page, err := s.pages.read(reading, eventstore.LogQuery{After: s.from, Limit: s.Batch, Server: s.mark.Server})
	if err != nil {
		return false, err
	}
	if len(page.Events) > 0 {
		if err := s.take(ctx, &intake{page: page, own: true, mark: logMark}); err != nil {
			return false, err
		}
	}
	idle = page.Next == s.from
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

// recover waits, if that mends the error, so that the next step begins anew.
func (s *segment) recover(ctx context.Context, err error) error {
	s.begun = false
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errTermOver):
		return err
	case errors.Is(err, ErrFenced):
		return s.fenced(ctx)
	case errors.Is(err, eventstore.ErrOtherServer):
		s.Logger.InfoContext(ctx, "the log is held by another server", "name", s.Name, "part", s.part, "position", s.from)
		s.rest(ctx)
		return nil
	case s.fatal(err) || s.pauses+1 >= s.Retry.Attempts && s.to != nil:
		if s.to != nil && !s.fatal(err) {
			return fmt.Errorf("%s: %d attempts: %w", s.Name, s.pauses+1, err)
		}
		return err
	}
	s.stand(ctx, "cannot go on", err)
	return nil
}

// rest waits a moment, to let another one get ahead.
func (s *segment) rest(ctx context.Context) { pause(ctx, s.Retry.Wait(1)) }

// fenced finds out whether the term is over, or only the mark was changed.
func (s *segment) fenced(ctx context.Context) error {
	roster, err := s.Store.Roster(ctx, s.Name)
	if err == nil {
		for _, seat := range roster.Seats {
			if seat.Segment == s.term.Segment && seat.Epoch != s.term.Epoch {
				s.Logger.InfoContext(ctx, "another worker has the term", "name", s.Name, "part", s.part, "epoch", s.term.Epoch, "holder", seat.Holder)
				return errTermOver
			}
		}
	}
	s.Logger.InfoContext(ctx, "the checkpoint was changed, reading it again", "name", s.Name, "part", s.part, "position", s.mark.Position)
	s.rest(ctx)
	return nil
}

// stand waits for something to pass that is no event's fault. It says so once, when
// it begins.
func (s *segment) stand(ctx context.Context, why string, err error) {
	if s.pauses++; s.pauses == 1 {
		s.paused = time.Now()
		s.Logger.WarnContext(ctx, "paused", "name", s.Name, "part", s.part, "why", why, "error", err)
		s.Hooks.paused(Pause{Name: s.Name, Part: s.part, Why: why, Err: err})
	}
	s.tell(func(r *Report) { *r = Report{Paused: why, Error: err.Error(), Time: time.Now()} })
	s.lookAroundIfLong()
	until := s.Retry.Wait(s.pauses)
	for d := until; ; {
		if !pause(ctx, d) {
			return
		}
		if d = s.budgeted(); d == 0 {
			return
		}
		d += s.Retry.Wait(1) // so that not all segments ask again at once
	}
}

// budgeted takes one retry out of the budget; it returns how long to wait if there is none.
func (w *run) budgeted() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.budget.spend(time.Now())
}

// lookAroundIfLong has a pause reported soon after it began, and not at every try.
func (s *segment) lookAroundIfLong() {
	if s.pauses == 3 {
		s.lookAround()
	}
}

// worked notes that a batch took effect.
func (s *segment) worked(ctx context.Context, events int) {
	s.run.mu.Lock()
	s.budget.earn(events)
	s.run.mu.Unlock()
	s.applied += events
	s.proven = true
	if s.pauses > 0 {
		took := time.Since(s.paused)
		s.Logger.InfoContext(ctx, "goes on", "name", s.Name, "part", s.part, "paused_for", took)
		s.resumed(took)
	}
}

// resumed ends a pause.
func (s *segment) resumed(took time.Duration) {
	s.Hooks.resumed(Pause{Name: s.Name, Part: s.part, Why: s.report().Paused, For: took})
	s.pauses = 0
	s.tell(func(r *Report) { r.Paused = "" })
}
