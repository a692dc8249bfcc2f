package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

var _ bus.Ledger = (*Ledger)(nil)

// book is what a broker keeps of the ledger of one relay.
type book struct {
	epoch  int // how often it was opened
	cursor []byte
}

// Ledger implements bus.Ledger with a Broker. Each stands for a process of its own. It is
// safe for concurrent use.
type Ledger struct {
	*Broker

	mu    sync.Mutex
	relay string
	epoch int // 0: it is not open
}

// Ledger returns a ledger that is not open.
func (b *Broker) Ledger() *Ledger { return &Ledger{Broker: b} }

// Open implements bus.Ledger.
func (l *Ledger) Open(ctx context.Context, relay string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", relay, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Broker.mu.Lock()
	defer l.Broker.mu.Unlock()
	b := l.books[relay]
	b.epoch++
	l.books[relay] = b
	l.relay, l.epoch = relay, b.epoch
	return slices.Clone(b.cursor), nil
}

// Commit implements bus.Ledger. A topic that does not exist is an error, and then nothing
// was published.
func (l *Ledger) Commit(ctx context.Context, messages []bus.Message, cursor []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.commit(ctx, messages, cursor); err != nil {
		return fmt.Errorf("commit to ledger %s: %w", l.relay, err)
	}
	return nil
}

func (l *Ledger) commit(ctx context.Context, messages []bus.Message, cursor []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l.Broker.mu.Lock()
	defer l.Broker.mu.Unlock()
	b := l.books[l.relay]
	switch {
	case l.epoch == 0:
		return bus.ErrNotOpen
	case l.epoch != b.epoch:
		l.epoch = 0
		return fmt.Errorf("it was opened by another one: %w", worker.ErrFenced)
	}
	for _, m := range messages {
		if l.topics[m.Topic] == nil {
			l.epoch = 0
			return fmt.Errorf("publish to %s: no such topic", m.Topic)
		}
	}
	b.cursor = slices.Clone(cursor)
	l.books[l.relay] = b
	return l.publishLocked(messages)
}
