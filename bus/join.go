package bus

import (
	"context"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// Join returns an Outbox that reads one log, and keeps what the relay remembers in another
// store: see worker.Join.
func Join[Tx any](log eventstore.Log, keeper interface {
	worker.Store[Tx]
	Contracts
},
) Outbox {
	return joined[Tx]{worker.Join(log, worker.Store[Tx](keeper)), keeper}
}

type joined[Tx any] struct {
	worker.Store[Tx]
	agreements
}

// agreements has a name that its method has not.
type agreements interface{ Contracts }

// Listen implements eventstore.Listener as far as the log does.
func (j joined[Tx]) Listen(ctx context.Context) error {
	return j.Store.(eventstore.Listener).Listen(ctx) // what worker.Join returns is one
}
