package projection_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/projection/projectiontest"
	"github.com/annals-go/annals/worker"
)

// script is a source that delivers what a test says.
type script []worker.Delivery

func (s script) Consume(ctx context.Context, to worker.Sink) error {
	if _, err := to.Begin(ctx, s.parts()...); err != nil {
		return err
	}
	for _, d := range s {
		if err := to.Deliver(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

func (s script) parts() []string {
	parts := map[string]bool{}
	for _, d := range s {
		parts[d.Part] = true
	}
	return slices.Sorted(maps.Keys(parts))
}

func (s script) Owns(part string) bool { return strings.HasPrefix(part, "t/") }

// other reads a topic of another name.
type other struct{ script }

func (other) Owns(part string) bool { return strings.HasPrefix(part, "u/") }

func delivery(t *testing.T, source string, first int64, positions ...int) worker.Delivery {
	t.Helper()
	d := worker.Delivery{Part: "t/0", Source: source, Of: 3, First: first, Next: first + int64(len(positions))}
	for _, p := range positions {
		r := event.Recorded{Raw: paid(t, int64(p)), Stream: event.Stream{Category: "account", ID: "a"}, Version: event.Version(p), Position: event.Position(p)}
		d.Events = append(d.Events, r)
	}
	return d
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script  script
		effects string
		offset  int64
	}{
		"in order":                       {script{delivery(t, "x", 0, 1, 3), delivery(t, "x", 2, 4)}, "1 3 4", 3},
		"repeats after a crash":          {script{delivery(t, "x", 0, 1, 3), delivery(t, "x", 2, 1, 3, 4)}, "1 3 4", 5},
		"repeats within a delivery":      {script{delivery(t, "x", 0, 1, 1, 3, 1, 3, 4)}, "1 3 4", 6},
		"the same delivery twice":        {script{delivery(t, "x", 0, 1, 3), delivery(t, "x", 0, 1, 3)}, "1 3", 2},
		"an overtaken member":            {script{delivery(t, "x", 0, 1, 3, 4, 5), delivery(t, "x", 2, 4)}, "1 3 4 5", 4},
		"a topic that was made again":    {script{delivery(t, "x", 0, 1, 3), delivery(t, "y", 0, 1, 3, 4)}, "1 3 4", 3},
		"made again, filled only partly": {script{delivery(t, "x", 0, 1, 3), delivery(t, "y", 0, 1)}, "1 3", 1},
	} {
		l := &ledger{DB: memory.New()}
		if err := l.projection("totals").Run(t.Context(), l.DB, silent, projection.From(c.script)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, e := range l.effects(t) {
			position, _, _ := strings.Cut(e, "/")
			got = append(got, position)
		}
		if strings.Join(got, " ") != c.effects {
			t.Errorf("%s: effects %v, want %s", name, got, c.effects)
		}
		marks, err := l.Checkpoint(t.Context(), "projection/totals")
		if err != nil || marks["t/0"].Offset != c.offset {
			t.Errorf("%s: marks %+v, %v, want offset %d", name, marks, err, c.offset)
		}
	}
}

func TestDeliveriesThatWouldSkip(t *testing.T) {
	t.Parallel()
	grown := delivery(t, "x", 2, 4)
	grown.Of = 4
	for name, second := range map[string]worker.Delivery{
		"advance projection/totals: part t/0 continues at 2, got a delivery from 3: rebuild the read model, or restore what is missing":                                                       delivery(t, "x", 3, 5),
		"advance projection/totals: part t/0 continues at 0, got a delivery from 1: rebuild the read model, or restore what is missing":                                                       delivery(t, "y", 1, 5),
		"advance projection/totals: part t/0 is one of 4, but the checkpoint was made with 3, so keys have moved: rebuild the read model; set a consumer with an inbox back with RewindParts": grown,
	} {
		l := &ledger{DB: memory.New()}
		err := l.projection("totals").Run(t.Context(), l.DB, silent, projection.From(script{delivery(t, "x", 0, 1, 3), second}))
		if err == nil || err.Error() != name {
			t.Errorf("Run = %v, want %s", err, name)
		}
		if got := l.effects(t); len(got) != 2 {
			t.Errorf("effects %v, want those of the first delivery alone", got)
		}
	}
}

// flaky is a source that fails a number of times before each delivery, and after it.
type flaky struct {
	script
	failures int
	calls    *int
}

func (s flaky) Consume(ctx context.Context, to worker.Sink) error {
	n := *s.calls
	*s.calls++
	if round := s.failures + 1; n%round != s.failures {
		return errors.New("broker is away")
	} else if i := n / round; i < len(s.script) {
		if _, err := to.Begin(ctx, s.parts()...); err != nil {
			return err
		}
		if err := to.Deliver(ctx, s.script[i]); err != nil {
			return err
		}
		return errors.New("connection is lost")
	}
	return nil
}

// P13: a source that fails is started again, however often it fails, ever more slowly,
// and fast again after a delivery.
func TestSourceIsStartedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &ledger{DB: memory.New()}
		source := flaky{script{delivery(t, "x", 0, 1, 3), delivery(t, "x", 2, 4), delivery(t, "x", 3, 5)}, 20, new(int)}
		var told []string
		retry := worker.Retry{Attempts: 4, Base: time.Second, Cap: time.Minute, Budget: 1}
		began := time.Now()
		if err := l.projection("totals").Run(t.Context(), l.DB, silent, projection.WithRetry(retry), pauses(&told), projection.From(source)); err != nil {
			t.Fatal(err)
		}
		want(t, l.effects(t), "1/0 {1}", "3/0 {3}", "4/0 {4}", "5/0 {5}")
		if took := time.Since(began); took < time.Minute || took > 4*20*2*time.Minute {
			t.Errorf("80 failures took %v, want waits between a second and a minute", took)
		}
		want(t, told,
			"paused: the source fails: broker is away", "resumed: the source fails",
			"paused: the source fails: connection is lost", "resumed: the source fails",
			"paused: the source fails: connection is lost", "resumed: the source fails",
			"paused: the source fails: connection is lost", "resumed: the source fails")
	})
}

// A mark that is set back under a running projection, as for a rebuild, must
// not make it skip what lies between.
func TestMarkThatIsSetBack(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	l.append(t, "account-a", paid(t, 1), paid(t, 2), paid(t, 3))
	p := l.projection("totals")
	setBack := false
	l.fail = func(e event.Of[Event]) error {
		if e.Position == 3 && !setBack {
			setBack = true
			c, err := l.Checkpoint(t.Context(), p.Name())
			if err != nil {
				return err
			}
			mark := c[""]
			mark.Position = 0
			return errors.Join(l.Save(t.Context(), p.Name(), worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": mark}}), worker.ErrFenced)
		}
		return nil
	}
	if err := p.CatchUp(t.Context(), l.DB, silent, projection.WithBatch(1)); err != nil {
		t.Fatal(err)
	}
	want(t, l.effects(t), "1/0 {1}", "2/0 {2}", "1/0 {1}", "2/0 {2}", "3/0 {3}")
}

func TestSourcesAreNotMixed(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	l.append(t, "account-a", paid(t, 1))
	if err := l.projection("a").CatchUp(t.Context(), l.DB, silent); err != nil {
		t.Fatal(err)
	}
	err := l.projection("a").Run(t.Context(), l.DB, silent, projection.From(script{}))
	if text := `run projection/a: part "" of its checkpoint: checkpoint was made from another source`; !errors.Is(err, projection.ErrOtherSource) || err.Error() != text {
		t.Errorf("Run = %v, want %s", err, text)
	}
	if err := l.projection("b").Run(t.Context(), l.DB, silent, projection.From(script{delivery(t, "x", 0, 1)})); err != nil {
		t.Fatal(err)
	}
	renamed := delivery(t, "x", 0, 1)
	renamed.Part = "u/0"
	if err := l.projection("b").Run(t.Context(), l.DB, silent, projection.From(other{script{renamed}})); !errors.Is(err, projection.ErrOtherSource) {
		t.Errorf("Run from another topic = %v, want ErrOtherSource", err)
	}
	if err := l.projection("b").Run(t.Context(), l.DB, silent); !errors.Is(err, projection.ErrOtherSource) {
		t.Errorf("Run = %v, want ErrOtherSource", err)
	}
}

func TestProjectiontest(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	tx := l.Begin()
	projectiontest.Apply(t, l.projection("totals"), tx,
		projectiontest.With(Codec).Event("account-a", Paid{Cents: 5}),
		projectiontest.Stored("account-a", "account.paid", 1, `{"Euros":2}`),
		projectiontest.With(foreignCodec).Event("foreign-x", Other{}))
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	want(t, l.effects(t), "1/0 {5}", "2/0 {200}", "2/1 {was euros}")
	got := projectiontest.Record(t, projectiontest.Stored("account-a", "account.noted", 1, `{}`), projectiontest.Stored("account-a", "account.noted", 1, `{}`))
	if got[1].Version != 2 || got[1].Position != 2 || !got[1].RecordedTime.After(got[0].RecordedTime) || got[1].RecordedTime.Year() > time.Now().Year()+100 {
		t.Errorf("Record = %v", got)
	}
}
