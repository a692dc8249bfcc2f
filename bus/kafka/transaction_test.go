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
	l, err := kafka.NewLedger("shop", append([]kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(50 * 1e6)}, opts...)...)
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
