package scenario_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
)

// topics are those of the streams of a team.
var topics = topicsOf(bus.DefaultDomain)

func topicsOf(domain string) []string {
	return []string{bus.TopicName(domain, "order"), bus.TopicName(domain, "cart"), bus.TopicName(domain, "stock")}
}

// eager returns the options of a client that soon tries again.
func eager(seeds []string, more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.MetadataMinAge(20 * time.Millisecond),
		kgo.RetryBackoffFn(func(fails int) time.Duration { return time.Duration(min(fails, 20)) * 5 * time.Millisecond }),
	}, more...)
}

// noteMessage returns what the oracle is told of a message.
func noteMessage(m bus.Message) (oracle.Message, error) {
	out := oracle.Message{Topic: m.Topic, Key: string(m.Key)}
	for _, h := range m.Headers {
		var err error
		switch h.Key {
		case bus.HeaderID:
			err = out.ID.UnmarshalText(h.Value)
		case bus.HeaderVersion:
			var v int64
			v, err = strconv.ParseInt(string(h.Value), 10, 64)
			out.Version = event.Version(v)
		}
		if err != nil {
			return out, fmt.Errorf("header %s: %w", h.Key, err)
		}
	}
	return out, nil
}

// recordsOf returns all records that topics have now, partition by partition. A topic that
// does not exist has none.
func recordsOf(ctx context.Context, seeds []string, names ...string) ([]*kgo.Record, error) {
	client, err := kgo.NewClient(eager(seeds, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	open := map[string]map[int32]int64{} // where each partition ends
	from := map[string]map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Offset == 0 {
			return
		}
		if open[o.Topic] == nil {
			open[o.Topic], from[o.Topic] = map[int32]int64{}, map[int32]kgo.Offset{}
		}
		open[o.Topic][o.Partition], from[o.Topic][o.Partition] = o.Offset, kgo.NewOffset().AtStart()
	})
	client.AddConsumePartitions(from)
	var out []*kgo.Record
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, wanted := open[r.Topic][r.Partition]
			if !wanted {
				return
			}
			if !r.Attrs.IsControl() { // what ends a transaction
				out = append(out, r)
			}
			if r.Offset+1 < end {
				return
			}
			if delete(open[r.Topic], r.Partition); len(open[r.Topic]) == 0 {
				delete(open, r.Topic)
			}
		})
	}
	slices.SortStableFunc(out, func(a, b *kgo.Record) int { return int(a.Partition) - int(b.Partition) })
	return out, nil
}

// messagesIn returns what the oracle is told of the messages of topics.
func messagesIn(t *testing.T, ctx context.Context, seeds []string, names ...string) []oracle.Message {
	t.Helper()
	records, err := recordsOf(ctx, seeds, names...)
	if err != nil {
		t.Fatalf("read topics %v: %v", names, err)
	}
	out := make([]oracle.Message, len(records))
	for i, r := range records {
		m := bus.Message{Topic: r.Topic, Key: r.Key}
		for _, h := range r.Headers {
			m.Headers = append(m.Headers, bus.Header{Key: h.Key, Value: h.Value})
		}
		if out[i], err = noteMessage(m); err != nil {
			t.Fatalf("%s/%d offset %d: %v", r.Topic, r.Partition, r.Offset, err)
		}
		out[i].Partition = r.Partition
	}
	return out
}

// logged returns what the log holds.
func logged(t *testing.T, ctx context.Context, log eventstore.Log) (out []oracle.Event) {
	t.Helper()
	for at := event.Position(0); ; {
		page, err := log.ReadLog(ctx, eventstore.LogQuery{After: at, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			out = append(out, oracle.Note(e))
		}
		if page.Next == at {
			return out
		}
		at = page.Next
	}
}
