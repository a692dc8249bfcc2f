package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/worker"
)

// Outbox is what a relay reads: the log, and a place for its checkpoint.
type Outbox interface {
	eventstore.Log
	worker.Checkpoints
}

// Relay publishes the log, event by event, in its order. It is safe for
// concurrent use: several at once, in any process, publish events twice and
// lose none, and the checkpoint follows one of them.
type Relay struct {
	from Outbox
	to   Publisher
	relayOptions
}

// NewRelay returns a relay. It does no I/O. It panics if an option is out of
// its bounds, and names it.
func NewRelay(from Outbox, to Publisher, opts ...Option) *Relay {
	o := relayOptions{name: "main", mapper: TopicPerCategory(DefaultDomain), batch: 1000, log: slog.Default()}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			panic("bus: " + err.Error())
		}
	}
	// The kind is part of the name, so that a relay and a projection of one name
	// do not share a checkpoint.
	o.name = "relay/" + o.name
	return &Relay{from, to, o}
}

// Run publishes until ctx ends, and returns nil then, after the batch in
// flight. It returns the first error that outlives the retries.
func (r *Relay) Run(ctx context.Context) error { return r.loop().Run(ctx) }

// Drain publishes up to where the head of the log is when it is called, and
// returns.
func (r *Relay) Drain(ctx context.Context) error {
	head, err := r.from.Head(ctx)
	if err != nil {
		return fmt.Errorf("drain %s: %w", r.name, err)
	}
	if err := r.loop().RunTo(ctx, head); err != nil {
		return err
	}
	return ctx.Err()
}

// Name returns the name of the checkpoint: "relay/" and the name of WithName.
func (r *Relay) Name() string { return r.name }

func (r *Relay) loop() worker.Loop {
	run := &relayRun{Relay: r}
	return worker.Loop{
		Name: r.name, Log: r.from, Batch: r.batch, Retry: r.retry, Logger: r.log,
		Start: run.start, Apply: run.publish,
	}
}

// relayRun is one Run. The checkpoint has a part for the log as a whole, "",
// and one for each pair of category and topic, so that a pair that is new or
// whose topic was made again is filled by itself. A category of which events
// were held back has a pair without a topic.
type relayRun struct {
	*Relay
	marks worker.Checkpoint
}

const logPart = ""

func part(category, topic string) string { return category + "/" + topic }

func topicOf(part string) string {
	_, topic, _ := strings.Cut(part, "/")
	return topic
}

// start returns the lowest position that some topic still needs.
func (r *relayRun) start(ctx context.Context) (q eventstore.LogQuery, err error) {
	if r.marks, err = r.from.Checkpoint(ctx, r.name); err != nil {
		return q, err
	}
	if err := r.resume(ctx); err != nil {
		return q, err
	}
	ids, err := r.topics(ctx, r.marks)
	if err != nil {
		return q, err
	}
	lowest := r.marks[logPart].Position
	for p, m := range r.marks {
		if topicOf(p) == "" {
			continue
		}
		if id := ids[topicOf(p)]; m.Source != id {
			r.log.WarnContext(ctx, "topic is a new one, filling it from the log", "relay", r.name, "topic", topicOf(p), "topic_id", id, "previous_id", m.Source)
			m.Source, m.Position = id, 0
			r.marks[p] = m
		}
		lowest = min(lowest, m.Position)
	}
	return eventstore.LogQuery{After: lowest, Server: r.marks[logPart].Server}, nil
}

func (r *relayRun) topics(ctx context.Context, marks worker.Checkpoint) (map[string]string, error) {
	var names []string
	for p := range marks {
		if topic := topicOf(p); topic != "" {
			names = append(names, topic)
		}
	}
	if len(names) == 0 {
		return nil, nil
	}
	return r.to.Topics(ctx, names...)
}

// ErrMixedTopic says that a changed mapping would fill a topic from the beginning
// of the log which already has later events of another category: consumers
// would take the older ones for repeats. Map the category to a topic of its own.
var ErrMixedTopic = errors.New("topic has later events of another category")

// errNewTopic makes the loop start again, from the beginning of the log.
var errNewTopic = fmt.Errorf("a new topic is filled from the log: %w", worker.ErrFenced)

func (r *relayRun) publish(ctx context.Context, page eventstore.Page) error {
	began := time.Now()
	mapped, err := r.mapAll(page)
	if err != nil {
		return worker.Permanent(err)
	}
	if err := r.meet(ctx, mapped); err != nil {
		return err
	}
	var (
		messages  []Message
		published []event.Recorded
	)
	for i, m := range mapped {
		if e := page.Events[i]; m.topic != "" && e.Position > r.marks[m.part()].Position {
			messages, published = append(messages, withLineage(m.message, r.marks[logPart].Lineage)), append(published, e)
		}
	}
	if len(messages) > 0 {
		if err := r.to.Publish(ctx, messages); err != nil {
			return fmt.Errorf("publish positions %d to %d: %w", published[0].Position, published[len(published)-1].Position, err)
		}
	}
	crash.At("bus.relay.published")
	if err := r.save(ctx, page); err != nil {
		return err
	}
	crash.At("bus.relay.saved")
	if r.hooks.Applied != nil {
		r.hooks.Applied(worker.Applied{Name: r.name, Events: published, Mark: r.marks[logPart], Took: time.Since(began)})
	}
	return nil
}

// mapped is what becomes of an event. Its topic is empty if it is held back.
type mapped struct {
	category, topic string
	message         Message
}

func (m mapped) part() string { return part(m.category, m.topic) }

func (r *relayRun) mapAll(page eventstore.Page) ([]mapped, error) {
	out := make([]mapped, len(page.Events))
	for i, e := range page.Events {
		m, ok, err := r.mapper(e)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", e, err)
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
func (r *relayRun) meet(ctx context.Context, page []mapped) error {
	fresh, ids, err := r.fresh(ctx, page)
	if err != nil || len(fresh) == 0 {
		return err
	}
	again := false
	for p := range fresh {
		if category, topic, _ := strings.Cut(p, "/"); topic != "" && r.knows(category) {
			if r.fills(topic) {
				return worker.Permanent(fmt.Errorf("publish category %s to topic %s: %w", category, topic, ErrMixedTopic))
			}
			again = true
		}
		fresh[p] = worker.Mark{Source: ids[topicOf(p)]}
	}
	if again {
		if err := r.from.Save(ctx, r.name, worker.Term{}, worker.Write{Marks: fresh}); err != nil {
			return err
		}
		return errNewTopic
	}
	for p, m := range fresh {
		r.marks[p] = m
	}
	return nil
}

// fresh returns the pairs that the page shows for the first time, and the ids of
// their topics. A topic that is new to the relay and has messages already is
// compared with the log, all of it.
func (r *relayRun) fresh(ctx context.Context, page []mapped) (worker.Checkpoint, map[string]string, error) {
	fresh := worker.Checkpoint{}
	for _, m := range page {
		if _, known := r.marks[m.part()]; !known {
			fresh[m.part()] = worker.Mark{}
		}
	}
	if len(fresh) == 0 {
		return nil, nil, nil
	}
	ids, err := r.topics(ctx, fresh)
	if err != nil {
		return nil, nil, err
	}
	strange := maps.Clone(ids)
	for p := range r.marks {
		delete(strange, topicOf(p))
	}
	return fresh, ids, r.compare(ctx, strange, 0)
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

// save moves every mark to the end of the page: what a topic was not sent of it
// was not meant for it.
func (r *relayRun) save(ctx context.Context, page eventstore.Page) error {
	next := worker.Checkpoint{}
	for p, m := range r.marks {
		m.Position = max(m.Position, page.Next)
		next[p] = m
	}
	next[logPart] = r.marks[logPart].Reached(page.Next, page.Events)
	if err := r.from.Save(ctx, r.name, worker.Term{}, worker.Write{Marks: next}); err != nil {
		return err
	}
	for p, m := range next {
		m.Revision++
		next[p] = m
	}
	r.marks = next
	return nil
}
