package workertest

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// full is a mark with everything that a reader of the log keeps in it.
func full[Tx any](t *testing.T, target Target[Tx]) worker.Mark {
	t.Helper()
	l, err := target.Store.Lineage(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	m := worker.Mark{Lineage: l.String(), Server: l.Now().Server}
	for p := event.Position(1 << 40); p < 1<<40+200; p++ {
		e := event.Recorded{Position: p}
		e.Payload = []byte{0, 0xff}
		m = m.Reached(p, []event.Recorded{e})
	}
	if len(m.Trail.Waypoints()) < 5 || m.Digest == (worker.Digest{}) {
		t.Fatalf("the mark has no trail: %+v", m)
	}
	return m
}

func namesHistory[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	m := full(t, target)
	if err := save(ctx, target, worker.Checkpoint{"": m}); err != nil {
		t.Fatal(err)
	}
	want := m
	want.Revision = 1
	if got := read(t, target)[""]; got != want {
		t.Errorf("saved %+v, read %+v", want, got)
	}
	err := target.Store.Advance(ctx, name, worker.Term{}, "", func(_ context.Context, _ Tx, at worker.Mark) (worker.Write, error) {
		if at != want {
			t.Errorf("Advance starts at %+v, want %+v", at, want)
		}
		return move("", at.Reached(1<<41, []event.Recorded{{Position: 1 << 41}})), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want = want.Reached(1<<41, []event.Recorded{{Position: 1 << 41}})
	want.Revision = 2
	if got := read(t, target)[""]; got != want {
		t.Errorf("advanced to %+v, read %+v", want, got)
	}
}

// Neither way of writing takes a mark that was made on another server than the
// store is now.
func otherServer[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	m := full(t, target)
	if err := save(ctx, target, worker.Checkpoint{"": m}); err != nil {
		t.Fatal(err)
	}
	want := read(t, target)
	for _, server := range []string{"another", m.Server + "0", eventstore.Holder(m.Server) + "+0"} {
		stale := want[""] // and yet it has the revision
		stale.Server, stale.Position = server, 1<<42
		err := save(ctx, target, worker.Checkpoint{"": stale, "p": {Position: 1}})
		if !errors.Is(err, eventstore.ErrOtherServer) {
			t.Errorf("Save of %s = %v, want ErrOtherServer", server, err)
		}
		err = target.Store.Advance(ctx, name, worker.Term{}, "", func(ctx context.Context, tx Tx, _ worker.Mark) (worker.Write, error) {
			return move("", stale), effect(ctx, target, tx)
		})
		if !errors.Is(err, eventstore.ErrOtherServer) {
			t.Errorf("Advance to %s = %v, want ErrOtherServer", server, err)
		}
	}
	if got := read(t, target); !reflect.DeepEqual(got, want) {
		t.Errorf("checkpoint %+v, want %+v: nothing has changed", got, want)
	}
	if n := effects(t, target); n != 0 {
		t.Errorf("%d effects, want 0", n)
	}
}

// logOf is a log of another server, and its lineage is all that is asked for.
type logOf struct {
	eventstore.Log
	server string
}

func (l logOf) Lineage(context.Context) (eventstore.Lineage, error) {
	return eventstore.Lineage{{Server: l.server}}, nil
}

// A read model of the events of another store has its marks here, whatever that
// store's server is called.
func otherLog[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	m := full(t, target)
	for _, server := range []string{"another+1", m.Server} {
		joined := worker.Join(logOf{server: server}, worker.Store[Tx](target.Store))
		m.Server, m.Revision = server, 0
		reader := name + " of " + server
		if err := joined.Save(ctx, reader, worker.Term{}, move("", m)); err != nil {
			t.Fatal(err)
		}
		err := joined.Advance(ctx, reader, worker.Term{}, "", func(ctx context.Context, tx Tx, at worker.Mark) (worker.Write, error) {
			if at.Server != server || at.Revision != 1 {
				t.Errorf("Advance starts at %+v", at)
			}
			at.Position++
			return move("", at), effect(ctx, target, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		want := m
		want.Position++
		want.Revision = 2
		c, err := joined.Checkpoint(ctx, reader)
		if err != nil || c[""] != want {
			t.Errorf("Checkpoint = %+v, %v, want %+v", c[""], err, want)
		}
		c, err = target.Store.Checkpoint(ctx, reader)
		if err != nil || c[""].Own() || c[""].Server == server {
			t.Errorf("Checkpoint = %+v, %v, want a mark that names no server of this store", c[""], err)
		}
	}
	if n := effects(t, target); n != 2 {
		t.Errorf("%d effects, want 2", n)
	}
}
