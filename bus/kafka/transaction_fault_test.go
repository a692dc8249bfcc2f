package kafka_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

const endTxn = 26 // the key of the request

// dropper is a dialer whose connections lose the answer to a request to end a
// transaction, after the broker has done it.
type dropper struct{ left atomic.Int32 }

func (d *dropper) dial(ctx context.Context, network, host string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, host)
	return &dropping{Conn: c, d: d}, err
}

type dropping struct {
	net.Conn
	d    *dropper
	drop atomic.Bool
}

func (c *dropping) Write(b []byte) (int, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == endTxn && c.d.left.Add(-1) >= 0 {
		c.drop.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *dropping) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.drop.Load() {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

func filled(t *testing.T, n int) *memory.DB {
	t.Helper()
	db := memory.New()
	for i := range n {
		raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: fmt.Sprint("o-", i%7)}, eventstore.Any(), raw); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func relayTo(db *memory.DB, to bus.Publisher) *bus.Relay {
	return bus.NewRelay(db, to, bus.WithDomain("shop"), bus.WithBatch(10), bus.WithLogger(slog.New(slog.DiscardHandler)),
		bus.WithRetry(worker.Retry{Base: time.Millisecond, Cap: 10 * time.Millisecond, Attempts: 5}), bus.WithOtherTopics(bus.Contract{Partitions: 3}))
}

// wantOnce wants the events 1 to n in the topic once, as a foreign reader of what is
// committed sees it, and each stream in order.
func wantOnce(t *testing.T, seeds []string, n int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// The last event of all tells that the reader has come to the end of each partition.
	ctx := bounded(t)
	end, err := kafka.NewLedger("last", kgo.SeedBrokers(seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := end.Open(ctx, "last"); err != nil {
		t.Fatal(err)
	}
	var lasts []bus.Message
	for i := range 100 {
		lasts = append(lasts, bus.Message{Topic: topic, Key: fmt.Append(nil, "last-", i)})
	}
	if err := end.Commit(ctx, lasts, nil); err != nil {
		t.Fatal(err)
	}
	seen, last := map[event.Position]int{}, map[event.Stream]event.Version{}
	for left := len(lasts); left > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			if strings.HasPrefix(string(r.Key), "last-") {
				left--
				continue
			}
			m := bus.Message{Topic: r.Topic, Key: r.Key, Value: r.Value}
			for _, h := range r.Headers {
				m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: h.Value})
			}
			e, err := bus.EventOf(m)
			if err != nil {
				t.Fatal(err)
			}
			if seen[e.Position]++; seen[e.Position] > 1 || e.Version != last[e.Stream]+1 {
				t.Errorf("%s comes for the %d. time, after version %d", e, seen[e.Position], last[e.Stream])
			}
			last[e.Stream] = e.Version
		}
	}
	if len(seen) != n {
		t.Errorf("%d events are published, want %d", len(seen), n)
	}
}

// F-56: whatever the broker answers to the end of a transaction, and whether it has done
// it or not, each event is published once.
func TestLedgerWhateverTheEndIsAnswered(t *testing.T) {
	t.Parallel()
	const n = 50
	for name, code := range map[string]int16{
		"unknown server error":    kerr.UnknownServerError.Code,
		"concurrent transactions": kerr.ConcurrentTransactions.Code,
		"invalid producer epoch":  kerr.InvalidProducerEpoch.Code,
		"producer fenced":         kerr.ProducerFenced.Code,
		"coordinator loading":     kerr.CoordinatorLoadInProgress.Code,
		"cut before":              -100,
		"cut after":               -200,
	} {
		for _, at := range []int32{1, 3} {
			t.Run(fmt.Sprint(name, " ", at), func(t *testing.T) {
				t.Parallel()
				c := cluster(t)
				seeds := c.ListenAddrs()
				var count atomic.Int32
				d := &dropper{}
				c.ControlKey(endTxn, func(req kmsg.Request) (kmsg.Response, error, bool) {
					c.KeepControl()
					switch {
					case count.Add(1) != at:
						return nil, nil, false
					case code == -100:
						return nil, errors.New("cut"), true
					case code == -200:
						return nil, nil, false
					}
					resp := req.ResponseKind().(*kmsg.EndTxnResponse)
					resp.ErrorCode = code
					return resp, nil, true
				})
				if code == -200 {
					d.left.Store(1)
				}
				l := ledger(t, seeds, kgo.Dialer(d.dial))
				db := filled(t, n)
				relay := relayTo(db, l)
				if err := relay.Drain(bounded(t)); err != nil {
					t.Fatal(err)
				}
				if count.Load() <= at {
					t.Errorf("%d transactions were ended", count.Load())
				}
				wantOnce(t, seeds, n)
			})
		}
	}
}

// F-56: the connection is lost after the broker has ended a transaction, again and again.
func TestLedgerLosesTheAnswerToTheEnd(t *testing.T) {
	t.Parallel()
	const n = 50
	seeds := brokers(t)
	d := &dropper{}
	l := ledger(t, seeds, kgo.Dialer(d.dial))
	db := filled(t, n)
	d.left.Store(3)
	if err := relayTo(db, l).Drain(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if d.left.Load() >= 0 {
		t.Errorf("%d answers were not lost", d.left.Load())
	}
	wantOnce(t, seeds, n)
}

// F-57: a relay is killed in a transaction. Whoever opens the ledger next ends it, and
// readers go on at once.
func TestLedgerEndsWhatWasLeftOpen(t *testing.T) {
	t.Parallel()
	const n = 30
	seeds := brokers(t)
	db := filled(t, n)
	killed, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.TransactionalID("shop.cursor.main"), kgo.TransactionTimeout(10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(killed.Close)
	l := ledger(t, seeds)
	if err := l.Create(bounded(t), bus.Contract{Topic: topic, Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	if err := killed.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		killed.Produce(bounded(t), &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: []byte("never committed")}, nil)
	}
	if err := killed.Flush(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := relayTo(db, l).Drain(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := killed.EndTransaction(bounded(t), kgo.TryCommit); err == nil {
		t.Error("the one that was killed has committed")
	}
	wantOnce(t, seeds, n)
}

// A refused record is found and parked, and the others are published once.
func TestLedgerParksWhatIsRefused(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	l := ledger(t, seeds)
	if err := l.Create(bounded(t), bus.Contract{Topic: topic, Partitions: 3, MaxBytes: 20_000}); err != nil {
		t.Fatal(err)
	}
	db := filled(t, 15)
	large := make([]byte, 30_000) // random, so that it stays too large when compressed
	_, _ = rand.Read(large)
	raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: large}
	if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: "large"}, eventstore.Any(), raw); err != nil {
		t.Fatal(err)
	}
	relay := relayTo(db, l)
	err := relay.Drain(bounded(t))
	if !errors.Is(err, worker.ErrParked) || !strings.Contains(err.Error(), `commit to ledger main: message with key "large" for topic shop.order has `) {
		t.Errorf("Drain = %v, want the key parked", err)
	}
	wantOnce(t, seeds, 15)
}

// A transaction that takes too long is no sign of another relay: fewer events may help.
func TestLedgerTakesTooLong(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	seeds := c.ListenAddrs()
	l := ledger(t, seeds, kgo.TransactionTimeout(300*time.Millisecond))
	if _, err := l.Open(bounded(t), "main"); err != nil {
		t.Fatal(err)
	}
	create(t, l.Publisher, bus.Contract{Topic: topic, Partitions: 1})
	refuseAll(c)
	err := l.Commit(bounded(t), []bus.Message{{Topic: topic}}, []byte("c"))
	if want := "commit to ledger main: it took longer than 300ms (kgo.TransactionTimeout): "; err == nil || !strings.HasPrefix(err.Error(), want) || errors.Is(err, worker.ErrFenced) || worker.IsPermanent(err) {
		t.Errorf("Commit = %v, want %s", err, want)
	}
}

func TestLedgerErrors(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	if _, err := kafka.NewLedger("my shop"); err == nil || err.Error() != `make a ledger: domain "my shop": want 1 to 100 letters, digits, dots, dashes and underscores` {
		t.Errorf("NewLedger = %v", err)
	}
	for _, domain := range []string{"shop.cursor", "shop.cursor.eu"} {
		want := fmt.Sprintf("make a ledger: domain %q: want no part \"cursor\" behind the first: its topics could be those of another domain", domain)
		if _, err := kafka.NewLedger(domain); err == nil || err.Error() != want {
			t.Errorf("NewLedger = %v, want %s", err, want)
		}
	}
	if _, err := kafka.NewLedger("shop", kgo.ProducerBatchMaxBytes(0)); err == nil || !strings.HasPrefix(err.Error(), "make a ledger: ") {
		t.Errorf("NewLedger = %v", err)
	}
	l := ledger(t, seeds)
	if _, err := l.Open(bounded(t), "a/b"); !worker.IsPermanent(err) || err.Error() != `open ledger a/b: relay "a/b": want 1 to 100 letters, digits, dots, dashes and underscores` {
		t.Errorf("Open = %v", err)
	}
	create(t, l.Publisher, bus.Contract{Topic: "shop.cursor.two", Partitions: 2})
	if _, err := l.Open(bounded(t), "two"); !worker.IsPermanent(err) || err.Error() != "open ledger two: topic shop.cursor.two has 2 partitions, want 1: its records are not in one order" {
		t.Errorf("Open = %v", err)
	}
	if _, err := l.Open(bounded(t), "main"); err != nil {
		t.Fatal(err)
	}
	create(t, l.Publisher, bus.Contract{Topic: topic, Partitions: 1})
	err := l.Commit(bounded(t), []bus.Message{{Topic: topic}, {Topic: topic, Key: []byte("o-1"), Value: make([]byte, 1_000_012)}}, []byte("c"))
	var refused *bus.PublishError
	want := `commit to ledger main: message with key "o-1" for topic shop.order has 1000121 bytes, at most 1000012 (kgo.ProducerBatchMaxBytes, max.message.bytes)`
	if !errors.As(err, &refused) || refused.Index != 1 || len(refused.Acked) != 2 || !worker.IsPermanent(err) || err.Error() != want {
		t.Errorf("Commit = %v, want %s", err, want)
	}
	err = l.Commit(bounded(t), nil, make([]byte, 2_000_000))
	if !errors.As(err, &refused) || refused.Index != -1 || !worker.IsPermanent(err) {
		t.Errorf("Commit = %v, want the error of no message", err)
	}
	if err := l.Commit(bounded(t), []bus.Message{{Topic: topic}}, []byte("c")); err != nil {
		t.Errorf("Commit after a permanent error = %v", err)
	}
}
