package memory_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker/workertest"
)

func TestEventStore(t *testing.T) {
	t.Parallel()
	eventstoretest.Run(t, func(*testing.T) eventstoretest.Target {
		var offset atomic.Int64
		db := memory.New(memory.WithClock(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }))
		return eventstoretest.Target{
			Store:    db,
			SetClock: func(_ *testing.T, by time.Duration) { offset.Store(int64(by)) },
			Begin: func(context.Context) (eventstoretest.Tx, error) {
				tx := db.Begin()
				return eventstoretest.Tx{
					Store:    db.Tx(tx),
					Commit:   func(context.Context) error { return tx.Commit() },
					Rollback: func(context.Context) error { tx.Rollback(); return nil },
				}, nil
			},
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	eventstoretest.RunGate(t, func(_ *testing.T, g eventstore.Gate) eventstoretest.Target {
		db := memory.New(memory.WithGate(g))
		return eventstoretest.Target{
			Store: db,
			Begin: func(context.Context) (eventstoretest.Tx, error) {
				tx := db.Begin()
				return eventstoretest.Tx{
					Store:    db.Tx(tx),
					Commit:   func(context.Context) error { return tx.Commit() },
					Rollback: func(context.Context) error { tx.Rollback(); return nil },
				}, nil
			},
		}
	})
}

func TestWorkerStore(t *testing.T) {
	t.Parallel()
	workertest.Run(t, func(*testing.T) workertest.Target[*memory.Tx] {
		var passed atomic.Int64
		db := memory.New(memory.WithClock(func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }))
		return workertest.Target[*memory.Tx]{Store: db, Tx: db.Tx, Pass: func(d time.Duration) { passed.Add(int64(d)) }}
	})
}

func TestBroker(t *testing.T) {
	t.Parallel()
	bustest.Run(t, func(*testing.T) bustest.Target {
		b := memory.NewBroker(3)
		return bustest.Target{
			Publisher: b,
			Source:    func(_ string, topics ...string) bus.Source { return b.Source(topics...) },
			Delete:    func(_ context.Context, topic string) error { b.Delete(topic); return nil },
		}
	})
}

func TestContracts(t *testing.T) {
	t.Parallel()
	bustest.RunContracts(t, func(*testing.T) bus.Contracts { return memory.New() })
}

func TestInbox(t *testing.T) {
	t.Parallel()
	bustest.RunInbox(t, func(*testing.T) bustest.InboxTarget[*memory.Tx] {
		var reads atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(reads.Add(1)) * time.Millisecond) }
		return bustest.InboxTarget[*memory.Tx]{Store: memory.New(memory.WithClock(now)), Now: now}
	})
}
