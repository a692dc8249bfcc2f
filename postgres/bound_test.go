package postgres_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
)

// server answers questions for the bound, each when the test says so.
type server struct {
	asked chan chan answer
}

type answer struct {
	upTo event.Position
	err  error
}

func (s *server) ask(context.Context) (event.Position, time.Time, error) {
	reply := make(chan answer)
	s.asked <- reply
	a := <-reply
	return a.upTo, time.Unix(1, 0), a.err
}

type boundReader struct {
	upTo event.Position
	err  error
}

func refresh(ctx context.Context, tracker *postgres.Tracker, s *server) chan boundReader {
	done := make(chan boundReader, 1)
	go func() {
		upTo, err := tracker.Refresh(ctx, s.ask)
		done <- boundReader{upTo, err}
	}()
	return done
}

// Who comes while a question is on its way gets the answer to a later one: the
// first may miss what that reader knows of. All who wait share it.
func TestReadersShareAQuestionAskedAfterTheyCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker, s := postgres.NewTracker(), &server{make(chan chan answer)}
		first := refresh(t.Context(), tracker, s)
		one := <-s.asked
		second, third := refresh(t.Context(), tracker, s), refresh(t.Context(), tracker, s)
		synctest.Wait()
		one <- answer{upTo: 10}
		if got := <-first; got != (boundReader{10, nil}) {
			t.Errorf("the first reader has %+v, want 10", got)
		}
		two := <-s.asked // of the second or the third
		synctest.Wait()
		if len(second)+len(third) > 0 {
			t.Error("a reader has the answer to a question from before it came")
		}
		two <- answer{upTo: 20}
		for _, r := range []chan boundReader{second, third} {
			if got := <-r; got != (boundReader{20, nil}) {
				t.Errorf("a later reader has %+v, want 20", got)
			}
		}
		// Nobody asks a third time: a send on asked would block for ever, and the
		// bubble would not end.
	})
}

func TestBoundDoesNotGoBackOnOneServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker, s := postgres.NewTracker(), &server{make(chan chan answer)}
		for _, c := range []struct{ told, want event.Position }{{10, 10}, {7, 10}, {11, 11}} {
			r := refresh(t.Context(), tracker, s)
			(<-s.asked) <- answer{upTo: c.told}
			if got := <-r; got != (boundReader{c.want, nil}) {
				t.Errorf("told %d, a reader has %+v, want %d", c.told, got, c.want)
			}
		}
	})
}

// An answer that fails is that of who asked. Those who wait ask again.
func TestFailedQuestionIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tracker, s := postgres.NewTracker(), &server{make(chan chan answer)}
		first := refresh(t.Context(), tracker, s)
		one := <-s.asked
		second := refresh(t.Context(), tracker, s)
		ctx, cancel := context.WithCancel(t.Context())
		third := refresh(ctx, tracker, s)
		synctest.Wait()
		cancel()
		if got := <-third; !errors.Is(got.err, context.Canceled) {
			t.Errorf("a reader that leaves has %+v, want the context's error", got)
		}
		cut := errors.New("cut")
		one <- answer{err: cut}
		if got := <-first; !errors.Is(got.err, cut) {
			t.Errorf("the first reader has %+v, want its error", got)
		}
		(<-s.asked) <- answer{upTo: 20}
		if got := <-second; got != (boundReader{20, nil}) {
			t.Errorf("the second reader has %+v, want 20", got)
		}
	})
}

// A bound of another server, which may draw positions again, is not used: the
// statement that reads notices, and ReadLog asks again.
func TestBoundOfAnotherServerIsForgotten(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]eventstore.LogQuery{"all": {}, "selected": {Categories: []string{"order"}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.append(s.db, "first")
			a := s.begin()
			s.append(s.db.Tx(a), "a")
			s.append(s.db, "b")
			other := time.Now().Add(-24 * time.Hour)
			s.db.KnowBound(100, other)
			page, err := s.db.ReadLog(s.ctx, q)
			s.end(err)
			if len(page.Events) != 1 || page.Next != 1 {
				t.Errorf("page %+v, want the first event alone: a is still open", page)
			}
			if upTo, server := s.db.Bound(); upTo >= 100 || server.Equal(other) {
				t.Errorf("bound %d of the server started at %s is kept", upTo, server)
			}
			s.end(a.Commit(s.ctx))
			s.want("at the end", "first", "a", "b")
		})
	}
}

// The functions refuse, whatever the caller does with it.
func TestReadingWithTheBoundOfAnotherServerIsRefused(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, sql := range []string{
		`SELECT count(*) FROM annals.read_log_v1(0, 10, $1)`,
		`SELECT count(*) FROM annals.read_log_where_v1(0, 10, 10, NULL, NULL, $1)`,
	} {
		var n int
		err := s.pool.QueryRow(s.ctx, sql, time.Now().Add(-24*time.Hour)).Scan(&n)
		if want := "ERROR: the server is another one, or has restarted (SQLSTATE AN001)"; err == nil || err.Error() != want {
			t.Errorf("%s = %v, want %s", sql, err, want)
		}
	}
}
