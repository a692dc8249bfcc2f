package worker

import (
	"context"
	"strings"

	"github.com/annals-go/annals/eventstore"
)

// Join returns a store that reads one log, and keeps its checkpoints and read
// models in another store: for a read model in a database of its own. Give it to
// a projection or a relay in place of the store.
//
// The two can be restored, and fail over, independently: a reader whose log was
// set back stops with a *DivergedError, and one whose read model was goes on
// from where that stands now.
func Join[Tx any](log eventstore.Log, models Store[Tx]) Store[Tx] {
	return joined[Tx]{log, models, models}
}

type joined[Tx any] struct {
	eventstore.Log
	keeper
	models Store[Tx]
}

// keeper is what the read models' store does for itself.
type keeper interface {
	Terms
	Parking
}

// Listen implements eventstore.Listener as far as the log does.
func (j joined[Tx]) Listen(ctx context.Context) error {
	if l, ok := j.Log.(eventstore.Listener); ok {
		return l.Listen(ctx)
	}
	<-ctx.Done()
	return nil
}

// elsewhere marks the server of a log in a store that does not hold it: there it
// must not be taken for one of its own.
const elsewhere = "elsewhere "

// Own reports whether the store that keeps the mark is also the log that its
// Server has held.
func (m Mark) Own() bool { return m.Server != "" && !strings.HasPrefix(m.Server, elsewhere) }

func outbound(m Mark) Mark {
	if m.Server != "" {
		m.Server = elsewhere + m.Server
	}
	return m
}

func inbound(m Mark) Mark {
	m.Server = strings.TrimPrefix(m.Server, elsewhere)
	return m
}

func (j joined[Tx]) Checkpoint(ctx context.Context, name string) (Checkpoint, error) {
	c, err := j.models.Checkpoint(ctx, name)
	for part, m := range c {
		c[part] = inbound(m)
	}
	return c, err
}

func (j joined[Tx]) Save(ctx context.Context, name string, term Term, w Write) error {
	return j.models.Save(ctx, name, term, outboundWrite(w))
}

func outboundWrite(w Write) Write {
	marks := make(Checkpoint, len(w.Marks))
	for part, m := range w.Marks {
		marks[part] = outbound(m)
	}
	w.Marks = marks
	return w
}

func (j joined[Tx]) Advance(ctx context.Context, name string, term Term, part string, fn func(ctx context.Context, tx Tx, at Mark) (Write, error)) error {
	return j.models.Advance(ctx, name, term, part, func(ctx context.Context, tx Tx, at Mark) (Write, error) {
		w, err := fn(ctx, tx, inbound(at))
		return outboundWrite(w), err
	})
}
