package worker_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

func TestResumeGoesOn(t *testing.T) {
	t.Parallel()
	const n = 400
	m := given("a+1", 7, from(1, n)...)
	forward := append(from(1, n), other(n+1))
	empty := given("a+1", 7, from(1, 20)...).Reached(30, nil)
	for name, c := range map[string]struct {
		log    *history
		mark   worker.Mark
		apart  bool
		lowest event.Position // that may be read again after
		read   int
	}{
		"the same server":                        {&history{lineage: servers("a+1", 0)}, m, true, 0, 0},
		"a new reader":                           {&history{lineage: servers("a+1", 0)}, worker.Mark{}, true, 0, 0},
		"started again":                          {&history{lineage: servers("a+1", 0, "a+2", n), events: forward}, m, false, n - 8, 20},
		"started again, nothing is known":        {&history{lineage: servers("a+2", 0), events: forward}, m, true, 0, n + 1},
		"started again, most is common":          {&history{lineage: servers("a+1", 0, "a+2", 350), events: forward}, m, true, 200, 201},
		"another server":                         {&history{lineage: servers("a+1", 0, "b+1", n+1), events: forward}, m, false, n - 8, 20},
		"another server, kept elsewhere":         {&history{lineage: servers("a+1", 0, "b+1", 350), events: forward}, m, true, 200, 201},
		"another server, all is common":          {&history{lineage: servers("a+1", 0, "b+1", n), events: forward}, m, true, n - 8, 20},
		"of two servers ago":                     {&history{lineage: servers("a+1", 0, "b+1", n, "c+1", 390), events: forward}, m, true, 300, 101},
		"nothing is known of the server":         {&history{lineage: servers("x", 0, "c+1", n), events: forward}, m, true, 0, n + 1},
		"a replica that has it":                  {&history{lineage: eventstore.Lineage{{Server: "a+1"}, {Server: "r+1", Since: 350, Replica: true}}, events: forward}, m, true, 200, 201},
		"a mark behind the last event":           {&history{lineage: servers("b+1", 0), events: append(from(1, 20), at(31))}, empty, true, 0, 21},
		"a mark behind the last event, beside":   {&history{lineage: servers("b+1", 0), events: append(from(1, 20), at(31))}, empty, false, 0, 21},
		"pages that end behind their events":     {&history{lineage: servers("b+1", 0), events: append(from(1, 20), at(31)), page: 3, empty: true}, empty, true, 0, 21},
		"nothing was given, and the log went on": {&history{lineage: servers("b+1", 0), events: []event.Recorded{at(31)}}, worker.Mark{Position: 30, Server: "a+1"}, true, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := eventstore.Log(c.log)
			if c.apart {
				log = c.log.apart()
			}
			got, err := resume(log, c.mark)
			if err != nil {
				t.Fatal(err)
			}
			if c.log.lowest < c.lowest || c.log.read > c.read {
				t.Errorf("read %d events after %d, want at most %d after %d: nothing that is not in doubt", c.log.read, c.log.lowest, c.read, c.lowest)
			}
			want := c.mark
			want.Server, want.Lineage = c.log.lineage.Now().Server, c.log.lineage.String()
			if got != want {
				t.Errorf("got %+v, want the same place on %s", got, want.Server)
			}
		})
	}
}

// Histories that are not the reader's, whatever the way they got there.
func TestResumeStops(t *testing.T) {
	t.Parallel()
	const n = 400
	m := given("a+1", 7, from(1, n)...)
	without := func(p int) []event.Recorded { return append(from(1, p-1), from(p+1, n+100)...) }
	instead := func(p int) []event.Recorded {
		return append(append(from(1, p-1), other(p)), from(p+1, n+100)...)
	}
	backdated := from(1, n+100)
	backdated[99].Payload = []byte("another")
	for name, c := range map[string]struct {
		events []event.Recorded
		first  event.Position
	}{
		"it is empty":                  {nil, 1},
		"it is shorter":                {from(1, 250), 251},
		"it is shorter by one":         {from(1, n-1), n},
		"others came instead":          {append(from(1, 250), other(251), other(252)), 251},
		"more came than was lost":      {append(from(1, 398), other(399), other(400), other(401), other(402)), 399},
		"another event at the mark":    {instead(n), n},
		"a hole at the mark":           {without(n), n},
		"a hole just before the mark":  {without(n - 1), n - 1},
		"a hole far before the mark":   {without(9), 9},
		"another event far before it":  {instead(9), 9},
		"another first event":          {instead(1), 1},
		"no first event":               {without(1), 1},
		"the same id, another payload": {backdated, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, page := range []int{1, 3, 1000} {
				_, err := resume((&history{lineage: servers("x", 0, "b+1", 0), events: c.events, page: page}).apart(), m)
				wantDiverged(t, err, m, c.first)
			}
		})
	}
}

// The marks are there, and the events are those of an older dump: of one table, but
// not of the other.
func TestResumeStopsIfTheLineageIsWrong(t *testing.T) {
	t.Parallel()
	m := given("a+1", 7, from(1, 400)...)
	for _, server := range []string{"a+2", "b+1"} {
		_, err := resume(&history{lineage: servers("a+1", 0, server, 400), events: append(from(1, 300), many(301, 500)...)}, m)
		wantDiverged(t, err, m, 301)
	}
}

// An event that appears where a reader had passed by a hole.
func TestResumeStopsWhereAHoleWasFilled(t *testing.T) {
	t.Parallel()
	for _, hole := range []int{3, 250, 399} {
		m := given("a+1", 7, append(from(1, hole-1), from(hole+1, 400)...)...)
		_, err := resume((&history{lineage: servers("x", 0, "b+1", 0), events: from(1, 500)}).apart(), m)
		wantDiverged(t, err, m, event.Position(hole))
	}
}

// An older copy of the files, started in place of the server, is the same holder.
// The last positions show it, and all of the log where it begins.
func TestResumeStopsAtAnOlderCopy(t *testing.T) {
	t.Parallel()
	const n = 30_000
	m := given("a+1", 500, from(1, n)...)
	for name, c := range map[string]struct {
		events []event.Recorded
		first  event.Position
	}{
		"of long ago":                     {from(1, 5_000), 5_001},
		"of long ago, and it has gone on": {append(from(1, 5_000), many(5_001, n+50)...), 5_001},
		"of just now":                     {append(from(1, n-1), many(n, n+50)...), n},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := resume((&history{lineage: servers("a+2", 0), events: c.events, page: 20_000}).apart(), m)
			wantDiverged(t, err, m, c.first)
			_, err = resume(&history{lineage: servers("a+2", 0), events: c.events, page: 20_000}, m)
			wantDiverged(t, err, m, c.first)
		})
	}
	log := &history{lineage: servers("a+2", 0), events: from(1, n+50), page: 20_000}
	if _, err := resume(log.apart(), m); err != nil || log.lowest < n/3 || log.lowest > n-10_000 {
		t.Errorf("Resume = %v, and it has read after %d", err, log.lowest)
	}
}

// Every place where two histories can part, with every length of pages.
func TestResumeNamesTheFirstDifference(t *testing.T) {
	t.Parallel()
	const n = 120
	for _, pages := range []int{1, 4, 50} {
		m := given("a+1", pages, from(1, n)...)
		for p := 1; p <= n; p++ {
			_, err := resume((&history{lineage: servers("b+1", 0), events: append(from(1, p-1), many(p, n+9)...)}).apart(), m)
			wantDiverged(t, err, m, event.Position(p))
		}
	}
}

func TestResumeOfAReplicaThatIsBehind(t *testing.T) {
	t.Parallel()
	m := given("a+1", 7, from(1, 20)...)
	log := &history{lineage: eventstore.Lineage{{Server: "a+1"}, {Server: "r+1", Replica: true}}, events: from(1, 12)}
	_, err := resume(log.apart(), m)
	if want := "resume totals: compare with the log at position 12 of 20: replica is behind the checkpoint"; !errors.Is(err, worker.ErrBehind) || err.Error() != want {
		t.Errorf("Resume = %v, want %s", err, want)
	}
	log.events = append(from(1, 12), many(13, 14)...)
	_, err = resume(log.apart(), m)
	wantDiverged(t, err, m, 13)
}

func TestResumeFails(t *testing.T) {
	t.Parallel()
	m := given("a+1", 7, from(1, 400)...)
	_, err := resume(&history{}, m)
	if want := "resume totals: server is away"; !errors.Is(err, errAway) || err.Error() != want {
		t.Errorf("Resume = %v, want %s", err, want)
	}
	log := &history{lineage: servers("b+1", 0), events: from(1, 400), cut: 3}
	got, err := resume(log.apart(), m)
	if want := "resume totals: compare with the log: read log after 200: the log is held by another server"; !errors.Is(err, eventstore.ErrOtherServer) || err.Error() != want || got != m {
		t.Errorf("Resume = %v, want %s, and the mark as it was", err, want)
	}
	_, err = resume((&history{lineage: servers("b+1", 0), events: from(1, 390)}).apart(), m)
	want := "resume totals: the store was set back: at positions 386 to 400 it does not have what this reader was given: run annals doctor for the ways on"
	if err == nil || err.Error() != want {
		t.Errorf("Resume = %v, want %s", err, want)
	}
	part := &worker.DivergedError{Name: "totals", Part: "orders/1", From: 3, To: 4}
	if want := "resume totals: part orders/1: the store was set back: at positions 3 to 4 it does not have what this reader was given: run annals doctor for the ways on"; part.Error() != want {
		t.Errorf("%v, want %s", part, want)
	}
}

// A mark that an operator has set, forwards or back, is believed, and what comes
// behind it is compared.
func TestResumeBelievesAMarkThatWasSet(t *testing.T) {
	t.Parallel()
	wasGiven := given("a+1", 7, from(1, 200)...)
	back := wasGiven
	back.Position = 100
	zero := wasGiven
	zero.Position = 0
	for name, m := range map[string]worker.Mark{"forwards": {Position: 100}, "back, and nothing else of it": back, "to the beginning": zero} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &history{lineage: servers("b+1", 0), events: many(1, 300)}
			got, err := resume(log.apart(), m)
			if err != nil || got.Digest != (worker.Digest{}) || got.Position != m.Position {
				t.Fatalf("Resume = %+v, %v", got, err)
			}
			page := many(int(m.Position)+1, 250)
			got = got.Reached(250, page)
			log = &history{lineage: servers("b", 0, "c+1", 0), events: many(1, 300)}
			if _, err := resume(log.apart(), got); err != nil || m.Position > 0 && log.lowest != m.Position {
				t.Errorf("Resume = %v, and it has read after %d: what lies before the place was never given", err, log.lowest)
			}
			log.events = from(1, 300)
			_, err = resume(log.apart(), got)
			var d *worker.DivergedError
			if !errors.As(err, &d) || d.From != m.Position+1 {
				t.Errorf("Resume = %v, want a difference from %d on", err, m.Position+1)
			}
		})
	}
}

// Without its trail, or with a part of it, a mark is compared from the beginning.
func TestResumeWithoutATrail(t *testing.T) {
	t.Parallel()
	whole := given("a+1", 7, from(1, 200)...)
	for name, trail := range map[string]worker.Trail{
		"none":           "",
		"its beginning":  whole.Trail[:len(whole.Trail)/2+3],
		"no whole place": whole.Trail[:5],
		"garbage":        worker.Trail(strings.Repeat("\xff", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := whole
			m.Trail = trail
			log := &history{lineage: servers("b+1", 0), events: from(1, 300)}
			if _, err := resume(log.apart(), m); err != nil {
				t.Errorf("Resume = %v", err)
			}
			log.events = many(1, 300)
			_, err := resume(log.apart(), m)
			wantDiverged(t, err, m, 1)
		})
	}
}

func TestMarkReached(t *testing.T) {
	t.Parallel()
	whole := given("", 100, from(1, 100)...)
	repeats := worker.Mark{}
	for p := 0; p < 100; p += 10 {
		repeats = repeats.Reached(event.Position(p+10), from(max(1, p-7), p+10)) // some come again
		repeats = repeats.Reached(event.Position(p+10), from(1, p+5))            // and some are old
		repeats = repeats.Reached(event.Position(p+10), nil)
	}
	if repeats.Digest != whole.Digest || repeats.Position != 100 {
		t.Errorf("%+v, want the digest of %+v: repeats do not count", repeats, whole)
	}
	far := whole.Reached(150, nil)
	if far.Position != 150 || far.Digest != whole.Digest || far.Trail != whole.Trail {
		t.Errorf("%+v after an empty page", far)
	}
	if back := far.Reached(120, nil); back.Position != 150 {
		t.Errorf("the mark went back to %d", back.Position)
	}
	kept := worker.Mark{Position: 1, Source: "s", Offset: 2, Of: 3, Lineage: "l", Server: "x", Revision: 4}.Reached(2, from(2, 2))
	if kept.Source != "s" || kept.Offset != 2 || kept.Of != 3 || kept.Lineage != "l" || kept.Server != "x" || kept.Revision != 4 {
		t.Errorf("%+v: the rest has changed", kept)
	}
}

// It was down while an older copy of the server was started, which has failed over
// since: that it knows the holder says nothing.
func TestResumeStopsAfterAnOlderCopyHasFailedOver(t *testing.T) {
	t.Parallel()
	m := given("a+1", 7, from(1, 400)...)
	for name, l := range map[string]eventstore.Lineage{
		"it had begun when the copy was made": servers("a+1", 0, "a+2", 250, "b+1", 450),
		"it had not":                          servers("a+0", 0, "a+2", 250, "b+1", 450),
	} {
		_, err := resume((&history{lineage: l, events: append(from(1, 300), many(301, 500)...)}).apart(), m)
		t.Log(name)
		wantDiverged(t, err, m, 301)
	}
}
