package bus

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// HeaderLineage names the history that the event is of: eventstore.Lineage as
// text. The relay adds it to every message.
const HeaderLineage = "annals-lineage"

func withLineage(m Message, lineage string) Message {
	m.Headers = append(slices.Clip(m.Headers), Header{HeaderLineage, []byte(lineage)})
	return m
}

// LineageOf returns the text of HeaderLineage, "" if the message has none.
func LineageOf(m Message) string {
	for _, h := range m.Headers {
		if h.Key == HeaderLineage {
			return string(h.Value)
		}
	}
	return ""
}

// resume finds out whether the log is still the one that the relay has read. If
// another server holds it, what was published behind the mark may be lost there:
// the mark was set back together with the log, and the topics were not.
func (r *relayRun) resume(ctx context.Context) error {
	stored := r.marks[logPart]
	resumed, err := worker.Resume(ctx, r.from, r.name, stored)
	if err != nil {
		return err
	}
	r.marks[logPart] = resumed
	if stored.Server == resumed.Server {
		return nil
	}
	ids, err := r.topics(ctx, r.marks)
	if err != nil {
		return err
	}
	return r.compare(ctx, ids)
}

// sent is an event that a topic has.
type sent struct {
	position event.Position
	id       event.ID
}

// compare holds what the topics have behind the mark against the log. Messages
// without the headers of MessageOf, and those of former incarnations, are passed
// over: the latter were dealt with when the present one began.
func (r *relayRun) compare(ctx context.Context, topics map[string]string) error {
	mark := r.marks[logPart]
	if mark.Position == 0 || sabotage.NoLineage {
		return nil
	}
	lineage, err := eventstore.ParseLineage(mark.Lineage)
	if err != nil {
		return worker.Permanent(fmt.Errorf("resume %s: the mark: %w", r.name, err))
	}
	var published []sent
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		err := r.to.Newest(ctx, topic, func(m Message) bool {
			e, err := EventOf(m)
			if err != nil {
				return true
			}
			l, err := eventstore.ParseLineage(LineageOf(m))
			if err != nil || l.Now().Incarnation != lineage.Now().Incarnation {
				return true
			}
			if e.Position > mark.Position {
				published = append(published, sent{e.Position, e.Metadata.ID})
			}
			return e.Position > mark.Position
		})
		if err != nil {
			return fmt.Errorf("resume %s: compare topic %s with the log: %w", r.name, topic, err)
		}
	}
	return r.search(ctx, published)
}

// search looks for the events in the log.
func (r *relayRun) search(ctx context.Context, published []sent) error {
	slices.SortFunc(published, func(a, b sent) int { return cmp.Compare(a.position, b.position) })
	published = slices.Compact(published)
	if len(published) == 0 {
		return nil
	}
	mark := r.marks[logPart]
	q := eventstore.LogQuery{After: mark.Position, Server: mark.Server}
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
