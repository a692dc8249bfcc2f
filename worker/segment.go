package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	number  int           // of the segment
	trusted *atomic.Int64 // UnixNano until which the lease runs at least; nil: somebody else decides

	begun bool
	mark  Mark           // as it is stored, and as a place in the log as it is now
	from  event.Position // where the next page begins
	held  map[string]*held
	fair  time.Time // no parked key before this time, while there is other work
	// behind: there was more of the log than one page.
	behind bool
	spent  time.Time // nor before this one: the budget of retries is spent

	most    int               // the most events of a batch, those of other segments among them
	size    int               // the most events of the next batch
	suspect Claim             // what a worker before this one has begun and not ended
	claimed Claim             // what this one has
	looked  bool              // for what is suspect
	proven  bool              // a batch has taken effect since the term began
	tally   tally             // how many keys fail
	applied int               // events that took effect, to tell whether the fault is a key's
	trying  map[string]Parked // what was known of keys before this term began an attempt
	pauses  int               // in a row
	failing bool              // it is paused because most keys fail
	paused  time.Time         // since when
	why     string            // it is

	busyUntil atomic.Int64 // UnixNano: when the batch in flight is long overdue; 0: there is none
	mu        sync.Mutex
	state     Report
}

// grace is how much longer than its timeout a batch may take before it counts as hung:
// the store has its own deadlines for what comes after the handler.
const grace = 15 * time.Second

func (w *run) segment(term Term, part string, trusted *atomic.Int64) *segment {
	number := max(0, slices.Index(SegmentNames(w.Segments), part))
	return &segment{run: w, term: term, part: part, number: number, trusted: trusted, most: w.Batch, size: w.Batch, trying: map[string]Parked{}}
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
	s.progress(s.part, s.from)
	return s.settle(ctx)
}

// settle reads what is parked, and what was begun behind the mark.
func (s *segment) settle(ctx context.Context) error {
	all := map[string]*held{}
	q := ParkedQuery{Name: s.Name, Part: &s.part, Limit: 200}
	for {
		page, err := s.Store.Parked(ctx, q)
		if err != nil {
			return err
		}
		for _, p := range page {
			s.know(all, p)
			q.After = p.Key
		}
		if len(page) < q.Limit {
			break
		}
	}
	s.held, s.begun = all, true
	if !s.looked { // later it is what this worker has begun itself
		s.suspect, s.looked = s.mark.Claim, true
	}
	return nil
}

// tidyUp takes back what says that this worker has begun with something, because it
// has not been ended by it. If that fails it counts as an end, and one is not enough.
func (s *segment) tidyUp(ctx context.Context) {
	if s.claimed.Events == 0 && len(s.trying) == 0 {
		return
	}
	ctx, cancel := Detach(ctx, min(s.Timeout, s.Lease))
	defer cancel()
	if err := s.takeBack(ctx); err != nil && !errors.Is(err, ErrFenced) {
		s.Logger.WarnContext(ctx, "cannot take back what was begun", "name", s.Name, "part", s.part, "error", err)
	}
}

func (s *segment) takeBack(ctx context.Context) error {
	c, err := s.Store.Checkpoint(ctx, s.Name)
	if err != nil {
		return err
	}
	m := c[s.part]
	w := Write{Marks: Checkpoint{}}
	if m.Claim == s.claimed {
		m.Claim = s.suspect
		w.Marks[s.part] = m
	}
	for key, before := range s.trying {
		page, err := s.Store.Parked(ctx, ParkedQuery{Name: s.Name, Part: &s.part, Key: key, Limit: 1})
		if err != nil {
			return err
		}
		if len(page) == 1 && page[0].Error == begunText {
			w.Park, w.Marks[s.part] = append(w.Park, page[0].asBefore(before)), m
		}
	}
	if len(w.Marks) == 0 {
		return nil
	}
	return s.Store.Save(ctx, s.Name, s.term, w)
}

// mostRead is the most events of a page of which a segment takes its own.
const mostRead = 10_000

// readLog works until ctx ends, and returns nil then.
func (s *segment) readLog(ctx context.Context) error {
	s.most = min(s.Batch*s.Segments, max(s.Batch, mostRead))
	s.size = s.most
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
	drained, err := s.drainDue(ctx)
	if err != nil {
		return false, err
	}
	reading, cancel := context.WithTimeout(ctx, s.Timeout) // the drain had its own
	defer cancel()
	page, err := s.pages.read(reading, eventstore.LogQuery{After: s.from, Limit: s.most, Server: s.mark.Server})
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

// recover waits, if that mends the error, so that the next step begins anew.
func (s *segment) recover(ctx context.Context, err error) error {
	s.begun = false
	switch {
	case ctx.Err() != nil:
		return nil
	case errors.Is(err, errTermOver):
		return err
	case errors.Is(err, errAgain):
		return nil
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
		s.paused, s.why = time.Now(), why
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
	s.Hooks.resumed(Pause{Name: s.Name, Part: s.part, Why: s.why, For: took})
	s.pauses = 0
	s.tell(func(r *Report) { r.Paused = "" })
}
