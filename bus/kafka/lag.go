package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/worker"
)

// Lag returns how many records of the topics lie behind the checkpoint of a
// projection that consumes them. A mark of an earlier incarnation of a topic
// counts as none. The markers of transactions count as records, and a Consumer reads them
// as such; records of a transaction that has not ended yet count too.
func Lag(ctx context.Context, client *kgo.Client, c worker.Checkpoint, topics ...string) (int64, error) {
	if g, ok := client.OptValue(kgo.RecordPartitioner).(*guard); ok { // else the user's own
		watched, done := g.reach.watch(ctx)
		defer done()
		ctx = watched
	}
	described, missing, err := describeReady(ctx, client, topics)
	if err != nil {
		return 0, withRights(fmt.Errorf("read lag: %w", err))
	}
	if len(missing) > 0 {
		return 0, fmt.Errorf("read lag: topics %v do not exist", missing)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, withRights(fmt.Errorf("read lag: %w", explain(ctx, err)))
	}
	var lag int64
	ends.Each(func(o kadm.ListedOffset) {
		read := int64(0)
		if m := c[partName(o.Topic, o.Partition)]; m.Source == described[o.Topic].id {
			read = m.Offset
		}
		lag += max(0, o.Offset-read)
	})
	return lag, nil
}
