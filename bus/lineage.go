package bus

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// HeaderLineage names the history that the event is of: eventstore.Lineage as
// text. The relay adds it to every message.
const HeaderLineage = "annals-lineage"

// HeaderLate marks a message that the relay had parked: it comes behind newer ones of
// other streams, and consumers cannot tell by its position whether they had it before.
// Its value is "1".
const HeaderLate = "annals-late"

// withLineage adds the headers in the room that the message has for more.
func withLineage(m Message, lineage []byte, late bool) Message {
	m.Headers = append(m.Headers, Header{HeaderLineage, lineage})
	if late {
		m.Headers = append(m.Headers, Header{HeaderLate, one})
	}
	return m
}

// IsLate reports whether a message has HeaderLate.
func IsLate(m Message) bool {
	return slices.ContainsFunc(m.Headers, func(h Header) bool { return h.Key == HeaderLate })
}

// LineageOf returns the text of HeaderLineage, "" if the message has none.
func LineageOf(m Message) string {
	v, _ := m.header(HeaderLineage)
	return string(v)
}

// resume finds out whether the log is still the one that the relay has read. If
// another server holds it, or the server was started again, what was published
// behind the mark may be lost there: the mark was set back together with the log,
// and the topics were not.
//
// The lineage in the mark is the relay's own: the readers of its topics know it,
// and Rewind makes it grow.
func (r *relayRun) resume(ctx context.Context) error {
	stored := r.marks[logPart]
	resumed, err := worker.Resume(ctx, r.from, r.name, stored)
	if err != nil {
		return err
	}
	if stored.Lineage != "" {
		resumed.Lineage = stored.Lineage
	}
	r.marks[logPart] = resumed
	if stored.Server == resumed.Server {
		return nil
	}
	return r.compare(ctx, topicsOf(r.marks), resumed.Position)
}

// sent is an event that a topic has.
type sent struct {
	position event.Position
	id       event.ID
}

// compare holds what the topics have behind a position against the log. Messages
// without the headers of MessageOf are passed over, and so are those of former
// incarnations: Rewind dealt with them when the present one began.
//
// It goes back in a partition until it has seen twice a batch of messages that do
// not lie behind the position. The first such is not the last: of two relays at
// once, or one that was killed, messages of one batch may lie before those of a
// later one that came less far. Those of a replay are repeats, however many.
func (r *relayRun) compare(ctx context.Context, topics []string, after event.Position) error {
	if sabotage.NoLineage {
		return nil
	}
	lineage, err := eventstore.ParseLineage(r.marks[logPart].Lineage)
	if err != nil {
		return worker.Halt(fmt.Errorf("resume %s: the mark: %w", r.name, err))
	}
	var published []sent
	for _, topic := range topics {
		last, passed := int32(-1), 0
		err := r.to.Newest(ctx, topic, func(partition int32, m Message) bool {
			if partition != last {
				last, passed = partition, 0
			}
			if ReplayOf(m) != "" {
				return true // it may hide what the relay has published before it
			}
			if e, ok := eventIn(m, lineage); ok && e.position > after {
				published, passed = append(published, e), 0
				return true
			}
			passed++
			return passed < 2*r.worker.Batch
		})
		if err != nil {
			return fmt.Errorf("resume %s: compare topic %s with the log: %w", r.name, topic, err)
		}
	}
	return r.search(ctx, published, after)
}

// eventIn returns the event of a message of the present incarnation.
func eventIn(m Message, lineage eventstore.Lineage) (sent, bool) {
	e, err := EventOf(m)
	if err != nil {
		return sent{}, false
	}
	l, err := eventstore.ParseLineage(LineageOf(m))
	return sent{e.Position, e.Metadata.ID}, err == nil && l.Now().Incarnation == lineage.Now().Incarnation
}

// search looks for the events in the log.
func (r *relayRun) search(ctx context.Context, published []sent, after event.Position) error {
	slices.SortFunc(published, func(a, b sent) int {
		return cmp.Or(cmp.Compare(a.position, b.position), bytes.Compare(a.id[:], b.id[:]))
	})
	published = slices.Compact(published)
	if len(published) == 0 {
		return nil
	}
	q := eventstore.LogQuery{After: after, Server: r.marks[logPart].Server}
	last := published[len(published)-1].position
	for len(published) > 0 {
		page, err := r.from.ReadLog(ctx, q)
		if err != nil {
			return fmt.Errorf("resume %s: compare topics with the log: %w", r.name, err)
		}
		for _, e := range page.Events {
			if len(published) > 0 && published[0] == (sent{e.Position, e.Metadata.ID}) {
				published = published[1:]
			}
		}
		if len(published) > 0 && (page.Next >= published[0].position || page.Next == q.After) {
			return worker.Permanent(&worker.DivergedError{Name: r.name, From: published[0].position, To: last})
		}
		q.After = page.Next
	}
	return nil
}
