package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/worker"
)

var parkedKey = worker.Key{Part: "p", Key: "order-1"}

// park makes a reader with one parked key that has three items.
func (s *script) park() {
	s.Helper()
	s.end(s.db.Save(s.ctx, "totals", worker.Term{}, worker.Write{
		Marks: worker.Checkpoint{"p": {Position: 7}, "q": {Position: 7}},
		Park:  []worker.Parked{{Key: parkedKey, State: worker.Retrying, Since: time.Now()}},
		Items: []worker.Item{{Key: parkedKey, Seq: 1}, {Key: parkedKey, Seq: 2}, {Key: parkedKey, Seq: 3}},
	}))
}

// A write is made as a whole or not at all, and says what is wrong with it.
func TestAWriteIsMadeAsAWhole(t *testing.T) {
	t.Parallel()
	absent := worker.Key{Part: "p", Key: "absent"}
	attempts := make([]worker.Attempt, worker.MaxHistory+1)
	for text, wrong := range map[string]func(w *worker.Write){
		`part "p" is not at revision 5: checkpoint was moved by another worker`: func(w *worker.Write) { w.Marks["p"] = worker.Mark{Revision: 5} },
		`part "q" is not at revision 0: checkpoint was moved by another worker`: func(w *worker.Write) { w.Marks["q"] = worker.Mark{} },
		`part "q": key "x" is parked, but the mark of the part is not written: write both together`: func(w *worker.Write) {
			w.Park = append(w.Park, worker.Parked{Key: worker.Key{Part: "q", Key: "x"}})
		},
		`part "q": key "x" is given an item, but the mark of the part is not written: write both together`: func(w *worker.Write) {
			w.Items = append(w.Items, worker.Item{Key: worker.Key{Part: "q", Key: "x"}})
		},
		`part "q": key "x" is done with an item, but the mark of the part is not written: write both together`: func(w *worker.Write) {
			w.Done = append(w.Done, worker.Item{Key: worker.Key{Part: "q", Key: "x"}})
		},
		`part "q": key "x" is freed, but the mark of the part is not written: write both together`: func(w *worker.Write) {
			w.Free = append(w.Free, worker.Key{Part: "q", Key: "x"})
		},
		`part "p": key "order-1" has 21 attempts in its history, want at most 20`: func(w *worker.Write) { w.Park[0].History = attempts },
		`part "p": key "order-1": ERROR: new row for relation "parked" violates check constraint "parked_state_is_known" (SQLSTATE 23514)`: func(w *worker.Write) {
			w.Park[0].State = "lost"
		},
		`an item is of a key that is not parked: Key (name, part, key)=(totals, p, absent) is not present in table "parked".: ERROR: `: func(w *worker.Write) {
			w.Items = append(w.Items, worker.Item{Key: absent})
		},
		`part "p": key "order-1" cannot be freed: it still has items: ERROR: `: func(w *worker.Write) { w.Free = []worker.Key{parkedKey} },
		`part "p": key "absent" cannot be freed: it is not parked`:             func(w *worker.Write) { w.Free = []worker.Key{absent} },
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			s.park()
			before := s.rows()
			write := func() worker.Write {
				w := worker.Write{
					Marks: worker.Checkpoint{"p": {Position: 9, Revision: 1}},
					Park:  []worker.Parked{{Key: parkedKey, State: worker.Waiting, Note: "changed"}},
					Items: []worker.Item{{Key: parkedKey, Seq: 4}},
					Done:  []worker.Item{{Key: parkedKey, Seq: 1}},
					Audit: []worker.Audit{{Key: parkedKey, Actor: "ada", Action: "note"}},
				}
				wrong(&w)
				return w
			}
			if err := s.db.Save(s.ctx, "totals", worker.Term{}, write()); err == nil || !strings.HasPrefix(err.Error(), "save checkpoint totals: "+text) {
				t.Errorf("Save = %v\nwant %s", err, text)
			}
			advance := func() error {
				return s.db.Advance(s.ctx, "totals", worker.Term{}, "p", func(context.Context, pgx.Tx, worker.Mark) (worker.Write, error) { return write(), nil })
			}
			want := "advance totals: " + text
			if strings.HasPrefix(text, `part "q" is not`) {
				want = `advance totals: part "q": its mark is written by an advance of part "p": want that of one part`
			}
			if err := advance(); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("Advance = %v\nwant %s", err, want)
			}
			if diff := cmp.Diff(before, s.rows()); diff != "" {
				t.Errorf("rows have changed:\n%s", diff)
			}
		})
	}
}

// What a program says of its errors is stored whatever it is, and is bounded.
func TestTextsAreCut(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for i, tt := range []struct{ text, want string }{
		{"plain", "plain"},
		{"a\x00b\xffc", "a\uFFFDb\uFFFDc"},
		{strings.Repeat("x", worker.MaxError), strings.Repeat("x", worker.MaxError)},
		{strings.Repeat("x", worker.MaxError-1) + "\u20AC", strings.Repeat("x", worker.MaxError-1)},
		{strings.Repeat("\x00", 1<<20), strings.Repeat("\uFFFD", worker.MaxError/3)},
		{strings.Repeat("\u00e4", 1<<20), strings.Repeat("\u00e4", worker.MaxError/2)},
	} {
		text := tt.text
		p := worker.Parked{
			Key: parkedKey, State: worker.Waiting, Since: time.Now(), Error: text, Stack: text, Version: text, Owner: text, Note: text,
			History: []worker.Attempt{{Error: text, Version: text}},
		}
		term, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "w", Segment: fmt.Sprint(i), Lease: time.Hour})
		s.end(err)
		r, err := s.db.Renew(s.ctx, worker.Renewal{Name: "totals", Holder: "w", Lease: time.Hour, Terms: []worker.Term{term}, Reports: map[string]worker.Report{term.Segment: {Paused: text, Error: text}}})
		s.end(err)
		s.end(s.db.Save(s.ctx, "totals", worker.Term{}, worker.Write{
			Marks: worker.Checkpoint{"p": {Revision: int64(i)}}, Park: []worker.Parked{p}, Audit: []worker.Audit{{Key: parkedKey, Actor: text, Action: text, Detail: text}},
		}))
		keys, err := s.db.Parked(s.ctx, worker.ParkedQuery{Name: "totals"})
		s.end(err)
		audits, err := s.db.Audits(s.ctx, "totals", time.Time{}, 1)
		s.end(err)
		got, seat := keys[0], r.Seats[i]
		for what, text := range map[string]string{
			"error": got.Error, "stack": got.Stack, "version": got.Version, "owner": got.Owner, "note": got.Note, "attempt": got.History[0].Error, "its version": got.History[0].Version,
			"actor": audits[0].Actor, "action": audits[0].Action, "detail": audits[0].Detail, "paused": seat.Report.Paused, "error of the seat": seat.Report.Error,
		} {
			if text != tt.want || !utf8.ValidString(text) {
				t.Errorf("%d: %s has %d bytes, want %d", i, what, len(text), len(tt.want))
			}
		}
	}
}

// Ten thousand events that come behind a parked one are one statement.
func TestManyItems(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.park()
	w := worker.Write{Marks: worker.Checkpoint{"p": {Position: 20_000, Revision: 1}}}
	for i := range int64(10_000) {
		w.Items = append(w.Items, worker.Item{Key: parkedKey, Seq: 10 + i, Data: []byte(fmt.Sprint(i))})
	}
	s.end(s.db.Save(s.ctx, "totals", worker.Term{}, w))
	keys, err := s.db.Parked(s.ctx, worker.ParkedQuery{Name: "totals"})
	s.end(err)
	if len(keys) != 1 || keys[0].Events != 10_003 || keys[0].First != 1 {
		t.Errorf("parked %+v, want 10003 events from 1 on", keys)
	}
	page, err := s.db.Items(s.ctx, "totals", parkedKey, 0, 0)
	s.end(err)
	if len(page) != 1000 || page[999].Seq != 1006 || string(page[999].Data) != "996" {
		t.Errorf("%d items up to %+v", len(page), page[len(page)-1])
	}
	w = worker.Write{Marks: worker.Checkpoint{"p": {Position: 20_000, Revision: 2}}, Done: w.Items, Free: []worker.Key{parkedKey}}
	w.Done = append(w.Done, worker.Item{Key: parkedKey, Seq: 1}, worker.Item{Key: parkedKey, Seq: 2}, worker.Item{Key: parkedKey, Seq: 3})
	s.end(s.db.Save(s.ctx, "totals", worker.Term{}, w))
	if keys, err := s.db.Parked(s.ctx, worker.ParkedQuery{Name: "totals"}); err != nil || len(keys) != 0 {
		t.Errorf("parked %+v, %v, want nothing", keys, err)
	}
}

// The write of a mark that fn has not moved from where it was is refused too.
func TestAdvanceOfARevisionOfBefore(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	s.park()
	err := s.db.Advance(s.ctx, "totals", worker.Term{}, "p", func(_ context.Context, _ pgx.Tx, at worker.Mark) (worker.Write, error) {
		at.Revision++
		return worker.Write{Marks: worker.Checkpoint{"p": at}}, nil
	})
	if want := `advance totals: part "p" is not at revision 2: checkpoint was moved by another worker`; err == nil || err.Error() != want || !errors.Is(err, worker.ErrFenced) {
		t.Errorf("Advance = %v, want %s", err, want)
	}
}
