// Package broker gives examples, tests and demos a Kafka cluster without an installation step.
//
// # Usage
//
// [Start] takes the brokers that KAFKA_BROKERS lists, host:port separated by commas. Without it, it starts a broker
// in this process, kfake of franz-go, and returns its address:
//
//	b, err := broker.Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer b.Close()
//	client, err := kgo.NewClient(kgo.SeedBrokers(b.Seeds...))
//
// # Promises
//
// The broker started here speaks the Kafka protocol over TCP, on a free port of 127.0.0.1: the code that uses it
// is the code that runs against a real cluster. Topics exist only after they are created. A consumer group of the
// KIP-848 protocol (kgo.ServerSideBalancer) notices a dead member after 6 s.
//
// # No promises
//
// It is one broker that keeps everything in memory until Close: no replication, no disk, no throttling. [StartIn] has a
// disk, and does not flush it: what a kill of the process cannot take, a loss of power can. Members of a
// classic consumer group that are killed while they join may stay in it for ever; use KIP-848 groups. Authentication
// is off, as is TLS. Brokers from KAFKA_BROKERS are not started, emptied or stopped.
//
// # Testing
//
// A broker starts in milliseconds: start one per test, and stop consumers and producers before Close.
package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Broker is a Kafka cluster to use until Close. Safe for concurrent use.
type Broker struct {
	// Seeds are the addresses to connect to, host:port.
	Seeds []string

	// External means that KAFKA_BROKERS named the brokers: Close leaves them alone.
	External bool

	cluster *kfake.Cluster // nil when External
	unlock  func()         // lets go of the directory; it may be called more than once
}

// Start returns the brokers that KAFKA_BROKERS lists, else starts one. It connects to no cluster. The broker runs until
// Close.
func Start(ctx context.Context) (*Broker, error) {
	return start(ctx, os.Getenv("KAFKA_BROKERS"))
}

// StartEmbedded starts a broker in this process whatever KAFKA_BROKERS says, for tests that delete what they find.
func StartEmbedded(ctx context.Context) (*Broker, error) {
	return start(ctx, "")
}

// StartIn starts a broker in this process that keeps topics, records, producers and offsets in a directory, which it
// makes, and listens on a port of 127.0.0.1; 0 is a free one. The next broker of the directory has what this one has
// acknowledged, also if the process was killed. Members of groups are forgotten: they join again. A directory that
// another broker uses is an error.
func StartIn(ctx context.Context, dir string, port int) (*Broker, error) {
	b, err := startIn(ctx, dir, port)
	if err != nil {
		return nil, fmt.Errorf("start broker in %s: %w", dir, err)
	}
	return b, nil
}

func startIn(ctx context.Context, dir string, port int) (*Broker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	// Members that were alive when a broker ended are restored as owners of partitions that nobody can have then.
	err = os.Remove(filepath.Join(data, "session_state.json"))
	var b *Broker
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		b, err = embed(kfake.DataDir(data), kfake.Ports(port))
	}
	if err != nil {
		unlock()
		return nil, err
	}
	b.unlock = unlock
	return b, nil
}

func start(ctx context.Context, list string) (*Broker, error) {
	if list != "" {
		seeds, err := parseSeeds(list)
		if err != nil {
			return nil, fmt.Errorf("start broker: %w", err)
		}
		return &Broker{Seeds: seeds, External: true}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	b, err := embed()
	if err != nil {
		return nil, fmt.Errorf("start broker: %w", err)
	}
	return b, nil
}

func embed(opts ...kfake.Opt) (*Broker, error) {
	cluster, err := kfake.NewCluster(append(opts,
		kfake.NumBrokers(1),
		// Short enough for a demo of failover, long enough for a laptop under load.
		kfake.BrokerConfigs(map[string]string{
			"group.consumer.session.timeout.ms":    "6000",
			"group.consumer.heartbeat.interval.ms": "500",
		}),
	)...)
	if err != nil {
		return nil, err
	}
	return &Broker{Seeds: cluster.ListenAddrs(), cluster: cluster, unlock: func() {}}, nil
}

// Close stops the broker and forgets its records, unless they are in a directory. It may be called more than once,
// from any goroutine. It does nothing to external brokers.
func (b *Broker) Close() {
	if b.cluster != nil {
		b.cluster.Close()
		b.unlock()
	}
}

// parseSeeds reads a list of host:port separated by commas. Spaces around an entry are allowed.
func parseSeeds(list string) ([]string, error) {
	var seeds []string
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		host, port, err := net.SplitHostPort(entry)
		if err != nil || host == "" {
			return nil, fmt.Errorf("read KAFKA_BROKERS: %q is not host:port", entry)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("read KAFKA_BROKERS: %q has the port %q, want 1 to 65535", entry, port)
		}
		seeds = append(seeds, entry)
	}
	return seeds, nil
}
