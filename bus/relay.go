package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// Outbox is what a relay reads: the log, and a place for its checkpoint, what it parks,
// and what it has agreed on with the broker. See Join.
type Outbox interface {
	eventstore.Log
	worker.Keeper
	Contracts
}

// Relay publishes the log, event by event, in its order. It is safe for
// concurrent use: of several at once, in any process, one publishes and the others
// stand by. One that does not know yet that its term is over may publish events that
// its successor publishes too, with the same ids, and moves no checkpoint. If its
// Publisher is a Ledger, it publishes each event once.
type Relay struct {
	from Outbox
	to   Publisher
	relayOptions
}

// NewRelay returns a relay. It does no I/O. It panics if an option is out of
// its bounds, and names it.
func NewRelay(from Outbox, to Publisher, opts ...RelayOption) *Relay {
	o, err := newOptions(opts)
	if err != nil {
		panic("bus: " + err.Error())
	}
	// The kind is part of the name, so that a relay and a projection of one name
	// do not share a checkpoint.
	o.name = relayKind + o.name
	return &Relay{from, to, o}
}

const relayKind = "relay/"

// Run publishes until ctx ends, and returns nil then, after the batch in
// flight. While the broker fails it waits. An event that cannot be mapped, or that the
// broker refuses for good, is parked with all later ones of its stream, and the others
// go on. Run returns an error only if a person has to decide, such as one that matches
// worker.ErrDiverged, worker.ErrAltered, ErrTopicChanged or ErrMixedTopic.
func (r *Relay) Run(ctx context.Context) error { return r.reader().Run(ctx) }

// Drain publishes up to where the head of the log is when it is called, and
// returns. The error matches worker.ErrParked if some events are parked; that of a
// broker is returned after the attempts of WithRetry.
func (r *Relay) Drain(ctx context.Context) error {
	head, err := r.from.Head(ctx)
	if err != nil {
		return fmt.Errorf("drain %s: %w", r.name, err)
	}
	return r.reader().RunTo(ctx, head)
}

// Name returns the name of the checkpoint: "relay/" and the name of WithName.
func (r *Relay) Name() string { return r.name }

// reader is what the relay runs on.
func (r *Relay) reader() worker.Reader {
	run := &relayRun{Relay: r}
	run.ledger, _ = r.to.(Ledger)
	w := r.worker
	w.FirstBatch = firstBatch
	w.Name, w.Store, w.Log, w.Begin, w.Apply = r.name, r.from, r.from, run.begin, run.publish
	return w
}

// relayRun is one Run. The checkpoint has a part for the log as a whole, "",
// and one for each pair of category and topic, so that a pair that is new or
// whose topic is to be filled again is filled by itself. A category of which events
// were held back has a pair without a topic. With a ledger there is ledgerPart, too.
type relayRun struct {
	*Relay
	books
	marks  worker.Checkpoint
	agreed map[string]Agreed // by topic, since begin
	acked  acked
}

const logPart = ""

func part(category, topic string) string { return category + "/" + topic }

func topicOf(part string) string {
	_, topic, _ := strings.Cut(part, "/")
	return topic
}

// begin returns the mark of the log, and the lowest position that some topic still
// needs.
func (r *relayRun) begin(ctx context.Context, _ string, c worker.Checkpoint) (worker.Mark, event.Position, error) {
	r.marks, r.agreed, r.acked = c, map[string]Agreed{}, acked{}
	behind, err := r.open(ctx)
	if err != nil {
		return worker.Mark{}, 0, err
	}
	if err := r.resume(ctx); err != nil {
		return worker.Mark{}, 0, err
	}
	if err := r.settle(ctx, behind); err != nil {
		return worker.Mark{}, 0, err
	}
	if err := r.agree(ctx, topicsOf(r.marks)); err != nil {
		return worker.Mark{}, 0, err
	}
	lowest := r.marks[logPart].Position
	for p, m := range r.marks {
		if topicOf(p) == "" {
			continue
		}
		if id := r.agreed[topicOf(p)].ID; m.Source != id {
			r.worker.Logger.WarnContext(ctx, "topic is a new one, filling it from the log", "relay", r.name, "topic", topicOf(p), "topic_id", id, "previous_id", m.Source)
			m.Source, m.Position = id, 0
			r.marks[p] = m
		}
		lowest = min(lowest, m.Position)
	}
	return r.marks[logPart], lowest, nil
}

// topicsOf returns the topics of the pairs in a checkpoint, sorted.
func topicsOf(marks worker.Checkpoint) []string {
	topics := map[string]bool{}
	for p := range marks {
		topics[topicOf(p)] = true
	}
	delete(topics, "")
	return slices.Sorted(maps.Keys(topics))
}

// contract returns that of a topic.
func (r *Relay) contract(topic string) Contract {
	c, ok := r.contracts[topic]
	if !ok {
		c = r.otherTopics
	}
	c.Topic = topic
	return c
}

// ErrMixedTopic says that a changed mapping would fill a topic from the beginning
// of the log which already has later events of another category: consumers
// would take the older ones for repeats. Map the category to a topic of its own.
var ErrMixedTopic = errors.New("topic has later events of another category")

// errNewTopic makes the loop start again, from the beginning of the log.
var errNewTopic = fmt.Errorf("a new topic is filled from the log: %w", worker.ErrFenced)

func (r *relayRun) publish(ctx context.Context, b worker.Batch) error {
	if !r.settled {
		return errUnsettled
	}
	mapped, err := r.mapAll(b.Events)
	if err != nil {
		return err
	}
	if err := r.meet(ctx, b.Term, mapped); err != nil {
		return worker.Systemic(err)
	}
	messages, index := r.unsent(b, mapped)
	w := r.write(b)
	if sabotage.SaveFirst {
		if err := r.save(ctx, b, w); err != nil {
			return err
		}
	}
	if len(messages) > 0 {
		if err := r.send(ctx, b.Term, messages, w); err != nil && (!sabotage.SkipRefused || !worker.IsPermanent(err)) {
			return r.refused(b, messages, index, err)
		}
	}
	crash.At("bus.relay.published")
	if sabotage.SaveFirst {
		return nil
	}
	if err := r.save(ctx, b, w); err != nil {
		return err
	}
	crash.At("bus.relay.saved")
	return nil
}

// unsent returns the messages of a batch that are to be published, and where their events
// are in it.
func (r *relayRun) unsent(b worker.Batch, page []mapped) ([]Message, []int) {
	messages, index := make([]Message, 0, len(page)), make([]int, 0, len(page))
	lineage := []byte(r.marks[logPart].Lineage)
	var sent event.Position // of the category to the topic
	for i := range page {
		m := &page[i]
		if i == 0 || !m.pairs(&page[i-1]) {
			sent = r.marks[m.part()].Position
		}
		if m.topic == "" {
			continue
		}
		if e := b.Events[i]; (b.Drain || e.Position > sent) && !r.acked[e.Position] {
			messages, index = append(messages, withLineage(m.message, lineage, b.Drain)), append(index, i)
		}
	}
	return messages, index
}

// save makes the write that belongs to a batch.
func (r *relayRun) save(ctx context.Context, b worker.Batch, w worker.Write) error {
	if err := r.from.Save(ctx, r.name, b.Term, w); err != nil {
		return worker.Systemic(err)
	}
	r.moved(w.Marks)
	r.acked.saved(b.Events)
	r.settled = true
	return nil
}

// mapped is what becomes of an event. Its topic is empty if it is held back.
type mapped struct {
	category, topic string
	message         Message
}

func (m *mapped) part() string { return part(m.category, m.topic) }

// pairs reports whether both are of the same category and topic.
func (m *mapped) pairs(other *mapped) bool {
	return m.category == other.category && m.topic == other.topic
}

func (r *relayRun) mapAll(events []event.Recorded) ([]mapped, error) {
	out := make([]mapped, len(events))
	for i, e := range events {
		m, ok, err := r.mapper(e)
		if err != nil {
			return nil, ofTheEvent(&worker.EventError{Index: i, Err: fmt.Errorf("map %s: %w", e, err)})
		}
		out[i].category = e.Stream.Category
		if ok {
			out[i].topic, out[i].message = m.Topic, m
		}
	}
	return out, nil
}

// meet gives a mark to each pair of category and topic that the page shows for
// the first time. If the relay has seen the category before, its mapping has
// changed, and the topic lacks what went elsewhere.
func (r *relayRun) meet(ctx context.Context, term worker.Term, page []mapped) error {
	fresh := r.fresh(page)
	if len(fresh) == 0 {
		return nil
	}
	if err := r.agree(ctx, topicsOf(fresh)); err != nil {
		return err
	}
	if err := r.compare(ctx, r.strange(fresh), 0); err != nil {
		return err
	}
	again := false
	for p := range fresh {
		if category, topic, _ := strings.Cut(p, "/"); topic != "" && r.knows(category) {
			if r.fills(topic) {
				return worker.Halt(fmt.Errorf("publish category %s to topic %s: %w", category, topic, ErrMixedTopic))
			}
			again = true
		}
		fresh[p] = worker.Mark{Source: r.agreed[topicOf(p)].ID}
	}
	if again {
		if err := r.from.Save(ctx, r.name, term, worker.Write{Marks: fresh}); err != nil {
			return err
		}
		return errNewTopic
	}
	for p, m := range fresh {
		r.marks[p] = m
	}
	return nil
}

// fresh returns the pairs that the page shows for the first time.
func (r *relayRun) fresh(page []mapped) worker.Checkpoint {
	fresh := worker.Checkpoint{}
	for i := range page {
		m := &page[i]
		if i > 0 && m.pairs(&page[i-1]) {
			continue
		}
		if _, known := r.marks[m.part()]; !known {
			fresh[m.part()] = worker.Mark{}
		}
	}
	return fresh
}

// strange returns the topics of fresh pairs that are new to the relay. They may have
// messages already, and are compared with the log, all of it.
func (r *relayRun) strange(fresh worker.Checkpoint) []string {
	known := topicsOf(r.marks)
	return slices.DeleteFunc(topicsOf(fresh), func(topic string) bool { return slices.Contains(known, topic) })
}

// fills reports whether the topic has events of some category already.
func (r *relayRun) fills(topic string) bool {
	for p, m := range r.marks {
		if topicOf(p) == topic && m.Position > 0 {
			return true
		}
	}
	return false
}

func (r *relayRun) knows(category string) bool {
	for p := range r.marks {
		if c, _, _ := strings.Cut(p, "/"); c == category {
			return true
		}
	}
	return false
}

// write moves every mark to the end of the batch: what a topic was not sent of it
// was not meant for it, or is parked. What was parked lies before the marks, so they
// stay, and those of new topics join them.
func (r *relayRun) write(b worker.Batch) worker.Write {
	w := b.Write
	w.Marks = worker.Checkpoint{}
	to := b.Page.Next
	if b.Drain {
		to = r.marks[logPart].Position
	}
	for p, m := range r.marks {
		if !b.Drain || m.Revision == 0 {
			m.Position = max(m.Position, to)
		}
		w.Marks[p] = m
	}
	w.Marks[logPart] = b.Write.Marks[logPart]
	return w
}

// moved notes that marks were written.
func (r *relayRun) moved(marks worker.Checkpoint) {
	for p, m := range marks {
		m.Revision++
		r.marks[p] = m
	}
}
