package kafka_test

import (
	"context"
	"errors"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
)

// goroutinesOf returns the stacks of goroutines that were started under a label.
func goroutinesOf(t *testing.T, label string) (stacks []string) {
	t.Helper()
	var all strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		t.Fatal(err)
	}
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, label) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// When Receive has returned, nothing of it runs any more, however it ended.
func TestNoGoroutineIsLeft(t *testing.T) {
	t.Parallel()
	seeds, client := openTopic(t, 6)
	put(t, client, topic, 0, 600)
	for label, failing := range map[string]bool{"ended-by-context": false, "ended-by-error": true} {
		ctx, cancel := context.WithCancel(bounded(t))
		r := newShelf(t).reader("a")
		n := 0
		r.hold = func(ctx context.Context, _ bus.Delivery) error {
			r.mu.Lock()
			n++
			last := n == 5
			r.mu.Unlock()
			if last && !failing {
				if len(goroutinesOf(t, label)) == 0 {
					t.Error("the goroutines are not found while they run")
				}
				cancel()
			}
			if last && failing {
				return context.DeadlineExceeded
			}
			if last {
				<-ctx.Done()
			}
			return nil
		}
		pprof.Do(ctx, pprof.Labels("receive", label), func(ctx context.Context) {
			err := kafka.NewConsumer(label, []string{topic}, kgo.SeedBrokers(seeds...), kafka.WithPrefetch(20), kafka.WithConcurrency(2)).Receive(ctx, r)
			if (err != nil) != failing {
				t.Errorf("Receive = %v", err)
			}
		})
		for _, stack := range goroutinesOf(t, label) {
			if strings.Contains(stack, "bus/kafka") {
				t.Errorf("%s: left is\n%s", label, stack)
			}
		}
		for wait := bounded(t); len(goroutinesOf(t, label)) > 0; runtime.Gosched() { // those of the client end by themselves
			if wait.Err() != nil {
				t.Fatalf("%s: left are\n%s", label, strings.Join(goroutinesOf(t, label), "\n\n"))
			}
		}
		cancel()
	}
}

// A call that was refused leaves nothing that runs, once its client is closed.
func TestRefusedCallLeavesNoGoroutine(t *testing.T) {
	t.Parallel()
	at := secured(t, kfake.EnableSASL(), kfake.SeedTopics(1, "shop.order"), kfake.Superuser("SCRAM-SHA-256", "ada", "another"))
	const label = "refused-call"
	pprof.Do(bounded(t), pprof.Labels("call", label), func(ctx context.Context) {
		opts := []kgo.Opt{at, kgo.SASL(scram.Auth{User: "ada", Pass: "wrong"}.AsSha256Mechanism())}
		client, err := kafka.NewClient(opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		l, err := kafka.NewLedger("shop", opts...)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := kafka.NewPublisher(client)
		_, opened := l.Open(ctx, "main")
		for call, err := range map[string]error{
			"Publish": p.Publish(ctx, []bus.Message{{Topic: "shop.order", Value: []byte("x")}}),
			"Newest":  p.Newest(ctx, "shop.order", func(int32, bus.Message) bool { return true }),
			"Receive": kafka.NewConsumer("totals", []string{"shop.order"}, opts...).Receive(ctx, &nothing{}),
			"Open":    opened,
		} {
			if !errors.As(err, new(*kafka.AccessError)) {
				t.Errorf("%s = %v, want an AccessError", call, err)
			}
		}
	})
	for wait := bounded(t); len(goroutinesOf(t, label)) > 0; runtime.Gosched() {
		if wait.Err() != nil {
			t.Fatalf("left are\n%s", strings.Join(goroutinesOf(t, label), "\n\n"))
		}
	}
}
