package kafka_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
)

// took measures how long a broker takes to answer requests, by name.
type took struct {
	mu  sync.Mutex
	all map[string][]time.Duration
}

func (l *took) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := kmsg.NameForKey(key)
	l.all[name] = append(l.all[name], e.DurationE2E())
}

// F-56: transactions without a pause between them. A broker that has answered to the end of one is still writing its
// markers, and may answer CONCURRENT_TRANSACTIONS to the beginning of the next: no Commit fails for it.
func TestApacheTransactionsWithoutAPause(t *testing.T) {
	t.Parallel()
	seeds := brokers(t)
	l, log := &took{all: map[string][]time.Duration{}}, &lines{}
	ledger := ledger(t, seeds, kgo.WithHooks(l), kgo.WithLogger(kgo.BasicLogger(log, kgo.LogLevelDebug, nil)))
	const n = 100
	if err := ledger.Create(bounded(t), bus.Contract{Topic: topic, Partitions: 12}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(bounded(t), "main"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range n {
		var ms []bus.Message
		for j := range 100 {
			ms = append(ms, bus.Message{Topic: topic, Key: fmt.Append(nil, j), Value: fmt.Append(nil, i)})
		}
		if err := ledger.Commit(bounded(t), ms, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	whole := time.Since(began)
	if cursor, err := ledger.Open(bounded(t), "main"); err != nil || string(cursor) != fmt.Sprint(n-1) {
		t.Errorf("the cursor is %q, %v, want %d", cursor, err, n-1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, name := range []string{"AddPartitionsToTxn", "Produce", "EndTxn", "InitProducerID"} {
		d := l.all[name]
		if slices.Sort(d); len(d) > 0 {
			t.Logf("%s: %d requests, median %v, longest %v", name, len(d), d[len(d)/2], d[len(d)-1])
		}
	}
	t.Logf("%d transactions to 13 partitions in %v; CONCURRENT_TRANSACTIONS was logged %d times", n, whole, log.count("CONCURRENT_TRANSACTIONS"))
}
