package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// published is what is known of what a relay has published. What is up to its mark when
// this begins, and neither parked nor discarded then, stays published: nothing is parked
// later but what lies behind the mark, unless a topic is filled anew, which look sees.
type published struct {
	relay   *Relay
	marks   worker.Checkpoint
	upTo    event.Position
	lineage string // of the relay
	server  string // that holds the log

	parked    map[string]event.Position // keys, each with its first event
	discarded map[event.Position]bool
	ids       map[string]string // of the relay's topics, as they are now
}

func (p *published) begin(ctx context.Context, relay *Relay) (err error) {
	p.relay = relay
	if p.marks, err = relay.from.Checkpoint(ctx, relay.name); err != nil {
		return err
	}
	stored := p.marks[logPart]
	resumed, err := worker.Resume(ctx, relay.from, relay.name, stored)
	if err != nil {
		return err
	}
	p.upTo, p.lineage, p.server = stored.Position, stored.Lineage, resumed.Server
	agreed, err := relay.from.Contracts(ctx, relay.name)
	if err != nil {
		return err
	}
	for topic, a := range agreed {
		p.pin(relay, topic, a.Partitions)
	}
	p.parked = map[string]event.Position{}
	q := worker.ParkedQuery{Name: relay.name, Limit: parkedPage}
	for {
		page, err := relay.from.Parked(ctx, q)
		if err != nil {
			return err
		}
		for _, k := range page {
			p.parked[k.Key.Key] = event.Position(k.First)
		}
		if len(page) < parkedPage {
			return p.readDiscarded(ctx)
		}
		q.After = page[len(page)-1].Key
	}
}

// pin has keys stay where the relay has them.
func (p *published) pin(relay *Relay, topic string, partitions int) {
	if to, ok := relay.to.(Pinner); ok && partitions > 0 {
		to.Pin(topic, partitions)
	}
}

// parkedPage is how many parked keys are read at a time: each can take some 14 KiB.
const parkedPage = 200

// readDiscarded reads what was given up: it is not parked any more, and was never
// published. It is read after what is parked, so that nothing is missed in between.
func (p *published) readDiscarded(ctx context.Context) error {
	for limit := 1000; ; limit *= 2 {
		all, err := p.relay.from.Audits(ctx, p.relay.name, time.Time{}, limit)
		if err != nil {
			return err
		}
		p.discarded = map[event.Position]bool{}
		for _, a := range all {
			if a.Action == "discard" {
				p.discarded[event.Position(a.Seq)] = true
			}
		}
		if len(all) < limit {
			return nil
		}
	}
}

// owns reports whether the relay publishes to a topic.
func (p *published) owns(topic string) bool {
	for part := range p.marks {
		if topicOf(part) == topic {
			return true
		}
	}
	return false
}

// look finds out whether the topics are still those that were published to, and the relay
// is in the same history.
func (p *published) look(ctx context.Context, page []mapped) error {
	c, err := p.relay.from.Checkpoint(ctx, p.relay.name)
	if err != nil {
		return err
	}
	if now := c[logPart].Lineage; now != p.lineage {
		return fmt.Errorf("%s was set back meanwhile: begin again", p.relay.name)
	}
	names := map[string]bool{}
	var topics []string
	for _, m := range page {
		if m.topic != "" && !names[m.topic] && p.owns(m.topic) {
			names[m.topic] = true
			topics = append(topics, m.topic)
		}
	}
	p.ids = map[string]string{}
	if len(topics) == 0 {
		return nil
	}
	have, err := p.relay.to.Topics(ctx, topics...)
	for name, t := range have {
		p.ids[name] = t.ID
	}
	return err
}

// isPublished reports whether the relay has published an event.
func (r *replayRun) isPublished(ctx context.Context, e event.Recorded, m mapped) (bool, error) {
	if r.discarded[e.Position] {
		r.done.Discarded++
		return false, nil
	}
	if _, left := r.done.Parked[e.Stream]; left {
		return false, nil
	}
	if first, ok := r.parked[e.Stream.String()]; ok && e.Position >= first {
		still, err := r.isParked(ctx, e)
		if err != nil || still {
			return false, err
		}
		if r.discarded[e.Position] { // since then
			r.done.Discarded++
			return false, nil
		}
	}
	if r.Topic != "" && !r.owns(r.Topic) {
		return true, nil
	}
	mark := r.marks[m.part()]
	if mark.Source != r.ids[m.topic] {
		mark.Position = 0 // it is another topic by now
	}
	if mark.Position < e.Position {
		return false, &UnpublishedError{r.name, m.category, m.topic, mark.Position, e.Position}
	}
	return true, nil
}

// isParked asks again about an event that was parked in the beginning, and leaves its
// stream out if it still is.
func (r *replayRun) isParked(ctx context.Context, e event.Recorded) (bool, error) {
	key := e.Stream.String()
	part := logPart
	page, err := r.from.Parked(ctx, worker.ParkedQuery{Name: r.name, Part: &part, Key: key, Limit: 1})
	if err != nil {
		return false, err
	}
	if len(page) > 0 && event.Position(page[0].First) <= e.Position {
		r.done.Parked[e.Stream], r.parkedBy = e.Position, errors.New(page[0].Error)
		return true, nil
	}
	if len(page) > 0 {
		r.parked[key] = event.Position(page[0].First)
	} else {
		delete(r.parked, key)
	}
	return false, r.readDiscarded(ctx)
}
