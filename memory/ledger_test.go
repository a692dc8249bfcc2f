package memory_test

import (
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
	"github.com/annals-go/annals/memory"
)

func TestLedger(t *testing.T) {
	t.Parallel()
	bustest.RunLedger(t, func(*testing.T) bustest.LedgerTarget {
		b := memory.NewBroker(3)
		return bustest.LedgerTarget{
			New:    func() bus.Ledger { return b.Ledger() },
			Source: func(_ string, topics ...string) bus.Source { return b.Source(topics...) },
		}
	})
}
