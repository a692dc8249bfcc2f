package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/annals-go/annals/bus"
)

// unanswered returns the error of a wait for what, and why it took too long if that is known.
func unanswered(ctx context.Context, what, why string, err error) error {
	err = explain(ctx, err)
	if why != "" && errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %s", err, why)
	}
	return fmt.Errorf("wait for %s: %w", what, err)
}

// wonder asks the brokers, half way to the deadline of ctx, why they do not acknowledge
// records: the client sends again, without an end, what is refused because too few replicas
// are in sync. The func that it returns ends that, and returns what is known by then, which
// may be nothing. With no deadline nobody asks.
func (p *Publisher) wonder(ctx context.Context, topics func() []string) (end func() string) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() string { return "" }
	}
	asking, cancel := context.WithCancel(ctx)
	why := make(chan string, 1)
	half := time.AfterFunc(time.Until(deadline)/2, func() { why <- p.lacking(asking, topics()) })
	return func() string {
		defer cancel()
		if half.Stop() {
			return ""
		}
		cancel()
		return <-why
	}
}

// lacking says what the partitions of the topics lack to take records: a leader, or replicas
// in sync. It returns "" if that is nothing, or not known.
func (p *Publisher) lacking(ctx context.Context, topics []string) string {
	described, err := metadata(ctx, p.client, topics)
	if err != nil {
		return ""
	}
	known := map[string]bus.Topic{}
	for _, name := range topics {
		known[name] = bus.Topic{}
	}
	_ = p.settings(ctx, known) // without them what is in sync is compared with all replicas
	var lacks []string
	for _, t := range described {
		slices.SortFunc(t.Partitions, func(a, b kmsg.MetadataResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		for _, of := range t.Partitions {
			if l := lack(of, known[*t.Topic].MinInSync); l != "" {
				lacks = append(lacks, fmt.Sprintf("partition %d of topic %s has %s", of.Partition, *t.Topic, l))
			}
		}
	}
	if n := len(lacks); n > mostLacks {
		lacks = append(lacks[:mostLacks], fmt.Sprintf("and %d partitions more", n-mostLacks))
	}
	return strings.Join(lacks, "; ")
}

// mostLacks is how many partitions are named.
const mostLacks = 3

// lack says what a partition lacks to take records.
func lack(p kmsg.MetadataResponseTopicPartition, minInSync int) string {
	var out []int32
	for _, r := range p.Replicas {
		if !slices.Contains(p.ISR, r) {
			out = append(out, r)
		}
	}
	switch {
	case p.Leader < 0:
		return fmt.Sprintf("no leader, and replicas on brokers %v", p.Replicas)
	case len(p.ISR) < minInSync:
		return fmt.Sprintf("%d of %d replicas in sync, and min.insync.replicas is %d: look at brokers %v", len(p.ISR), len(p.Replicas), minInSync, out)
	case minInSync == 0 && len(out) > 0: // the account may not know it
		return fmt.Sprintf("%d of %d replicas in sync: look at brokers %v", len(p.ISR), len(p.Replicas), out)
	}
	return ""
}

// topicsOf returns the topics of records, each once.
func topicsOf[R any](records []R, topic func(R) string) []string {
	names := map[string]bool{}
	for _, r := range records {
		names[topic(r)] = true
	}
	return slices.Sorted(maps.Keys(names))
}
