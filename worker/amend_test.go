package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// parkedKeys parks keys of the part "" of "reader", each with the given items.
func parkedKeys(t *testing.T, db *memory.DB, state worker.State, seqs []int64, names ...string) []worker.Key {
	t.Helper()
	var keys []worker.Key
	w := worker.Write{Marks: worker.Checkpoint{"": read(t, db, "reader")[""]}}
	for _, name := range names {
		key := worker.Key{Key: name}
		keys = append(keys, key)
		w.Park = append(w.Park, worker.Parked{
			Key: key, State: state, Since: time.Now(), Next: time.Now().Add(time.Hour), Attempts: 10, Error: "refused", Stack: "main.go:1",
			History: []worker.Attempt{{Time: time.Now(), Error: "refused"}}, Owner: "ada", Note: "seen",
		})
		for _, seq := range seqs {
			w.Items = append(w.Items, worker.Item{Key: key, Seq: seq})
		}
	}
	if err := db.Save(t.Context(), "reader", worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	return keys
}

func allParked(t *testing.T, db *memory.DB) []worker.Parked {
	t.Helper()
	all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func onlyParked(t *testing.T, db *memory.DB) worker.Parked {
	t.Helper()
	all := allParked(t, db)
	if len(all) != 1 {
		t.Fatalf("parked %+v, want one", all)
	}
	return all[0]
}

func audits(t *testing.T, db *memory.DB) []worker.Audit {
	t.Helper()
	all, err := db.Audits(t.Context(), "reader", time.Time{}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Each change is one write of the mark, with who has asked for it in the same write.
func TestAmenderChangesAndWritesDownWhoAsked(t *testing.T) {
	t.Parallel()
	key := worker.Key{Key: "k"}
	for name, c := range map[string]struct {
		do     func(context.Context, worker.Amender) error
		change func(*worker.Parked)
		audit  worker.Audit
	}{
		"retry": {
			func(ctx context.Context, a worker.Amender) error {
				n, err := a.RetryParked(ctx, 0, key)
				if n != 1 {
					t.Errorf("RetryParked has done %d, want 1", n)
				}
				return err
			},
			func(p *worker.Parked) { p.State, p.Attempts, p.Next = worker.Retrying, 0, time.Now() },
			worker.Audit{Action: "retry"},
		},
		"discard": {
			func(ctx context.Context, a worker.Amender) error { return a.DiscardParked(ctx, key, -7, "spam") },
			func(p *worker.Parked) {
				p.State, p.Attempts, p.Next, p.Error, p.Stack, p.Events, p.First = worker.Retrying, 0, time.Now(), "", "", 1, 9
			},
			worker.Audit{Action: "discard", Seq: -7, Detail: "spam"},
		},
		"assign": {
			func(ctx context.Context, a worker.Amender) error { return a.AssignParked(ctx, key, "bob") },
			func(p *worker.Parked) { p.Owner = "bob" },
			worker.Audit{Action: "assign", Detail: "bob"},
		},
		"assign nobody": {
			func(ctx context.Context, a worker.Amender) error { return a.AssignParked(ctx, key, "") },
			func(p *worker.Parked) { p.Owner = "" },
			worker.Audit{Action: "assign"},
		},
		"note": {
			func(ctx context.Context, a worker.Amender) error { return a.NoteParked(ctx, key, "a call is open") },
			func(p *worker.Parked) { p.Note = "a call is open" },
			worker.Audit{Action: "note", Detail: "a call is open"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				db := memory.New()
				parkedKeys(t, db, worker.Waiting, []int64{9, -7}, "k")
				want, before := onlyParked(t, db), read(t, db, "reader")[""]
				<-time.After(time.Minute)
				if err := c.do(t.Context(), worker.Amender{Store: db, Name: "reader", Actor: "eve@host"}); err != nil {
					t.Fatal(err)
				}
				c.change(&want)
				want.Next = want.Next.UTC()
				if diff := cmp.Diff(want, onlyParked(t, db)); diff != "" {
					t.Errorf("parked (-want +got):\n%s", diff)
				}
				c.audit.Key, c.audit.Time, c.audit.Actor = key, time.Now().UTC(), "eve@host"
				if diff := cmp.Diff([]worker.Audit{c.audit}, audits(t, db)); diff != "" {
					t.Errorf("audits (-want +got):\n%s", diff)
				}
				if got := read(t, db, "reader")[""]; got.Revision != before.Revision+1 {
					t.Errorf("the mark is at revision %d, want %d: one write", got.Revision, before.Revision+1)
				}
			})
		})
	}
}

func TestAmenderRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", worker.MaxNote+1)
	key := worker.Key{Key: "k"}
	for want, do := range map[string]func(context.Context, worker.Amender) error{
		`assign parked key "k" of reader: the owner has 1001 bytes, want at most 1000`: func(ctx context.Context, a worker.Amender) error { return a.AssignParked(ctx, key, long) },
		`note parked key "k" of reader: the note has 1001 bytes, want at most 1000`:    func(ctx context.Context, a worker.Amender) error { return a.NoteParked(ctx, key, long) },
		`discard parked key "k" of reader: the reason has 1001 bytes, want at most 1000`: func(ctx context.Context, a worker.Amender) error {
			return a.DiscardParked(ctx, key, 7, long)
		},
		`discard parked key "k" of reader: its first event is 7, not 9: not parked`: func(ctx context.Context, a worker.Amender) error {
			return isNotParked(a.DiscardParked(ctx, key, 9, ""))
		},
		`note parked key "k" of reader: the actor has 0 bytes, want 1 to 1000`: func(ctx context.Context, a worker.Amender) error {
			a.Actor = ""
			return a.NoteParked(ctx, key, "")
		},
		`note parked key "k" of reader: the actor has 1001 bytes, want 1 to 1000`: func(ctx context.Context, a worker.Amender) error {
			a.Actor = long
			return a.NoteParked(ctx, key, "")
		},
		`note parked key "k" of other: not parked`: func(ctx context.Context, a worker.Amender) error {
			a.Name = "other"
			return isNotParked(a.NoteParked(ctx, key, ""))
		},
		`note parked key "" of reader: not parked`: func(ctx context.Context, a worker.Amender) error {
			return isNotParked(a.NoteParked(ctx, worker.Key{}, ""))
		},
		`retry parked key "k" of reader: not parked`: func(ctx context.Context, a worker.Amender) error {
			n, err := a.RetryParked(ctx, 0, key, worker.Key{Part: "p", Key: "k"}, key)
			if n != 1 {
				t.Errorf("RetryParked has done %d, want 1", n)
			}
			return isNotParked(err)
		},
	} {
		db := memory.New()
		parkedKeys(t, db, worker.Waiting, []int64{7, 9}, "k")
		before := onlyParked(t, db)
		err := do(t.Context(), worker.Amender{Store: db, Name: "reader", Actor: "eve"})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if retried := strings.HasPrefix(want, "retry"); !retried && (len(audits(t, db)) != 0 || !cmp.Equal(before, onlyParked(t, db))) {
			t.Errorf("%s: something was changed", want)
		}
	}
}

func isNotParked(err error) error {
	if !errors.Is(err, worker.ErrNotParked) {
		return fmt.Errorf("it does not match ErrNotParked: %w", err)
	}
	return err
}

func TestDiscardOfTheLastEventFreesTheKey(t *testing.T) {
	t.Parallel()
	db := memory.New()
	parkedKeys(t, db, worker.Waiting, []int64{7, 9}, "k")
	a := worker.Amender{Store: db, Name: "reader", Actor: "eve"}
	for _, seq := range []int64{7, 9} {
		if p := onlyParked(t, db); p.First != seq {
			t.Errorf("parked %+v, want %d first", p, seq)
		}
		if err := a.DiscardParked(t.Context(), worker.Key{Key: "k"}, seq, "spam"); err != nil {
			t.Fatal(err)
		}
	}
	if all := allParked(t, db); len(all) != 0 {
		t.Errorf("parked %+v, want nothing", all)
	}
}

func TestRetryStaggers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		keys := parkedKeys(t, db, worker.Waiting, []int64{7}, "a", "b", "c")
		a := worker.Amender{Store: db, Name: "reader", Actor: "eve"}
		for rate, each := range map[float64]time.Duration{0: 100 * time.Millisecond, -1: 100 * time.Millisecond, 2: 500 * time.Millisecond} {
			if n, err := a.RetryParked(t.Context(), rate, keys...); n != 3 || err != nil {
				t.Fatal(n, err)
			}
			for i, p := range allParked(t, db) {
				if got, want := time.Until(p.Next), time.Duration(i)*each; got != want {
					t.Errorf("rate %v: key %d is due in %v, want %v", rate, i, got, want)
				}
			}
		}
	})
}

// It goes through everything that waits, no faster than the rate says, and goes on
// where it was broken off.
func TestRetryAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		var names []string
		for i := range 250 {
			names = append(names, fmt.Sprintf("k%03d", i))
		}
		keys := parkedKeys(t, db, worker.Waiting, []int64{7}, names...)
		parkedKeys(t, db, worker.Retrying, []int64{8}, "retrying")
		a := worker.Amender{Store: db, Name: "reader", Actor: "eve"}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		n, err := a.RetryAll(ctx, 10, nil, nil)
		if want := "retry what is parked of reader: context deadline exceeded"; n != 200 || err == nil || err.Error() != want {
			t.Errorf("RetryAll = %d, %v, want 200, %s", n, err, want)
		}
		none := "none"
		if n, err := a.RetryAll(t.Context(), 10, &none, nil); n != 0 || err != nil {
			t.Errorf("RetryAll of a part without keys = %d, %v", n, err)
		}
		began, told := time.Now(), 0
		n, err = a.RetryAll(t.Context(), 10, nil, func(done int) { told = done })
		if n != 50 || told != 50 || err != nil || !time.Now().Equal(began) {
			t.Errorf("RetryAll = %d (told %d), %v after %v, want the 50 that are left, at once", n, told, err, time.Since(began))
		}
		var asked []worker.Key
		for _, audit := range audits(t, db) {
			asked = append(asked, audit.Key)
		}
		slices.SortFunc(asked, func(a, b worker.Key) int { return strings.Compare(a.Key, b.Key) })
		if diff := cmp.Diff(keys, asked); diff != "" {
			t.Errorf("each key is asked for once (-want +got):\n%s", diff)
		}
		if all, err := db.Parked(t.Context(), worker.ParkedQuery{Name: "reader", State: worker.Waiting}); err != nil || len(all) != 0 {
			t.Errorf("%d keys wait, %v", len(all), err)
		}
	})
}

// poisoned is a reader that cannot take position 2, of stream 1, until it is mended.
type poisoned struct {
	*target
	mended bool
}

func newPoisoned(t *testing.T) *poisoned {
	p := &poisoned{target: &target{db: memory.New()}}
	for i := range 6 {
		note(t, p.db, fmt.Sprint(1+i/4), i)
	}
	p.fail = func(b worker.Batch) error {
		i := slices.IndexFunc(b.Events, func(e event.Recorded) bool { return e.Position == 2 })
		if i < 0 || p.mended {
			return nil
		}
		return &worker.EventError{Index: i, Err: worker.Permanent(errWork)}
	}
	return p
}

// A worker that runs, and has nothing to do, takes a change into account.
func TestARunningWorkerFollowsAChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPoisoned(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		r := g.reader()
		r.Lease = 3 * time.Second
		go func() { ended <- r.Run(ctx) }()
		synctest.Wait()
		p := onlyParked(t, g.db)
		if p.State != worker.Waiting || p.Key.Key != "order-1" || p.First != 2 || p.Events != 3 || g.at(t) != 6 {
			t.Fatalf("parked %+v at %d, want order-1 from 2 on, and all read", p, g.at(t))
		}
		a := worker.Amender{Store: g.db, Name: "reader", Actor: "eve"}
		if _, err := a.RetryParked(ctx, 0, p.Key); err != nil {
			t.Fatal(err)
		}
		<-time.After(r.Lease)
		synctest.Wait()
		if p := onlyParked(t, g.db); p.State != worker.Waiting || p.Attempts != 1 || len(p.History) != 2 {
			t.Errorf("parked %+v, want it tried once more, and waiting again", p)
		}
		if err := a.DiscardParked(ctx, p.Key, 2, "spam"); err != nil {
			t.Fatal(err)
		}
		<-time.After(r.Lease)
		synctest.Wait()
		if all := allParked(t, g.db); len(all) != 0 {
			t.Errorf("parked %+v, want the key drained behind the event that was discarded", all)
		}
		if diff := cmp.Diff([]event.Position{1, 5, 6, 3, 4}, g.applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	})
}

// The batch in flight of a worker is fenced by a change, and made again: nothing takes
// effect twice, and the change stays.
func TestAChangeFencesTheBatchInFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPoisoned(t)
		if err := g.reader().RunTo(t.Context(), 6); !errors.Is(err, worker.ErrParked) {
			t.Fatal(err)
		}
		note(t, g.db, "3", 7)
		a := worker.Amender{Store: g.db, Name: "reader", Actor: "eve"}
		tries := 0
		r := g.reader()
		apply := r.Apply
		r.Apply = func(ctx context.Context, b worker.Batch) error {
			if tries++; tries == 1 {
				if err := a.NoteParked(ctx, worker.Key{Key: "order-1"}, "mine"); err != nil {
					t.Error(err)
				}
			}
			return apply(ctx, b)
		}
		if err := r.RunTo(t.Context(), 7); !errors.Is(err, worker.ErrParked) {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]event.Position{1, 5, 6, 7}, g.applied); diff != "" || tries != 2 {
			t.Errorf("applied in %d tries (-want +got):\n%s", tries, diff)
		}
		if p := onlyParked(t, g.db); p.Note != "mine" {
			t.Errorf("parked %+v, want the note kept", p)
		}
	})
}

// restless is a store whose mark a worker moves before each write of somebody else.
type restless struct {
	*memory.DB
	moves, saves int // of the worker, and of the others
}

func (r *restless) Save(ctx context.Context, name string, term worker.Term, w worker.Write) error {
	r.saves++
	if r.moves > 0 {
		r.moves--
		c, err := r.Checkpoint(ctx, name)
		if err != nil {
			return err
		}
		if err := r.DB.Save(ctx, name, term, worker.Write{Marks: c}); err != nil {
			return err
		}
	}
	return r.DB.Save(ctx, name, term, w)
}

func TestAmenderRacesWithABusyWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		parkedKeys(t, db, worker.Waiting, []int64{7}, "k")
		store := &restless{DB: db, moves: 7}
		a := worker.Amender{Store: store, Name: "reader", Actor: "eve"}
		if err := a.NoteParked(t.Context(), worker.Key{Key: "k"}, "won"); err != nil || onlyParked(t, db).Note != "won" || store.saves != 8 {
			t.Errorf("NoteParked = %v after %d tries, want nil after 8", err, store.saves)
		}
		*store = restless{DB: db, moves: 1 << 30}
		err := a.NoteParked(t.Context(), worker.Key{Key: "k"}, "lost")
		want := fmt.Sprintf(`note parked key "k" of reader: save checkpoint reader: part "" is at revision %d, not %d: checkpoint was moved by another worker`, 109, 108)
		if !errors.Is(err, worker.ErrFenced) || err.Error() != want || store.saves != 100 {
			t.Errorf("NoteParked = %v after %d tries, want %s after 100", err, store.saves, want)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		*store = restless{DB: db, moves: 1 << 30}
		if err := a.NoteParked(ctx, worker.Key{Key: "k"}, "late"); !errors.Is(err, context.Canceled) {
			t.Errorf("NoteParked = %v, want that ctx has ended", err)
		}
	})
}

// older is a store that another server has taken over since its marks were written.
type older struct {
	*memory.DB
	server string
}

func (o *older) Checkpoint(ctx context.Context, name string) (worker.Checkpoint, error) {
	c, err := o.DB.Checkpoint(ctx, name)
	m := c[""]
	m.Server = o.server
	c[""] = m
	return c, err
}

// After a failover a mark stands still until there is more to read; what is parked can
// be mended all the same, if nothing has diverged.
func TestAmenderAfterAFailover(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newPoisoned(t)
		if err := g.reader().RunTo(t.Context(), 6); !errors.Is(err, worker.ErrParked) {
			t.Fatal(err)
		}
		a := worker.Amender{Store: &older{g.db, "before"}, Name: "reader", Actor: "eve"}
		if err := a.NoteParked(t.Context(), worker.Key{Key: "order-1"}, "mine"); err != nil || onlyParked(t, g.db).Note != "mine" {
			t.Errorf("NoteParked = %v", err)
		}
		l, err := g.db.Lineage(t.Context())
		if got := read(t, g.db, "reader")[""]; err != nil || got.Server != l.Now().Server || got.Position != 6 {
			t.Errorf("the mark is %+v, want it at 6 of the present server", got)
		}
		m := read(t, g.db, "reader")[""]
		m.Digest[0]++
		if err := g.db.Save(t.Context(), "reader", worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}); err != nil {
			t.Fatal(err)
		}
		if err := a.NoteParked(t.Context(), worker.Key{Key: "order-1"}, "lost"); !errors.Is(err, worker.ErrDiverged) || onlyParked(t, g.db).Note != "mine" {
			t.Errorf("NoteParked = %v, want ErrDiverged", err)
		}
		c := worker.Amender{Store: keeperOnly{&older{g.db, "before"}}, Name: "reader", Actor: "eve"}
		if err := c.NoteParked(t.Context(), worker.Key{Key: "order-1"}, "lost"); !errors.Is(err, eventstore.ErrOtherServer) {
			t.Errorf("NoteParked without a log = %v, want ErrOtherServer", err)
		}
	})
}

// keeperOnly hides the log of a store.
type keeperOnly struct{ worker.Keeper }
