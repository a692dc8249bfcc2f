package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/worker"
)

// termScript is a reader with one segment, and a table of effects.
type termScript struct {
	*script
	term worker.Term
}

func newTermScript(t *testing.T) *termScript {
	t.Helper()
	s := newScript(t)
	s.exec(`CREATE TABLE effects (n int)`)
	return &termScript{s, s.claim(s.db, "first", 0)}
}

func (s *script) claim(db *postgres.DB, holder string, epoch int64) worker.Term {
	s.Helper()
	term, err := db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: holder, Segment: "0", Lease: time.Hour, Epoch: epoch})
	s.end(err)
	return term
}

// expire ends all leases, as if their time had passed.
func (s *script) expire() {
	s.Helper()
	s.exec(`UPDATE annals.terms SET lease_until = clock_timestamp() - interval '1 second'`)
}

// advance applies one more event, with an effect, and calls during in the middle.
func (s *script) advance(db *postgres.DB, term worker.Term, during func(tx pgx.Tx)) error {
	return db.Advance(s.ctx, "totals", term, "0", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
		if _, err := tx.Exec(ctx, `INSERT INTO effects VALUES (1)`); err != nil {
			return worker.Write{}, err
		}
		if during != nil {
			during(tx)
		}
		at.Position++
		return worker.Write{Marks: worker.Checkpoint{"0": at}}, nil
	})
}

// wantEffects compares the mark with the effects.
func (s *script) wantEffects(n int) {
	s.Helper()
	var effects, position int
	s.end(s.pool.QueryRow(s.ctx, `SELECT (SELECT count(*) FROM effects), coalesce((SELECT position FROM annals.checkpoints WHERE name = 'totals'), 0)`).Scan(&effects, &position))
	if effects != n || position != n {
		s.Errorf("%d effects, mark at %d, want %d", effects, position, n)
	}
}

func wantError(t *testing.T, what string, err, sentinel error, text string) {
	t.Helper()
	if err == nil || !errors.Is(err, sentinel) || !strings.HasPrefix(err.Error(), text) {
		t.Errorf("%s = %v\nwant %s", what, err, text)
	}
}

// A worker is frozen in the middle of a batch: who claims the segment ends it.
func TestClaimEndsAFrozenHolder(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	s.end(s.advance(s.db, s.term, nil))
	var pid uint32
	var next worker.Term
	err := s.advance(s.db, s.term, func(tx pgx.Tx) {
		pid = tx.Conn().PgConn().PID()
		s.expire()
		next = s.claim(s.db, "second", 1)
		var there bool
		s.end(s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND locktype = 'transactionid')`, int32(pid)).Scan(&there))
		if there {
			t.Error("the transaction of the frozen holder goes on")
		}
		s.wantEffects(1)
		s.end(s.advance(s.db, next, nil)) // it has the row of the mark
	})
	wantError(t, "Advance of the frozen holder", err, worker.ErrFenced, `advance totals: term 1 of segment "0" is over: checkpoint was moved by another worker: `)
	s.wantEffects(2)
	err = s.advance(s.db, s.term, func(pgx.Tx) { t.Error("fn is called") })
	wantError(t, "Advance after it", err, worker.ErrFenced, `advance totals: term 1 of segment "0" is over: checkpoint was moved by another worker`)
	err = s.db.Save(s.ctx, "totals", s.term, worker.Write{Marks: worker.Checkpoint{"0": {Position: 9, Revision: 2}}})
	wantError(t, "Save after it", err, worker.ErrFenced, `save checkpoint totals: term 1 of segment "0" is over: checkpoint was moved by another worker`)
	s.wantEffects(2)
}

// The batch of a holder whose session is ended while its handler runs a statement.
func TestClaimEndsAHungStatement(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	claimed := make(chan worker.Term, 1)
	err := s.advance(s.db, s.term, func(tx pgx.Tx) {
		go func() {
			s.expire()
			term, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "second", Segment: "0", Lease: time.Hour, Epoch: 1})
			if err != nil {
				t.Error(err)
			}
			claimed <- term
		}()
		_, err := tx.Exec(s.ctx, `SELECT pg_sleep(60)`)
		if err == nil {
			t.Error("the statement went on")
		}
	})
	wantError(t, "Advance", err, worker.ErrFenced, `advance totals: term 1 of segment "0" is over: `)
	s.end(s.advance(s.db, <-claimed, nil))
	s.wantEffects(1)
}

// Whoever is ended by a claim waits for what becomes of that: another batch keeps the
// claim from having the next epoch for a while, and it has none of its own.
func TestWhoIsEndedWaitsForTheClaim(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	keeper := s.begin()
	_, err := keeper.Exec(s.ctx, `SELECT FROM annals.terms FOR KEY SHARE`)
	s.end(err)
	claimed, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- s.advance(s.db, s.term, func(tx pgx.Tx) {
			s.expire()
			go func() {
				for {
					_, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "second", Segment: "0", Lease: time.Hour, Epoch: 1})
					if !errors.Is(err, worker.ErrTaken) {
						claimed <- err
						return
					}
				}
			}()
			_, _ = tx.Exec(s.ctx, `SELECT pg_sleep(60)`)
		})
	}()
	s.until("it asks whether its term is over", func() bool {
		var asks bool
		s.end(s.pool.QueryRow(s.ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR SHARE%' AND pid <> pg_backend_pid())`).Scan(&asks))
		return asks
	})
	s.commit(keeper)
	s.end(<-claimed)
	wantError(t, "Advance", <-ended, worker.ErrFenced, `advance totals: term 1 of segment "0" is over: `)
}

// A lease that is over takes nothing away: only a claim does.
func TestALeaseThatIsOver(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	s.expire()
	s.end(s.advance(s.db, s.term, nil))
	r, err := s.db.Renew(s.ctx, worker.Renewal{Name: "totals", Holder: "first", Lease: time.Hour, Terms: []worker.Term{s.term}})
	s.end(err)
	if len(r.Seats) != 1 || !r.Seats[0].Live || r.Seats[0].Term != s.term {
		t.Errorf("seats %+v, want the term of before, alive", r.Seats)
	}
	_, err = s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "second", Segment: "0", Lease: time.Hour, Epoch: 1})
	wantError(t, "Claim", err, worker.ErrTaken, `claim segment "0" of totals: segment is taken by another worker: term 1 of first runs until `)
	s.end(s.advance(s.db, s.term, nil))
	s.wantEffects(2)
}

// A heartbeat does not wait for a batch, whether its row finds room on the page or
// not, and the term is held all the same by then. It has a pool of its own that
// would give up a wait.
func TestHeartbeatsDuringABatch(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	pool := s.another(1)
	_, err := pool.Exec(s.ctx, `SET lock_timeout = '1s'`)
	s.end(err)
	impatient := postgres.New(pool)
	s.exec(`INSERT INTO annals.terms (name, segment, epoch, holder, lease_until) SELECT 'filler', n::text, 1, '', now() FROM generate_series(1, 400) n`)
	s.end(s.advance(s.db, s.term, func(pgx.Tx) {
		for range 200 { // leaves the page
			_, err := impatient.Renew(s.ctx, worker.Renewal{Name: "totals", Holder: "first", Lease: time.Hour, Terms: []worker.Term{s.term}, Reports: map[string]worker.Report{"0": {Error: strings.Repeat("x", 500)}}})
			s.end(err)
		}
		claim := s.begin()
		_, err := claim.Exec(s.ctx, `SET LOCAL lock_timeout = '100ms'; UPDATE annals.terms SET epoch = 9 WHERE name = 'totals'`)
		if err == nil || !strings.Contains(err.Error(), "55P03") {
			t.Errorf("a change of the epoch = %v, want it to wait", err)
		}
	}))
	s.wantEffects(1)
}

// Of eight who claim at once one wins, and no epoch is left out.
func TestClaimsRace(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	for epoch := int64(1); epoch <= 10; epoch++ {
		s.expire()
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			wins []worker.Term
		)
		for i := range 8 {
			wg.Go(func() {
				term, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: fmt.Sprint(i), Segment: "0", Lease: time.Hour, Epoch: epoch})
				if err == nil {
					mu.Lock()
					wins = append(wins, term)
					mu.Unlock()
				} else if !errors.Is(err, worker.ErrTaken) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(wins) != 1 || wins[0] != (worker.Term{Segment: "0", Epoch: epoch + 1}) {
			t.Fatalf("terms %+v, want one, with epoch %d", wins, epoch+1)
		}
	}
}

// The first term of a segment has no row yet that could be locked.
func TestFirstClaimsRace(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for segment := range 10 {
		errs := make(chan error, 8)
		for i := range 8 {
			go func() {
				_, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: fmt.Sprint(i), Segment: fmt.Sprint(segment), Lease: time.Hour})
				errs <- err
			}()
		}
		won := 0
		for range 8 {
			if err := <-errs; err == nil {
				won++
			} else if !errors.Is(err, worker.ErrTaken) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d have claimed it, want 1", won)
		}
	}
}

func TestClaimIsRefused(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	claim := func(segment string, epoch int64) error {
		_, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "x", Segment: segment, Lease: time.Hour, Epoch: epoch})
		return err
	}
	s.expire()
	for what, want := range map[error]string{
		claim("0", 0): `claim segment "0" of totals: segment is taken by another worker: its epoch is 1, not 0`,
		claim("0", 7): `claim segment "0" of totals: segment is taken by another worker: its epoch is 1, not 7`,
		claim("1", 7): `claim segment "1" of totals: segment is taken by another worker: its epoch is 0, not 7`,
	} {
		if what == nil || what.Error() != want || !errors.Is(what, worker.ErrTaken) {
			t.Errorf("Claim = %v\nwant %s", what, want)
		}
	}
	tx := s.begin()
	_, err := tx.Exec(s.ctx, `SELECT FROM annals.terms FOR UPDATE`)
	s.end(err)
	wantError(t, "Claim", claim("0", 1), worker.ErrTaken, `claim segment "0" of totals: segment is taken by another worker: somebody else claims it, or has locked its row`)
	s.end(tx.Rollback(s.ctx))
	s.end(claim("0", 1))
}

// Seize takes a segment whose lease runs, in the middle of a batch.
func TestSeize(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	var next worker.Term
	err := s.advance(s.db, s.term, func(pgx.Tx) {
		var err error
		next, err = s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "second", Segment: "0", Lease: time.Hour, Epoch: 77, Seize: true})
		s.end(err)
	})
	wantError(t, "Advance", err, worker.ErrFenced, "advance totals: term 1 of segment")
	if next.Epoch != 2 {
		t.Errorf("term %+v, want epoch 2", next)
	}
	s.end(s.advance(s.db, next, nil))
	s.wantEffects(1)
}

// Only the session of that term is ended: not those of other segments and readers,
// and not one that holds a lock with the same key.
func TestClaimEndsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	other, err := s.db.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "first", Segment: "1", Lease: time.Hour})
	s.end(err)
	bystander := s.begin()
	_, err = bystander.Exec(s.ctx, `SELECT pg_advisory_xact_lock_shared(k.high, k.low) FROM annals.term_key_v1('totals', '0', 1) k`)
	s.end(err)
	err = s.db.Advance(s.ctx, "totals", other, "1", func(ctx context.Context, tx pgx.Tx, at worker.Mark) (worker.Write, error) {
		s.expire()
		s.claim(s.db, "second", 1)
		at.Position = 1
		return worker.Write{Marks: worker.Checkpoint{"1": at}}, nil
	})
	s.end(err)
	s.commit(bystander)
}

// A session of a role that the claimer may not end: the claim says so, in time, and
// the server ends it when the deadline of the batch is over.
func TestClaimMayNotEndTheSession(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	s.exec(`GRANT ALL ON effects TO PUBLIC`)
	service := postgres.New(postgrestest.Service(t, s.pool))
	ended := errors.New("ended")
	err := s.advance(s.db, s.term, func(tx pgx.Tx) {
		s.expire()
		_, err := service.Claim(s.ctx, worker.Claiming{Name: "totals", Holder: "second", Segment: "0", Lease: time.Hour, Epoch: 1})
		pid := tx.Conn().PgConn().PID()
		wantError(t, "Claim", err, worker.ErrTaken, fmt.Sprintf(`claim segment "0" of totals: segment is taken by another worker: batches of term 1 are open in the sessions [%d], of which this role may not end [%d]: log all workers in with one role, or grant it pg_signal_backend`, pid, pid))
	})
	s.end(err)
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	err = s.db.Advance(ctx, "totals", s.term, "0", func(ctx context.Context, tx pgx.Tx, _ worker.Mark) (worker.Write, error) {
		var limit time.Duration
		s.end(tx.QueryRow(ctx, `SELECT current_setting('idle_in_transaction_session_timeout')::interval`).Scan(&limit))
		if limit < time.Second || limit > 31*time.Second {
			t.Errorf("the session may idle for %v, want the time that is left, and a second", limit)
		}
		return worker.Write{}, ended
	})
	if !errors.Is(err, ended) {
		t.Error(err)
	}
}

// A limit of the user that is shorter stays, and nothing stays with the session.
func TestIdleLimitOfTheUser(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	pool := s.another(1)
	db := postgres.New(pool)
	for set, want := range map[string]string{"0": "", "2s": "2s", "1h": "", "100ms": "100ms"} {
		_, err := pool.Exec(s.ctx, `SET idle_in_transaction_session_timeout = '`+set+`'`)
		s.end(err)
		var got, after string
		s.end(s.advance(db, s.term, func(tx pgx.Tx) {
			s.end(tx.QueryRow(s.ctx, `SHOW idle_in_transaction_session_timeout`).Scan(&got))
		}))
		s.end(pool.QueryRow(s.ctx, `SHOW idle_in_transaction_session_timeout`).Scan(&after))
		if after != set || want != "" && got != want || want == "" && (got == "0" || got == set) {
			t.Errorf("set to %s: %s in the batch, %s after it, want %s", set, got, after, want)
		}
	}
}

// A term that is over changes no row of any table, of whatever the write is made.
func TestWithoutATermNothingIsWritten(t *testing.T) {
	t.Parallel()
	s := newTermScript(t)
	key := worker.Key{Part: "0", Key: "order-1"}
	s.end(s.db.Save(s.ctx, "totals", s.term, worker.Write{
		Marks: worker.Checkpoint{"0": {Position: 1}}, Park: []worker.Parked{{Key: key, State: worker.Waiting}}, Items: []worker.Item{{Key: key, Seq: 1}},
	}))
	s.expire()
	s.claim(s.db, "second", 1)
	before := s.rows()
	w := worker.Write{
		Marks: worker.Checkpoint{"0": {Position: 9, Revision: 1}}, Park: []worker.Parked{{Key: key, State: worker.Retrying}},
		Done: []worker.Item{{Key: key, Seq: 1}}, Free: []worker.Key{key}, Audit: []worker.Audit{{Key: key}},
	}
	for _, term := range []worker.Term{s.term, {Segment: "0", Epoch: 3}, {Segment: "x", Epoch: 1}, {Segment: "0"}} {
		if err := s.db.Save(s.ctx, "totals", term, w); !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Save = %v, want ErrFenced", err)
		}
		err := s.db.Advance(s.ctx, "totals", term, "0", func(context.Context, pgx.Tx, worker.Mark) (worker.Write, error) {
			t.Error("fn is called")
			return w, nil
		})
		if !errors.Is(err, worker.ErrFenced) {
			t.Errorf("Advance = %v, want ErrFenced", err)
		}
	}
	if diff := cmp.Diff(before, s.rows()); diff != "" {
		t.Errorf("rows have changed:\n%s", diff)
	}
}

// rows are all that a reader keeps, as text.
func (s *script) rows() (out []string) {
	s.Helper()
	for _, table := range []string{"checkpoints", "terms", "members", "parked", "parked_items", "parked_audits"} {
		rows, err := s.pool.Query(s.ctx, `SELECT '`+table+` ' || t FROM annals.`+table+` t ORDER BY 1`)
		s.end(err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		s.end(err)
		out = append(out, texts...)
	}
	return out
}

// Whatever is asked of the terms, it is asked on one connection.
func TestTermsErrors(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	db := postgres.New(s.another(1), postgres.WithSchema("elsewhere"))
	_, renew := db.Renew(s.ctx, worker.Renewal{Name: "totals", Holder: "w"})
	_, roster := db.Roster(s.ctx, "totals")
	_, claim := db.Claim(s.ctx, worker.Claiming{Name: "totals", Segment: "0"})
	_, status := db.Status(s.ctx, "totals")
	_, readers := db.Readers(s.ctx)
	_, parked := db.Parked(s.ctx, worker.ParkedQuery{Name: "totals"})
	_, items := db.Items(s.ctx, "totals", worker.Key{Part: "p", Key: "k"}, 0, 1)
	_, audits := db.Audits(s.ctx, "totals", time.Time{}, 1)
	for want, err := range map[string]error{
		"renew totals for w: ":                      renew,
		"read roster of totals: ":                   roster,
		`claim segment "0" of totals: `:             claim,
		"resign totals for w: ":                     db.Resign(s.ctx, "totals", "w", true),
		"read status of totals: ":                   status,
		"list readers: ":                            readers,
		"list parked keys of totals: ":              parked,
		`read items of totals: part "p": key "k": `: items,
		"list audits of totals: ":                   audits,
		"save checkpoint totals: ":                  db.Save(s.ctx, "totals", worker.Term{Epoch: 1}, worker.Write{}),
	} {
		wantError(t, want, err, postgres.ErrNotMigrated, want+"schema is not migrated, run annals migrate: ")
	}
}
