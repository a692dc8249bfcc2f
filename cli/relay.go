package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/postgres"
)

// relay is the group of commands about relays and their topics.
func (a *app) relay() *cobra.Command {
	group := a.group("relay", "Look at relays and their topics, and decide on topics that have changed")
	group.AddCommand(a.relayList(), a.relayAdopt(), a.relayRefill(), a.relayReplay())
	return group
}

func (a *app) relayList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [NAME]",
		Short: "List relays, and the topics that they have agreed on with their brokers",
		Long: `List relays, and the topics that they have agreed on with their brokers. NAME is that of a relay, such as main.
It is read from the database: what the brokers have now is not asked. DECISION is what a relay does with a topic when it
begins next, and who has decided it.`,
		Args:         atMostOne("NAME, such as main"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			db, done, err := a.store(ctx)
			if err != nil {
				return err
			}
			defer done()
			names, err := chosenRelays(ctx, db, args)
			if err != nil {
				return err
			}
			p := a.printer(cmd, "RELAY", "POSITION", "LAG", "TOPIC", "PARTITIONS", "ID", "SINCE", "DECISION", "OWNER")
			for _, name := range names {
				all, err := relayRecords(ctx, db, name)
				if err != nil {
					return err
				}
				for _, r := range all {
					if err := p.print(r); err != nil {
						return err
					}
				}
			}
			return p.flush()
		}),
	}
}

// fullRelay is the name of the checkpoint of a relay, which may be given with its kind.
func fullRelay(name string) string { return relayPrefix + strings.TrimPrefix(name, relayPrefix) }

// chosenRelays are the one that is named in args, else all.
func chosenRelays(ctx context.Context, db *postgres.DB, args []string) ([]string, error) {
	if len(args) > 0 {
		name, err := knownReader(ctx, db, fullRelay(args[0]))
		return []string{name}, err
	}
	names, err := db.Readers(ctx)
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, relayPrefix) }), err
}

// relayRecord is a topic of a relay; one without a topic is a relay that has none.
type relayRecord struct {
	Relay    string       `json:"relay"`
	Position int64        `json:"position"`
	Lag      *int64       `json:"lag,omitempty"` // unknown if the log is elsewhere
	Topic    *topicRecord `json:"topic,omitempty"`
}

// topicRecord is what was agreed on.
type topicRecord struct {
	Name        string    `json:"name"`
	ID          string    `json:"id"`
	Partitions  int       `json:"partitions"`
	Since       time.Time `json:"since"`
	Owner       string    `json:"owner,omitempty"`
	Description string    `json:"description,omitempty"`
	Decision    string    `json:"decision,omitempty"`
	By          string    `json:"by,omitempty"`
}

func relayRecords(ctx context.Context, db *postgres.DB, name string) ([]relayRecord, error) {
	s, err := db.Status(ctx, name)
	if err != nil {
		return nil, err
	}
	r := relayRecord{Relay: name}
	for _, p := range s.Parts {
		if p.Part != logPart {
			continue
		}
		r.Position = int64(p.Mark.Position)
		if logIsHere(s, p) {
			r.Lag = &p.Lag
		}
	}
	agreed, err := db.Contracts(ctx, name)
	if err != nil {
		return nil, err
	}
	if len(agreed) == 0 {
		return []relayRecord{r}, nil
	}
	var all []relayRecord
	for _, topic := range slices.Sorted(maps.Keys(agreed)) {
		t := agreed[topic]
		r.Topic = &topicRecord{t.Topic, t.ID, t.Partitions, t.Since, t.Owner, t.Description, string(t.Decision), t.By}
		all = append(all, r)
	}
	return all, nil
}

func (r relayRecord) cells(int) []string {
	lag := "-"
	if r.Lag != nil {
		lag = number(*r.Lag)
	}
	cells := []string{r.Relay, number(r.Position), lag}
	t := r.Topic
	if t == nil {
		return append(cells, "-", "-", "-", "-", "-", "-")
	}
	decision := "-"
	if t.Decision != "" {
		decision = fmt.Sprintf("%s (%s)", t.Decision, t.By)
	}
	return append(cells, t.Name, strconv.Itoa(t.Partitions), t.ID, t.Since.Format(tableTime), decision, orDash(t.Owner))
}

func (a *app) relayAdopt() *cobra.Command {
	return a.relayDecide(bus.Adopt, &cobra.Command{
		Short: "Have a relay take a topic that has changed as it is, and go on",
		Long: `Have a relay take a topic that has changed as it is, or make it if it is gone, and go on where the relay stands.
What the topic had before is not published again. NAME is the relay's, such as main.

It is done when the relay begins next; nothing is, if the topic is what was agreed on then. If the number of partitions
has changed, the messages of one key lie in two partitions: stop the consumers before, and build anew what they have
built. A compacted topic is not adopted: it loses events. Change its cleanup.policy.`,
	}, "%s would publish to topic %s only what comes from now on")
}

func (a *app) relayRefill() *cobra.Command {
	return a.relayDecide(bus.Refill, &cobra.Command{
		Short: "Have a relay fill a topic from the beginning of the log",
		Long: `Have a relay fill a topic from the beginning of the log, as it is, or made if it is gone. NAME is the relay's,
such as main. It is done when the relay begins next, also if the topic is what was agreed on: then its consumers are
given everything again, which they know for repeats.`,
	}, "%s would publish to topic %s everything from the beginning of the log")
}

// relayDecide completes a command that notes a decision; warning says what it comes to.
func (a *app) relayDecide(d bus.Decision, cmd *cobra.Command, warning string) *cobra.Command {
	var (
		actor string
		yes   bool
	)
	cmd.Use = fmt.Sprintf("%s NAME TOPIC --yes", d)
	cmd.Args = exactArgs(2, "NAME and TOPIC, such as main shop.order")
	cmd.SilenceUsage = true
	run := a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		db, done, err := a.store(ctx)
		if err != nil {
			return err
		}
		defer done()
		if !cmd.Flags().Changed("actor") {
			actor = someActor()
		}
		relay, topic := fullRelay(args[0]), args[1]
		if err := bus.Decide(ctx, db, relay, topic, d, actor); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s of topic %s is done when the relay begins next: start it, or restart it if it runs\n", escape(relay), d, escape(topic))
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes {
			return usage(fmt.Errorf("relay %s: "+warning+": confirm with --yes", d, fullRelay(args[0]), args[1]))
		}
		return run(cmd, args)
	}
	cmd.Flags().StringVar(&actor, "actor", "", "who has decided it, for the audit (default: user@host)")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
