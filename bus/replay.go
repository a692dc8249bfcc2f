package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// HeaderReplay marks a message of a replay. Its value is Replay.ID.
const HeaderReplay = "annals-replay"

// ReplayOf returns the text of HeaderReplay, "" if the message has none.
func ReplayOf(m Message) string {
	v, _ := m.header(HeaderReplay)
	return string(v)
}

// Replay says which part of the log Relay.Replay publishes again. The zero value is all
// that the relay has published.
type Replay struct {
	// ID marks the messages: see HeaderReplay. "": a new one is made.
	ID string
	// After is the position to begin behind, as Replayed.After of one that is gone on
	// with. If it is 0, Since, if not zero, is the recorded time to begin at, as
	// eventstore.Log.PositionBefore has it.
	After event.Position
	Since time.Time
	// To is the last position. 0: as far as the relay has published.
	To event.Position
	// Categories, Names and Streams, if not empty, select events: of any of the
	// categories, with any of the names, and of any of the streams.
	Categories, Names []string
	Streams           []event.Stream
	// Topic is where they go in place of the topics that the mapper says. It is made, as
	// the relay's options say, if it does not exist. "": where the mapper says.
	Topic string
	// Rate is the most events a second, at least 0.001. 0: as fast as it goes.
	Rate float64
	// Progress is told after each batch. nil: nobody.
	Progress func(Replayed)
}

// Replayed is how far a replay has come.
type Replayed struct {
	ID string
	// After: what was selected up to it was published, but for Parked. It is the
	// Replay.After of one that goes on from here.
	After event.Position
	// To is the last position of the replay.
	To event.Position
	// Events is how many were published.
	Events int
	// Parked are the streams of which events were left out because the relay has parked
	// them, each with the first of these.
	Parked map[event.Stream]event.Position
	// Discarded is how many were left out because somebody has given them up.
	Discarded int
}

// ErrUnpublished is matched by *UnpublishedError.
var ErrUnpublished = errors.New("not published yet")

// UnpublishedError says that a replay would publish what the relay itself has not
// published yet, and so would come before it.
type UnpublishedError struct {
	Relay string
	// Category and Topic are "" if it is Replay.To that is too great.
	Category, Topic string
	// Published is the last position that was published, and Position one behind it.
	Published, Position event.Position
}

func (e *UnpublishedError) Error() string {
	if e.Topic == "" {
		return fmt.Sprintf("%s has published up to position %d, and not %d: replay up to there", e.Relay, e.Published, e.Position)
	}
	return fmt.Sprintf("%s has published category %s to topic %s, as it is now, up to position %d, and not %d: have the relay fill the topic first, or replay to another one", e.Relay, e.Category, e.Topic, e.Published, e.Position)
}

// Is reports whether target is ErrUnpublished.
func (e *UnpublishedError) Is(target error) bool { return target == ErrUnpublished }

// Replay publishes again what the relay has published: with the same ids and positions,
// in the same order for each key, marked with HeaderReplay. The relay may run meanwhile.
// Its checkpoint does not move.
//
// A message of a replay is a repeat, and never the first of its event: what the relay has
// not published yet is an *UnpublishedError, and what it has parked is left out, with all
// later events of the stream, as is what was discarded. If something parked was left out
// the error matches worker.ErrParked: a topic of the relay's gets it when it is not parked
// any more, another topic when it is replayed again. With another mapper than the relay
// has published with, none of this can be promised.
//
// Consumers that remember ids, or go by positions, leave out what they have had. One that
// goes by positions leaves out as well what it has not had, if the topic has newer events
// before it: for a consumer that comes later, replay to a topic of its own.
//
// It returns how far it has come, also with an error, that of ctx or of the broker; going
// on from there publishes at most one batch twice. An event that cannot be mapped, or that
// the broker refuses, is an error too. Events of two replays at once are each in order.
func (r *Relay) Replay(ctx context.Context, q Replay) (Replayed, error) {
	q.ID = cmp.Or(q.ID, event.NewID().String())
	run := &replayRun{Relay: r, Replay: q, done: Replayed{ID: q.ID, After: q.After, Parked: map[event.Stream]event.Position{}}}
	err := run.all(ctx)
	if err != nil {
		err = fmt.Errorf("replay %s behind position %d: %w", r.name, run.done.After, err)
	} else if len(run.done.Parked) > 0 {
		err = &worker.ParkedError{Name: r.name, Keys: len(run.done.Parked), Err: run.parkedBy}
	}
	return run.done, err
}

// replayRun is one Replay.
type replayRun struct {
	*Relay
	Replay
	published
	done     Replayed
	parkedBy error // why some stream is parked
	next     time.Time
}

// minRate is the least Replay.Rate.
const minRate = 0.001

func (r *replayRun) validate() error {
	if r.Rate != 0 && !(r.Rate >= minRate) { // NaN neither
		return fmt.Errorf("the rate is %v, want 0, or at least %v", r.Rate, minRate)
	}
	if r.To != 0 && r.To < r.After {
		return fmt.Errorf("it would end at position %d", r.To)
	}
	for _, s := range r.Streams {
		if err := s.Validate(); err != nil {
			return err
		}
	}
	return eventstore.LogQuery{Categories: r.Categories, Names: r.Names}.Validate()
}

// query is that of the next page.
func (r *replayRun) query() eventstore.LogQuery {
	q := eventstore.LogQuery{After: r.done.After, Limit: r.worker.Batch, Categories: r.Categories, Names: r.Names, Server: r.server}
	if r.Rate > 0 { // so that no batch is more than what may go in a tenth of a second
		q.Limit = max(1, min(q.Limit, int(r.Rate/10)))
	}
	if len(q.Categories) == 0 {
		for _, s := range r.Streams {
			if !slices.Contains(q.Categories, s.Category) {
				q.Categories = append(q.Categories, s.Category)
			}
		}
	}
	return q
}

func (r *replayRun) all(ctx context.Context) error {
	if err := r.validate(); err != nil {
		return err
	}
	if err := r.begin(ctx, r.Relay); err != nil {
		return err
	}
	if r.done.To = cmp.Or(r.To, r.upTo); r.done.To > r.upTo {
		return &UnpublishedError{Relay: r.name, Published: r.upTo, Position: r.done.To}
	}
	if r.After == 0 && !r.Since.IsZero() {
		after, err := r.from.PositionBefore(ctx, r.Since)
		if err != nil {
			return err
		}
		r.done.After = after
	}
	if r.Topic != "" && !r.owns(r.Topic) {
		if err := r.make(ctx, r.Topic); err != nil {
			return err
		}
	}
	for r.done.After < r.done.To {
		if err := r.batch(ctx); err != nil {
			return err
		}
		if r.Progress != nil {
			r.Progress(r.done)
		}
	}
	return nil
}

// make makes a topic that does not exist.
func (r *replayRun) make(ctx context.Context, topic string) error {
	have, err := r.to.Topics(ctx, topic)
	if err == nil && have[topic].ID == "" {
		if err = r.to.Create(ctx, r.contract(topic)); err == nil {
			have, err = r.to.Topics(ctx, topic)
		}
	}
	if err != nil {
		return err
	}
	r.pin(r.Relay, topic, have[topic].Partitions)
	return nil
}

// batch publishes a page of the log.
func (r *replayRun) batch(ctx context.Context) error {
	page, err := r.from.ReadLog(ctx, r.query())
	if err != nil {
		return err
	}
	if page.Next == page.After {
		return fmt.Errorf("the log ends before position %d: %w", r.done.To, worker.ErrBehind)
	}
	var events []event.Recorded
	for _, e := range page.Events {
		if e.Position <= r.done.To && (len(r.Streams) == 0 || slices.Contains(r.Streams, e.Stream)) {
			events = append(events, e)
		}
	}
	if len(events) > 0 {
		if err := r.publish(ctx, events); err != nil {
			return err
		}
	}
	r.done.After = min(page.Next, r.done.To)
	return nil
}

func (r *replayRun) publish(ctx context.Context, events []event.Recorded) error {
	mapped, err := r.mapped(events)
	if err != nil {
		return err
	}
	if err := r.pace(ctx, len(events)); err != nil {
		return err
	}
	if err := r.look(ctx, mapped); err != nil {
		return err
	}
	var messages []Message
	for i, m := range mapped {
		if m.topic == "" {
			continue
		}
		ok, err := r.isPublished(ctx, events[i], m)
		if err != nil {
			return err
		}
		if ok {
			messages = append(messages, r.marked(m.message))
		}
	}
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := worker.Detach(ctx, r.worker.Timeout)
	defer cancel()
	if err := r.to.Publish(ctx, messages); err != nil {
		return fmt.Errorf("publish positions %d to %d: %w", events[0].Position, events[len(events)-1].Position, err)
	}
	r.done.Events += len(messages)
	return nil
}

// mapped has the events mapped, to the topic of the replay if it has one.
func (r *replayRun) mapped(events []event.Recorded) (out []mapped, err error) {
	err = worker.Guard(func() error {
		out, err = (&relayRun{Relay: r.Relay}).mapAll(events)
		return err
	})
	var failed *worker.EventError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	for i := range out {
		if out[i].topic != "" && r.Topic != "" {
			out[i].topic, out[i].message.Topic = r.Topic, r.Topic
		}
	}
	return out, err
}

// marked returns a message with the headers of the relay, and that of the replay.
func (r *replayRun) marked(m Message) Message {
	m.Headers = append(slices.Clip(m.Headers), Header{HeaderLineage, []byte(r.lineage)}, Header{HeaderReplay, []byte(r.ID)})
	return m
}

// pace waits until so many events may go. After a pause it does not make up for it.
func (r *replayRun) pace(ctx context.Context, n int) error {
	if r.Rate == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if r.next.Before(now) {
		r.next = now
	}
	timer := time.NewTimer(r.next.Sub(now))
	defer timer.Stop()
	r.next = r.next.Add(time.Duration(float64(n) / r.Rate * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}
