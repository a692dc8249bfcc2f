package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/worker"
)

var _ bus.Ledger = (*Ledger)(nil)

// DefaultTransactionTimeout is how long a transaction of a Ledger may take, unless
// kgo.TransactionTimeout says otherwise. Readers of what is committed wait that long at
// most for one that was left behind, and for less if another one opens the ledger.
const DefaultTransactionTimeout = 15 * time.Second

// abortTimeout bounds what is done for others after a failure.
const abortTimeout = 5 * time.Second

// Ledger is a bus.Ledger: a relay that is given one publishes each batch in a transaction,
// together with its cursor. It is safe for concurrent use, for one relay.
//
// The cursor is the last record of the topic {domain}.cursor.{relay}, which Open makes if
// it is not there: compacted, with one partition. The transactional id is
// named as the topic is. An account needs the rights to write and to describe both.
type Ledger struct {
	*Publisher
	domain  string
	opts    []kgo.Opt
	timeout time.Duration

	mu    sync.Mutex
	relay string
	tx    *kgo.Client // nil: it is not open
}

// NewLedger returns a Ledger that is not open. It does no I/O. The domain tells the
// relays of this store from those of others that use the same brokers: that of
// bus.WithDomain does. The options are those of its clients; kgo.TransactionalID,
// kgo.ManualFlushing and kgo.FetchIsolationLevel are its own.
func NewLedger(domain string, opts ...kgo.Opt) (*Ledger, error) {
	if err := checkName("domain", domain); err != nil {
		return nil, fmt.Errorf("make a ledger: %w", err)
	}
	if strings.Contains(domain+".", cursorOf) {
		return nil, fmt.Errorf("make a ledger: domain %q: want no part \"cursor\" behind the first: its topics could be those of another domain", domain)
	}
	opts = append([]kgo.Opt{kgo.TransactionTimeout(DefaultTransactionTimeout)}, opts...)
	client, err := NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("make a ledger: %w", err)
	}
	timeout, _ := client.OptValue(kgo.TransactionTimeout).(time.Duration)
	return &Ledger{Publisher: NewPublisher(client), domain: domain, opts: opts, timeout: timeout}, nil
}

// Close closes the clients. A transaction that is under way is left to its timeout.
func (l *Ledger) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave()
	l.client.Close()
}

func (l *Ledger) leave() {
	if l.tx != nil {
		l.tx.Close()
		l.tx = nil
	}
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)

func checkName(what, name string) error {
	if !topicName.MatchString(name) {
		return fmt.Errorf("%s %q: want 1 to 100 letters, digits, dots, dashes and underscores", what, name)
	}
	return nil
}

const cursorOf = ".cursor."

// cursorTopic is another one for each domain and relay: the first cursorOf in it is what
// parts them, as no domain has one.
func (l *Ledger) cursorTopic(relay string) string { return l.domain + cursorOf + relay }

// Open implements bus.Ledger. It takes a new epoch of the transactional id (KIP-98), which
// aborts a transaction that is open and fences its producer, and waits until one that
// is being committed is; then it reads the cursor.
func (l *Ledger) Open(ctx context.Context, relay string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave()
	ctx, done := l.guard.reach.watch(ctx)
	defer done()
	cursor, err := l.open(ctx, relay)
	if err != nil {
		l.leave()
		return nil, withRights(fmt.Errorf("open ledger %s: %w", relay, err))
	}
	return cursor, nil
}

func (l *Ledger) open(ctx context.Context, relay string) ([]byte, error) {
	if err := checkName("relay", relay); err != nil {
		return nil, worker.Permanent(err)
	}
	topic := l.cursorTopic(relay)
	if err := l.cursorReady(ctx, topic); err != nil {
		return nil, err
	}
	var err error
	if l.tx, err = kgo.NewClient(append(l.opts, kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.WithHooks(l.guard.reach))...); err != nil {
		return nil, err
	}
	if _, _, err = l.tx.ProducerID(ctx); err != nil {
		return nil, fmt.Errorf("begin an epoch of %s: %w", topic, explain(ctx, err))
	}
	l.relay = relay
	return l.last(ctx, topic)
}

// cursorReady makes the topic of cursors if there is none.
func (l *Ledger) cursorReady(ctx context.Context, topic string) error {
	have, err := l.Topics(ctx, topic)
	if err != nil {
		return err
	}
	t, ok := have[topic]
	if !ok {
		return l.Create(ctx, bus.Contract{Topic: topic, Partitions: 1, Config: map[string]string{"cleanup.policy": "compact"}})
	}
	if t.Partitions != 1 {
		return worker.Permanent(fmt.Errorf("topic %s has %d partitions, want 1: its records are not in one order", topic, t.Partitions))
	}
	return nil
}

// Commit implements bus.Ledger. A message, or a cursor, that no broker would take is a
// permanent error, and so is one that the broker refuses because of what it is; a
// *bus.PublishError says which message, if that is known.
//
// Order needs no rounds here, as it does in Publish: after a failure of any record
// nothing is committed.
func (l *Ledger) Commit(ctx context.Context, messages []bus.Message, cursor []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tx == nil {
		return fmt.Errorf("commit to a ledger: %w", bus.ErrNotOpen)
	}
	ctx, done := l.guard.reach.watch(ctx)
	defer done()
	if err := l.commit(ctx, messages, cursor); err != nil {
		if !worker.IsPermanent(err) {
			l.leave()
		}
		return withRights(fmt.Errorf("commit to ledger %s: %w", l.relay, err))
	}
	return nil
}

func (l *Ledger) commit(ctx context.Context, messages []bus.Message, cursor []byte) error {
	all := make([]bus.Message, 0, len(messages)+1)
	all = append(append(all, messages...), bus.Message{Topic: l.cursorTopic(l.relay), Key: []byte(l.relay), Value: cursor})
	b := newBatch(len(all))
	select {
	case l.guard.turn <- struct{}{}: // for as long as the messages are addressed
	case <-ctx.Done():
		return fmt.Errorf("wait for a Publish: %w", ctx.Err())
	}
	i, err := l.address(ctx, b, all)
	<-l.guard.turn
	if err != nil {
		if worker.IsPermanent(err) {
			return refusal(len(messages), i, err)
		}
		return err
	}
	records := make([]*kgo.Record, len(all))
	for i := range b.all {
		records[i] = &b.all[i].record
		records[i].Partition = b.all[i].partition
	}
	began := time.Now()
	if err := l.tx.BeginTransaction(); err != nil {
		return l.explain(began, err)
	}
	if err := l.produce(ctx, records); err != nil {
		if aborted := l.abort(ctx); aborted != nil {
			return worker.Systemic(fmt.Errorf("%w (abort: %w)", l.explain(began, err), aborted))
		}
		return l.explain(began, err)
	}
	crash.At("bus.kafka.sent")
	if err := l.tx.EndTransaction(ctx, kgo.TryCommit); err != nil {
		_ = l.abort(ctx) // if it is open still; readers would wait for it
		return l.explain(began, fmt.Errorf("end the transaction: %w", explain(ctx, err)))
	}
	return nil
}

// refusal is a permanent error of one of n messages, or of none of them if i is none.
func refusal(n, i int, err error) error {
	if i < 0 || i >= n {
		i = -1
	}
	return &bus.PublishError{Acked: make([]bool, n), Index: i, Err: worker.Permanent(err)}
}

// produce sends the records, and returns when the broker has acknowledged or failed all.
func (l *Ledger) produce(ctx context.Context, records []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	var (
		mu   sync.Mutex
		errs = make([]error, len(records))
	)
	for i, r := range records {
		l.tx.Produce(ctx, r, func(_ *kgo.Record, err error) {
			mu.Lock()
			defer mu.Unlock()
			errs[i] = err
		})
	}
	why := l.wonder(ctx, func() []string { return topicsOf(records, func(r *kgo.Record) string { return r.Topic }) })
	err := l.tx.Flush(ctx)
	if known := why(); err != nil {
		return unanswered(ctx, "acknowledgement", known, err)
	}
	mu.Lock()
	defer mu.Unlock()
	return firstOf(errs, records)
}

// firstOf returns the first failure. Those of one record batch fail alike, so that a
// refused message is known if it is the only one.
func firstOf(errs []error, records []*kgo.Record) error {
	first, failed, refusals := -1, 0, 0
	for i, err := range errs {
		if err == nil {
			continue
		}
		if first < 0 {
			first = i
		}
		if failed++; refused(err) {
			refusals++
		}
	}
	if first < 0 {
		return nil
	}
	err := fmt.Errorf("topic %s: %w", records[first].Topic, errs[first])
	switch {
	case refusals < failed:
		return err
	case failed > 1:
		first = -1
	}
	return refusal(len(records)-1, first, err)
}

// abort has the broker forget the transaction now, and not after its timeout.
func (l *Ledger) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if err := l.tx.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return l.tx.EndTransaction(ctx, kgo.TryAbort)
}

// explain says what the error of a producer means. Its epoch ends when another one
// begins, and when its transaction takes too long.
func (l *Ledger) explain(began time.Time, err error) error {
	switch {
	case time.Since(began) >= l.timeout:
		return fmt.Errorf("it took longer than %v (kgo.TransactionTimeout): %w", l.timeout, err)
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return fmt.Errorf("another one has opened it: %w: %w", worker.ErrFenced, err)
	}
	return err
}
