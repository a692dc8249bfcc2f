package kafka

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/internal/devenv/broker"
)

// A Commit that waits for a Publish of the same Ledger ends with its context.
func TestCommitWaitsNoLongerThanItsContext(t *testing.T) {
	t.Parallel()
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	l, err := NewLedger("shop", kgo.SeedBrokers(b.Seeds...), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	if _, err := l.Open(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	l.guard.turn <- struct{}{} // as Publish does
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = l.Commit(ctx, nil, []byte("c"))
	if want := "commit to ledger main: wait for a Publish: context canceled"; !errors.Is(err, context.Canceled) || err.Error() != want {
		t.Errorf("Commit = %v, want %s", err, want)
	}
}
