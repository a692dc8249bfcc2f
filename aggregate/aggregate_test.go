package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/upcast"
)

type (
	Event   interface{ isAccount() }
	Opened  struct{ Owner string }
	Paid    struct{ Cents int64 }
	paidV1  struct{ Euros int64 }
	Account struct {
		Open    bool
		Balance int64
	}
	Open struct{ Owner string }
	Pay  struct{ Cents int64 }
)

func (Opened) isAccount() {}
func (Paid) isAccount()   {}

var Codec = codec.JSON(codec.Types[Event]{"account.opened": Opened{}, "account.paid": Paid{}},
	upcast.Step("account.paid", 1, func(v paidV1) Paid { return Paid{Cents: v.Euros * 100} }))

func (a Account) Evolve(e Event) Account {
	switch e := e.(type) {
	case Opened:
		a.Open = true
	case Paid:
		a.Balance += e.Cents
	}
	return a
}

func (c Open) Decide(a Account) ([]Event, error) {
	if a.Open {
		return nil, nil
	}
	return []Event{Opened(c)}, nil
}

var errNotOpen = errors.New("account is not open")

func (c Pay) Decide(a Account) ([]Event, error) {
	if !a.Open {
		return nil, errNotOpen
	}
	return []Event{Paid(c)}, nil
}

func TestExecute(t *testing.T) {
	t.Parallel()
	db := memory.New()
	accounts := aggregate.New[Account](db, "account", Codec)
	ctx := event.WithMetadata(t.Context(), event.Metadata{Actor: "ada", Correlation: "req-1"})

	if _, err := accounts.Execute(ctx, "a", Pay{Cents: 1}); !errors.Is(err, errNotOpen) {
		t.Errorf("Execute = %v, want %v", err, errNotOpen)
	}
	for i, step := range []struct {
		cmd  aggregate.Command[Account, Event]
		want aggregate.Result
	}{
		{Open{Owner: "ada"}, aggregate.Result{Version: 1, Position: 1, Events: 1}},
		{Open{Owner: "ada"}, aggregate.Result{Version: 1, Position: 1}},
		{Pay{Cents: 5}, aggregate.Result{Version: 2, Position: 2, Events: 1}},
	} {
		res, err := accounts.Execute(ctx, "a", step.cmd)
		if err != nil || res != step.want {
			t.Errorf("step %d: Execute = %+v, %v, want %+v", i, res, err, step.want)
		}
	}
	got, err := accounts.Load(ctx, "a")
	if diff := cmp.Diff(aggregate.Loaded[Account]{State: Account{Open: true, Balance: 5}, Version: 2, Position: 2}, got); err != nil || diff != "" {
		t.Errorf("Load: %v %s", err, diff)
	}
	for r, err := range db.ReadStream(ctx, event.Stream{Category: "account", ID: "a"}, eventstore.StreamQuery{}) {
		if err != nil || r.Metadata.Actor != "ada" || r.Metadata.Correlation != "req-1" || r.Metadata.ID == (event.ID{}) {
			t.Errorf("metadata of %s: %+v, %v", r, r.Metadata, err)
		}
	}
}

func TestLoadReadsOldShapes(t *testing.T) {
	t.Parallel()
	db := memory.New()
	_, err := db.Append(t.Context(), event.Stream{Category: "account", ID: "a"}, eventstore.None(),
		event.Raw{Name: "account.paid", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Euros":3}`)})
	if err != nil {
		t.Fatal(err)
	}
	accounts := aggregate.New[Account](db, "account", Codec)
	if got, err := accounts.Load(t.Context(), "a"); err != nil || got.State.Balance != 300 {
		t.Errorf("Load = %+v, %v, want a balance of 300", got, err)
	}
	_, err = db.Append(t.Context(), event.Stream{Category: "account", ID: "a"}, eventstore.Any(),
		event.Raw{Name: "account.closed", Schema: 1, ContentType: "application/json", Payload: []byte(`{}`)})
	if err != nil {
		t.Fatal(err)
	}
	_, err = accounts.Execute(t.Context(), "a", Pay{Cents: 1})
	want := `load account-a: decode account-a@2 (account.closed, position 2): event cannot be decoded: unknown event name "account.closed"`
	if !errors.Is(err, codec.ErrUndecodable) || err.Error() != want {
		t.Errorf("Execute = %v\nwant    %s", err, want)
	}
}

// rivalStore appends a rival's event before each of the first appends.
type rivalStore struct {
	eventstore.Store
	rivals int
}

func (s *rivalStore) Append(ctx context.Context, st event.Stream, expect eventstore.Expect, es ...event.Raw) (eventstore.Result, error) {
	if s.rivals > 0 {
		s.rivals--
		raw, _ := Codec.Encode(Paid{Cents: 1000})
		if _, err := s.Store.Append(ctx, st, eventstore.Any(), raw); err != nil {
			return eventstore.Result{}, err
		}
	}
	return s.Store.Append(ctx, st, expect, es...)
}

func TestConflictIsRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &rivalStore{Store: memory.New(), rivals: 3}
		accounts := aggregate.New[Account](store, "account", Codec, aggregate.WithAttempts(4))
		decided := 0
		res, err := accounts.Update(t.Context(), "a", func(a Account) ([]Event, error) {
			decided++
			return []Event{Paid{Cents: a.Balance}}, nil
		})
		if err != nil || res.Version != 4 || decided != 4 {
			t.Errorf("Update = %+v, %v after %d decisions, want version 4 after 4", res, err, decided)
		}
		got, err := accounts.Load(t.Context(), "a")
		if err != nil || got.State.Balance != 6000 {
			t.Errorf("Load = %+v, %v, want the decision on what the rivals did", got, err)
		}
	})
}

func TestConflictRetryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &rivalStore{Store: memory.New(), rivals: 100}
		pay := func(Account) ([]Event, error) { return []Event{Paid{Cents: 1}}, nil }
		accounts := aggregate.New[Account](store, "account", Codec, aggregate.WithAttempts(3), aggregate.WithBackoff(time.Hour, 2*time.Hour))
		_, err := accounts.Update(t.Context(), "a", pay)
		want := "execute on account-a: 3 attempts: append account-a: expected version 2, stream is at 3"
		if !errors.Is(err, eventstore.ErrConflict) || err.Error() != want {
			t.Errorf("Update = %v, want %s", err, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = accounts.Update(ctx, "a", pay)
		want = "execute on account-a: context deadline exceeded, after: append account-a: expected version 3, stream is at 4"
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, eventstore.ErrConflict) || err.Error() != want {
			t.Errorf("Update = %v, want %s", err, want)
		}
		_, err = accounts.With(store).Update(t.Context(), "a", pay)
		want = "append account-a: expected version 4, stream is at 5"
		if err == nil || err.Error() != want {
			t.Errorf("in a transaction a conflict is returned at once: %v, want %s", err, want)
		}
	})
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	db := memory.New()
	accounts := aggregate.New[Account](db, "account", Codec, aggregate.WithAttempts(1000), aggregate.WithBackoff(0, 0))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				if _, err := accounts.Update(t.Context(), "a", func(Account) ([]Event, error) { return []Event{Paid{Cents: 1}}, nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := accounts.Load(t.Context(), "a"); err != nil || got.State.Balance != 200 {
		t.Errorf("Load = %+v, %v, want a balance of 200", got, err)
	}
}

func TestWithTransaction(t *testing.T) {
	t.Parallel()
	db := memory.New()
	accounts := aggregate.New[Account](db, "account", Codec)
	tx := db.Begin()
	both := accounts.With(db.Tx(tx))
	for _, id := range []string{"a", "b"} {
		if _, err := both.Execute(t.Context(), id, Open{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := accounts.Load(t.Context(), "a"); got.State.Open {
		t.Error("visible before the commit")
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if got, err := accounts.Load(t.Context(), id); err != nil || !got.State.Open {
			t.Errorf("Load(%s) = %+v, %v, want it open", id, got, err)
		}
	}
}

type brokenStore struct{ eventstore.Store }

var errBroken = errors.New("broken")

func (brokenStore) ReadStream(context.Context, event.Stream, eventstore.StreamQuery) iter.Seq2[event.Recorded, error] {
	return func(yield func(event.Recorded, error) bool) { yield(event.Recorded{}, errBroken) }
}

func TestErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	accounts := aggregate.New[Account](brokenStore{}, "account", Codec)
	if _, err := accounts.Execute(t.Context(), "a", Open{}); !errors.Is(err, errBroken) {
		t.Errorf("Execute = %v, want %v", err, errBroken)
	}
	_, err := aggregate.New[Account](memory.New(), "account", Codec).Execute(t.Context(), "", Open{})
	if want := "read stream: invalid stream id \"\": empty"; err == nil || err.Error() != want {
		t.Errorf("Execute = %v, want %s", err, want)
	}
}

func TestNewPanics(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(){
		`aggregate: invalid category "a-b": want letters, digits and underscores, beginning with a letter`: func() {
			aggregate.New[Account](memory.New(), "a-b", Codec)
		},
		"aggregate: option WithAttempts: 0: want at least 1": func() {
			aggregate.New[Account](memory.New(), "a", Codec, aggregate.WithAttempts(0))
		},
		"aggregate: option WithBackoff: 2s, 1s: want 0 <= base <= most": func() {
			aggregate.New[Account](memory.New(), "a", Codec, aggregate.WithBackoff(2*time.Second, time.Second))
		},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			build()
		}()
	}
}

func ExampleRepository_Execute() {
	accounts := aggregate.New[Account](memory.New(), "account", Codec)
	ctx := context.Background()
	_, err := accounts.Execute(ctx, "a-1", Open{Owner: "ada"})
	fmt.Println(err)
	res, err := accounts.Execute(ctx, "a-1", Pay{Cents: 1250})
	fmt.Println(res.Version, err)
	account, err := accounts.Load(ctx, "a-1")
	fmt.Printf("%+v %v\n", account.State, err)
	// Output:
	// <nil>
	// 2 <nil>
	// {Open:true Balance:1250} <nil>
}
