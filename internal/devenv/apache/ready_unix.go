//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ready returns when a node answers for this cluster, and counts itself and as many brokers as wanted among the living.
// The port alone proves nothing: another process may have taken it.
func (n *nodes) ready(ctx context.Context, node, want int) error {
	r := n.runs[node-1]
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := n.ask(ctx, node, want)
		if err == nil {
			return nil
		}
		select {
		case <-r.down:
			return fmt.Errorf("run broker %d: status %s: %s", node, r.status, n.super.log(strconv.Itoa(node)))
		case <-ctx.Done():
			return fmt.Errorf("wait for broker %d: %w (last: %w; log: %s)", node, ctx.Err(), err, n.super.log(strconv.Itoa(node)))
		case <-tick.C:
		}
	}
}

func (n *nodes) ask(ctx context.Context, node, want int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(address(n.ports[node-1].inner)), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	request := kmsg.NewPtrMetadataRequest()
	request.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	answer, err := client.SeedBrokers()[0].Request(ctx, request)
	if err != nil {
		return err
	}
	meta, ok := answer.(*kmsg.MetadataResponse)
	if !ok {
		return fmt.Errorf("got %T for metadata", answer)
	}
	if meta.ClusterID == nil || *meta.ClusterID != n.id {
		return errors.New("its port belongs to another cluster")
	}
	var alive []int
	for _, b := range meta.Brokers {
		alive = append(alive, int(b.NodeID))
	}
	if !slices.Contains(alive, node) || len(alive) < want {
		return fmt.Errorf("it counts %v among the living, want %d", alive, want)
	}
	return nil
}
