package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
	"github.com/annals-go/annals/bus/kafka"
)

func ledger(t *testing.T, seeds []string, opts ...kgo.Opt) *kafka.Ledger {
	t.Helper()
	return ledgerOf(t, "shop", seeds, opts...)
}

func ledgerOf(t *testing.T, domain string, seeds []string, opts ...kgo.Opt) *kafka.Ledger {
	t.Helper()
	l, err := kafka.NewLedger(domain, append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(50 * 1e6)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestLedger(t *testing.T) {
	t.Parallel()
	bustest.RunLedger(t, func(t *testing.T) bustest.LedgerTarget {
		seeds, _ := open(t)
		return bustest.LedgerTarget{
			New: func() bus.Ledger { return ledger(t, seeds) },
			Source: func(group string, topics ...string) bus.Source {
				return kafka.NewConsumer(group, topics, kgo.SeedBrokers(seeds...))
			},
		}
	})
}

// Ledgers whose domains and relays make one text when they are put together are two.
func TestLedgersDoNotFenceEachOther(t *testing.T) {
	t.Parallel()
	seeds, _ := openTopic(t, 1)
	ctx := bounded(t)
	one, other := ledgerOf(t, "shop", seeds), ledgerOf(t, "shop.eu", seeds)
	if _, err := one.Open(ctx, "eu.main"); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Open(ctx, "main"); err != nil {
		t.Fatal(err)
	}
	for _, l := range []*kafka.Ledger{one, other} {
		if err := l.Commit(ctx, []bus.Message{{Topic: topic}}, []byte("c")); err != nil {
			t.Error(err)
		}
	}
}
