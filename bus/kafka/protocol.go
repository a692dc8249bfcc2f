package kafka

import (
	"context"
	"fmt"
	"regexp"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/annals-go/annals/worker"
)

// unset stands for the balancers that a user has not set.
type unset struct{ kgo.GroupBalancer }

// protocol returns the options for the group protocol: that of KIP-848 where the broker
// has it, unless the user has set one.
func (c *Consumer) protocol(ctx context.Context, r *reach) ([]kgo.Opt, error) {
	ctx, done := r.watch(ctx)
	defer done()
	// without topics it joins no group
	client, err := kgo.NewClient(append(c.clientOpts(), kgo.ConsumerGroup(c.group), kgo.ConsumeTopics(), kgo.DisableAutoCommit(), kgo.WithHooks(r))...)
	if err != nil {
		return nil, worker.Permanent(err)
	}
	defer client.Close()
	if !isUnset(client.OptValue(kgo.Balancers)) {
		return nil, nil
	}
	if set, _ := client.OptValue(kgo.ServerSideBalancer).(bool); set {
		return []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}, nil
	}
	resp, err := within(ctx, func() (*kmsg.ApiVersionsResponse, error) {
		return kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	})
	if err != nil {
		return nil, fmt.Errorf("ask the broker which group protocols it has: %w", err)
	}
	opts := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	if serverSide(kversion.FromApiVersionsResponse(resp)) {
		opts = append(opts, kgo.ServerSideBalancer())
	}
	return opts, nil
}

func isUnset(balancers any) bool {
	all, _ := balancers.([]kgo.GroupBalancer)
	if len(all) != 1 {
		return false
	}
	_, is := all[0].(unset)
	return is
}

// serverSide reports whether a broker has the group protocol of KIP-848 in a version that
// is good: of Apache Kafka from 4.3 on, before which members may be told that their epoch
// is stale (KIP-1251). Brokers of others have no such version, and are taken at their word.
func serverSide(v *kversion.Versions) bool {
	if highest, ok := v.LookupMaxKeyVersion(kmsg.ConsumerGroupHeartbeat.Int16()); !ok || highest < 1 {
		return false
	}
	return !early.MatchString(v.VersionGuess())
}

// early matches the guess of a version before 4.3, also where it is one of two.
var early = regexp.MustCompile(`\bv(3\.\d+|4\.[0-2])\b`)
