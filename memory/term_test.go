package memory_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func take(t *testing.T, db *memory.DB) worker.Term {
	t.Helper()
	term, err := db.Claim(t.Context(), worker.Claiming{Name: "totals", Holder: "w", Lease: time.Minute, Seize: true})
	if err != nil {
		t.Fatal(err)
	}
	return term
}

func appendTo(ctx context.Context, s eventstore.Store) error {
	_, err := s.Append(ctx, event.Stream{Category: "order", ID: "1"}, eventstore.Any(), event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain"})
	return err
}

// Whatever fn does when its term is over, and whatever it returns.
func TestClaimTellsFn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		term := take(t, db)
		err := db.Advance(t.Context(), "totals", term, "", func(ctx context.Context, tx *memory.Tx, at worker.Mark) (worker.Write, error) {
			if err := appendTo(ctx, db.Tx(tx)); err != nil {
				t.Error(err)
			}
			take(t, db)
			if cause := context.Cause(ctx); ctx.Err() == nil || cause != worker.ErrFenced { //nolint:errorlint // as it is
				t.Errorf("the context of fn has ended with %v, want ErrFenced", cause)
			}
			want := `append order-1: term 1 of segment "" is over: checkpoint was moved by another worker`
			if err := appendTo(context.Background(), db.Tx(tx)); !errors.Is(err, worker.ErrFenced) || err.Error() != want {
				t.Errorf("Append = %v, want %s", err, want)
			}
			if err := tx.Commit(); !errors.Is(err, worker.ErrFenced) {
				t.Errorf("Commit = %v, want ErrFenced", err)
			}
			if err := appendTo(context.Background(), db); err != nil { // the log is free
				t.Error(err)
			}
			return worker.Write{}, ctx.Err()
		})
		want := `advance totals: term 1 of segment "" is over: checkpoint was moved by another worker`
		if !errors.Is(err, worker.ErrFenced) || err.Error() != want {
			t.Errorf("Advance = %v, want %s", err, want)
		}
		if head, err := db.Head(t.Context()); head != 1 {
			t.Errorf("Head = %d, %v, want 1: what was appended outside", head, err)
		}
	})
}

// It waits to append while its term ends.
func TestClaimEndsATransactionThatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		other := db.Begin()
		if err := appendTo(t.Context(), db.Tx(other)); err != nil {
			t.Fatal(err)
		}
		term := take(t, db)
		ended := make(chan error)
		go func() {
			ended <- db.Advance(t.Context(), "totals", term, "", func(_ context.Context, tx *memory.Tx, _ worker.Mark) (worker.Write, error) {
				return worker.Write{}, appendTo(t.Context(), db.Tx(tx))
			})
		}()
		synctest.Wait()
		take(t, db)
		if err := <-ended; !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Advance = %v, want ErrFenced", err)
		}
		if err := other.Commit(); err != nil {
			t.Error(err)
		}
		if err := appendTo(t.Context(), db); err != nil {
			t.Error(err)
		}
	})
}

// Without a clock of its own a store goes by time.Now, which is virtual in a bubble.
func TestLeasesGoByTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db := memory.New()
		c := worker.Claiming{Name: "totals", Holder: "a", Lease: time.Minute}
		if _, err := db.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		c.Holder, c.Epoch = "b", 1
		<-time.After(time.Minute - 1)
		_, err := db.Claim(t.Context(), c)
		want := `claim segment "" of totals: segment is taken by another worker: term 1 of a runs until 2000-01-01T00:01:00Z`
		if !errors.Is(err, worker.ErrTaken) || err.Error() != want {
			t.Errorf("Claim = %v, want %s", err, want)
		}
		<-time.After(1)
		if term, err := db.Claim(t.Context(), c); err != nil || term.Epoch != 2 {
			t.Errorf("Claim = %+v, %v, want epoch 2", term, err)
		}
	})
}

func TestKeeperErrors(t *testing.T) {
	t.Parallel()
	db := memory.New()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	take(t, db)
	key := worker.Key{Part: "p", Key: "order-1"}
	marks := worker.Checkpoint{"p": {}}
	save := func(term worker.Term, w worker.Write) error { return db.Save(t.Context(), "totals", term, w) }
	advance := func(term worker.Term, w worker.Write) error {
		return db.Advance(t.Context(), "totals", term, "p", func(_ context.Context, tx *memory.Tx, _ worker.Mark) (worker.Write, error) {
			if w.Audit != nil {
				tx.Rollback()
			}
			return w, nil
		})
	}
	for want, call := range map[string]func() error{
		`save checkpoint totals: term 2 of segment "" is over: checkpoint was moved by another worker`:     func() error { return save(worker.Term{Epoch: 2}, worker.Write{}) },
		`advance totals: term 2 of segment "" is over: checkpoint was moved by another worker`:             func() error { return advance(worker.Term{Epoch: 2}, worker.Write{}) },
		`save checkpoint totals: part "p" is at revision 0, not 3: checkpoint was moved by another worker`: func() error { return save(worker.Term{}, worker.Write{Marks: worker.Checkpoint{"p": {Revision: 3}}}) },
		`advance totals: part "p" is at revision 0, not 3: checkpoint was moved by another worker`: func() error {
			return advance(worker.Term{}, worker.Write{Marks: worker.Checkpoint{"p": {Revision: 3}}})
		},
		`advance totals: part "q": its mark is written by an advance of part "p": want that of one part`:                         func() error { return advance(worker.Term{}, worker.Write{Marks: worker.Checkpoint{"p": {}, "q": {}}}) },
		`advance totals: transaction has ended`:                                                                                  func() error { return advance(worker.Term{}, worker.Write{Audit: []worker.Audit{{}}}) },
		`save checkpoint totals: part "p": key "order-1" is freed, but the mark of the part is not written: write both together`: func() error { return save(worker.Term{}, worker.Write{Free: []worker.Key{key}}) },
		`save checkpoint totals: part "p": key "order-1" cannot be freed: it is not parked`:                                      func() error { return save(worker.Term{}, worker.Write{Marks: marks, Free: []worker.Key{key}}) },
		`save checkpoint totals: part "p": key "order-1" cannot be given an item: it is not parked`:                              func() error { return save(worker.Term{}, worker.Write{Marks: marks, Items: []worker.Item{{Key: key}}}) },
		`save checkpoint totals: part "p": key "order-1" cannot be freed: it still has items`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Park: []worker.Parked{{Key: key, State: worker.Waiting}}, Items: []worker.Item{{Key: key}, {Key: key, Seq: 1}}, Free: []worker.Key{key}})
		},
		`save checkpoint totals: part "q": key "k" is parked, but the mark of the part is not written: write both together`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Park: []worker.Parked{{Key: worker.Key{Part: "q", Key: "k"}}}})
		},
		`save checkpoint totals: part "q": key "k" is given an item, but the mark of the part is not written: write both together`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Items: []worker.Item{{Key: worker.Key{Part: "q", Key: "k"}}}})
		},
		`save checkpoint totals: part "q": key "k" is done with an item, but the mark of the part is not written: write both together`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Done: []worker.Item{{Key: worker.Key{Part: "q", Key: "k"}}}})
		},
		`save checkpoint totals: part "p": key "order-1" has the state "lost", want retrying or waiting`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Park: []worker.Parked{{Key: key, State: "lost"}}})
		},
		`save checkpoint totals: part "p": key "order-1" has -1 attempts, want at least 0`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Park: []worker.Parked{{Key: key, State: worker.Waiting, Attempts: -1}}})
		},
		`save checkpoint totals: part "p": key "order-1" has 21 attempts in its history, want at most 20`: func() error {
			return save(worker.Term{}, worker.Write{Marks: marks, Park: []worker.Parked{{Key: key, State: worker.Waiting, History: make([]worker.Attempt, 21)}}})
		},
		`claim segment "" of totals: segment is taken by another worker: its epoch is 1, not 5`: func() error { _, err := db.Claim(t.Context(), worker.Claiming{Name: "totals", Epoch: 5}); return err },
		`save checkpoint totals: context canceled`:                                              func() error { return db.Save(ended, "totals", worker.Term{}, worker.Write{}) },
		`advance totals: context canceled`:                                                      func() error { return db.Advance(ended, "totals", worker.Term{}, "", nil) },
		`claim segment "a" of totals: context canceled`:                                         func() error { _, err := db.Claim(ended, worker.Claiming{Name: "totals", Segment: "a"}); return err },
		`renew totals for w: context canceled`:                                                  func() error { _, err := db.Renew(ended, worker.Renewal{Name: "totals", Holder: "w"}); return err },
		`resign totals for w: context canceled`:                                                 func() error { return db.Resign(ended, "totals", "w", true) },
		`read roster of totals: context canceled`:                                               func() error { _, err := db.Roster(ended, "totals"); return err },
		`list parked keys of totals: context canceled`:                                          func() error { _, err := db.Parked(ended, worker.ParkedQuery{Name: "totals"}); return err },
		`read items of totals: part "p": key "order-1": context canceled`:                       func() error { _, err := db.Items(ended, "totals", key, 0, 1); return err },
		`read status of totals: context canceled`:                                               func() error { _, err := db.Status(ended, "totals"); return err },
		`list audits of totals: context canceled`:                                               func() error { _, err := db.Audits(ended, "totals", time.Time{}, 1); return err },
	} {
		if err := call(); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
