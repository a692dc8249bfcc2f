package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/worker"
)

// replayFlags are those of the command relay replay.
type replayFlags struct {
	kafka      kafkaFlags
	domain     string
	id         string
	from, to   numberFlag
	since      timeFlag
	categories namesFlag
	names      namesFlag
	streams    []string
	topic      string
	rate       rateFlag
}

// rateFlag is a number of events a second.
type rateFlag float64

func (f *rateFlag) Set(s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0.001 && n <= 1e9) {
		return errors.New("want a number from 0.001 to 1000000000")
	}
	*f = rateFlag(n)
	return nil
}

func (f *rateFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*f), 'f', -1, 64)
}
func (*rateFlag) Type() string { return "number" }

func (a *app) relayReplay() *cobra.Command {
	f := replayFlags{
		from: numberFlag{least: 1, most: maxPosition}, to: numberFlag{least: 1, most: maxPosition},
		categories: namesFlag{check: event.ValidateCategory}, names: namesFlag{check: event.ValidateName},
	}
	cmd := &cobra.Command{
		Use:   "replay [NAME]",
		Short: "Publish again what a relay has published",
		Long: `Publish again what a relay has published: all of it, or a part of the log. NAME is that of the relay, main if it
is left out. The relay may run meanwhile, and its checkpoint does not move.

  annals relay replay --brokers HOST --from-time 2026-01-31T09:00:00Z --rate 1000
  annals relay replay --brokers HOST --category order --to-topic billing.history

The messages are repeats, with the ids and positions of the first ones, and the header annals-replay. What the
relay has not published yet is not published; what it has parked is left out, and makes the exit code 1.

It publishes to the topics {domain}.{category}, in the form that relays have by default. A service whose relay
has a mapper of its own calls Relay.Replay in its place; this command refuses if the newest messages of the
relay's topics tell that it has.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(fmt.Errorf("%sarguments: got %d, want one NAME at most, such as main", within(cmd), len(args)))
			}
			return nil
		},
		SilenceUsage: true,
		RunE: a.patient(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			name := "main"
			if len(args) == 1 {
				name = args[0]
			}
			return a.replayRelay(ctx, cmd, name, f)
		}),
	}
	flags := cmd.Flags()
	f.kafka.add(cmd, "brokers to publish to")
	flags.StringVar(&f.domain, "domain", bus.DefaultDomain, "domain of the relay: the first words of its topics")
	flags.Var(&f.from, "from-position", "position to begin at (default: the first)")
	flags.Var(&f.since, "from-time", "recorded time to begin at, such as 2026-01-31T09:00:00Z")
	flags.Var(&f.to, "to-position", "last position (default: as far as the relay has published)")
	flags.Var(&f.categories, "category", "only events of these categories")
	flags.Var(&f.names, "name", "only events with these names")
	flags.StringSliceVar(&f.streams, "stream", nil, "only events of these streams, such as order-o-1")
	flags.StringVar(&f.topic, "to-topic", "", "publish all of it to this topic, which is made if it does not exist")
	flags.Var(&f.rate, "rate", "most events a second (default: as fast as it goes)")
	flags.StringVar(&f.id, "id", "", "what marks the messages (default: a new id)")
	return cmd
}

// replay returns what the flags say.
func (f *replayFlags) replay() (bus.Replay, error) {
	q := bus.Replay{
		ID: f.id, Since: f.since.value, To: event.Position(f.to.value), Categories: f.categories.names, Names: f.names.names,
		Topic: f.topic, Rate: float64(f.rate),
	}
	if f.from.value > 0 {
		q.After = event.Position(f.from.value - 1)
	}
	if f.from.value > 0 && !q.Since.IsZero() {
		return q, errors.New("want one of --from-position and --from-time")
	}
	if err := bus.ValidateDomain(f.domain); err != nil {
		return q, fmt.Errorf("--domain: %w", err)
	}
	for _, s := range f.streams {
		stream, err := event.ParseStream(s)
		if err != nil {
			return q, fmt.Errorf("--stream: %w", err)
		}
		q.Streams = append(q.Streams, stream)
	}
	return q, nil
}

func (a *app) replayRelay(ctx context.Context, cmd *cobra.Command, name string, f replayFlags) error {
	name = strings.TrimPrefix(name, relayPrefix)
	q, err := f.replay()
	if err != nil {
		return usage(fmt.Errorf("%s%w", within(cmd), err))
	}
	client, err := a.kafkaClient(f.kafka)
	if err != nil {
		return fmt.Errorf("%s%w", within(cmd), err)
	}
	defer client.Close()
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := db.Checkpoint(ctx, relayPrefix+name)
	if err != nil {
		return err
	}
	if len(c) == 0 {
		return fmt.Errorf("replay %s%s: there is no such checkpoint", relayPrefix, name)
	}
	p := a.progress(cmd, "replay", "positions")
	q.Progress = func(d bus.Replayed) { p.at(int64(d.After-q.After), int64(d.To-q.After)) }
	publisher := kafka.NewPublisher(client)
	if err := plainlyMapped(ctx, db, publisher, c); err != nil {
		return fmt.Errorf("replay %s%s: %w", relayPrefix, name, err)
	}
	relay := bus.NewRelay(db, publisher, bus.WithName(name), bus.WithDomain(f.domain))
	replayed, err := relay.Replay(ctx, q)
	p.end()
	if replayed.Events > 0 || err == nil {
		_, werr := fmt.Fprintln(cmd.ErrOrStderr(), escape(toldReplay(relay.Name(), replayed, err)))
		err = errors.Join(err, werr)
	}
	return err
}

// toldReplay says how far a replay has come, and how to go on.
func toldReplay(name string, d bus.Replayed, err error) string {
	told := fmt.Sprintf("published %d events of %s again, up to position %d, with the header %s: %s", d.Events, name, d.After, bus.HeaderReplay, d.ID)
	if d.Discarded > 0 {
		told += fmt.Sprintf("; %d are left out that were discarded", d.Discarded)
	}
	if err != nil && !errors.Is(err, worker.ErrParked) {
		told += fmt.Sprintf("; go on with --from-position %d --id %s", d.After+1, d.ID)
	}
	return told
}

// plainlyMapped returns an error if one of the newest messages of a relay's topics is not
// what a relay publishes by default: its mapper is another one.
func plainlyMapped(ctx context.Context, log eventstore.Log, from bus.Publisher, c worker.Checkpoint) error {
	var newest []bus.Message
	for part := range c {
		if _, topic, _ := strings.Cut(part, "/"); topic != "" {
			err := from.Newest(ctx, topic, func(_ int32, m bus.Message) bool {
				newest = append(newest, m)
				return false
			})
			if err != nil {
				return err
			}
		}
	}
	for _, m := range newest {
		got, err := bus.EventOf(m)
		if err != nil {
			continue // it is not the relay's
		}
		page, err := log.ReadLog(ctx, eventstore.LogQuery{After: got.Position - 1, Limit: 1})
		if err != nil {
			return err
		}
		if len(page.Events) == 0 || page.Events[0].Metadata.ID != got.Metadata.ID {
			continue // of another history
		}
		want := page.Events[0]
		if string(m.Key) != want.Stream.ID || got.Name != want.Name || got.Schema != want.Schema || got.ContentType != want.ContentType {
			return fmt.Errorf("it has a mapper of its own: topic %s has %s as %s, schema version %d, %s, under key %q: have the service call Relay.Replay", m.Topic, want, got.Name, got.Schema, got.ContentType, m.Key)
		}
	}
	return nil
}
