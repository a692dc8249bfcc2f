package kafka_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
)

// P12: a broker takes connections and never answers. Calls end with their contexts, also
// those that the client has wait for another one that is about to connect.
func TestCallsEndWithTheirContexts(t *testing.T) {
	t.Parallel()
	silence, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := silence.Accept()
			if err != nil {
				return
			}
			defer func() { _ = conn.Close() }()
		}
	})
	t.Cleanup(func() {
		_ = silence.Close()
		accepting.Wait()
	})
	client, err := kafka.NewClient(kgo.SeedBrokers(silence.Addr().String()), kgo.RequestTimeoutOverhead(15*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	p := kafka.NewPublisher(client)
	for range 2 {
		for what, call := range map[string]func(context.Context) error{
			"Topics": func(ctx context.Context) error { _, err := p.Topics(ctx, topic); return err },
			"Create": func(ctx context.Context) error { return p.Create(ctx, bus.Contract{Topic: topic}) },
		} {
			ctx, cancel := context.WithTimeout(bounded(t), 20*time.Millisecond)
			ended := make(chan error, 1)
			go func() { ended <- call(ctx) }()
			select {
			case err := <-ended:
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s = %v, want context.DeadlineExceeded", what, err)
				}
			case <-bounded(t).Done():
				t.Fatalf("%s does not end", what)
			}
			cancel()
		}
	}
}
