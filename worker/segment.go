package worker

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
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
	known int64     // the revision of the mark with which held is right
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
	told    map[string]int64  // keys, and the seq at which Reader.Waiting was told that they are to wait, in this take and those that it repeats
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
	return &segment{run: w, term: term, part: part, number: number, trusted: trusted, most: w.Batch, size: w.Batch, trying: map[string]Parked{}, told: map[string]int64{}}
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
	if s.held != nil && s.known == s.mark.Revision { // it cannot have changed without the mark
		s.begun = true
		return nil
	}
	all := map[string]*held{}
	for p, err := range eachParked(ctx, s.Store, ParkedQuery{Name: s.Name, Part: &s.part}) {
		if err != nil {
			return err
		}
		s.know(all, p)
	}
	s.held, s.known, s.begun = all, s.mark.Revision, true
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
	if err := s.takeBack(ctx); err != nil {
		s.Logger.InfoContext(ctx, "cannot take back what was begun", "name", s.Name, "part", s.part, "error", err)
		return
	}
	s.claimed = Claim{}
	clear(s.trying)
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
