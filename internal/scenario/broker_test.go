//go:build unix

package scenario_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
)

const teamPartitions = 3

// kafkaOpts are the options of the clients of a process.
func (w *workers) kafkaOpts() []kgo.Opt {
	var more []kgo.Opt
	if w.Via != "" {
		more = append(more, kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, w.Via)
		}))
	}
	return eager(w.Brokers, more...)
}

// publisher returns where the relay publishes to.
func (w *workers) publisher(pool *pgxpool.Pool) (to bus.Publisher, done func(), err error) {
	if len(w.Brokers) == 0 {
		return rowPublisher{pool, w.to}, func() {}, nil
	}
	if w.Ledger {
		l, err := kafka.NewLedger(cmp.Or(w.Domain, bus.DefaultDomain), w.kafkaOpts()...)
		if err != nil {
			return nil, nil, err
		}
		return l, l.Close, nil
	}
	client, err := kafka.NewClient(w.kafkaOpts()...)
	if err != nil {
		return nil, nil, err
	}
	return timedPublisher{kafka.NewPublisher(client), w}, client.Close, nil
}

// timeout bounds the calls of a relay.
func (w *workers) timeout() bus.WorkerOption {
	return bus.WithTimeout(cmp.Or(w.CallTimeout, time.Minute))
}

// count tells of the goroutines of the process.
func (w *workers) count(ctx context.Context) {
	for r := random(0, 0); moment(ctx, r, 2*time.Second); {
		w.to.Tell("goroutines", runtime.NumGoroutine())
	}
}

// timedPublisher tells of calls that have not returned by their deadline.
type timedPublisher struct {
	bus.Publisher
	of *workers
}

func (p timedPublisher) timed(what string, began time.Time) {
	if took := time.Since(began); p.of.CallTimeout > 0 && took > p.of.CallTimeout+lateCall-callTimeout {
		p.of.to.Tell("late", fmt.Sprintf("%s took %v, at most %v", what, took.Round(time.Millisecond), p.of.CallTimeout))
	}
}

func (p timedPublisher) Topics(ctx context.Context, names ...string) (map[string]bus.Topic, error) {
	defer p.timed("a look at topics", time.Now())
	return p.Publisher.Topics(ctx, names...)
}

func (p timedPublisher) Publish(ctx context.Context, messages []bus.Message) error {
	defer p.timed("a publish", time.Now())
	return p.Publisher.Publish(ctx, messages)
}

// consume tallies the messages of the topics.
func (w *workers) consume(ctx context.Context) error {
	return bus.NewConsumer("tallies", bus.On(workCodec, w.handle)).Run(ctx, w.db, kafka.NewConsumer("tallies", topics, append(w.kafkaOpts(), kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/15))...),
		bus.WithBatch(w.Batch), bus.WithTimeout(10*time.Second), bus.WithRetry(unmoved), bus.WithHooks(w.hooks()), bus.WithLogger(silent))
}

// brokerArgs say where a broker in its own process keeps its records.
type brokerArgs struct {
	Dir  string
	Port int
}

// brokerAsChild is the mode of a child process that is a broker.
func brokerAsChild(ctx context.Context, to *oracle.Recorder, text json.RawMessage) error {
	var args brokerArgs
	if err := json.Unmarshal(text, &args); err != nil {
		return err
	}
	b, err := broker.StartIn(ctx, args.Dir, args.Port)
	if err != nil {
		return err
	}
	to.Tell("ready", b.Seeds[0])
	<-ctx.Done()
	return nil
}

// ownBroker is a broker in its own process, on one address for good.
type ownBroker struct {
	t    *testing.T
	args brokerArgs
	addr string
	*harness.Child
}

func startBroker(t *testing.T) *ownBroker {
	t.Helper()
	b := &ownBroker{t: t, args: brokerArgs{Dir: filepath.Join(t.TempDir(), "kafka")}}
	t.Cleanup(func() { _ = b.Kill() })
	b.start()
	return b
}

func (b *ownBroker) start() {
	b.t.Helper()
	ready := make(chan string, 1)
	child, err := harness.Start(oracle.New(), harness.Command{Mode: "broker", Args: b.args, Told: func(_ string, data json.RawMessage) {
		var addr string
		_ = json.Unmarshal(data, &addr)
		ready <- addr
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Child = child
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	select {
	case b.addr = <-ready:
	case err := <-ended:
		b.t.Fatalf("the broker has ended: %v", err)
	}
	_, port, err := net.SplitHostPort(b.addr)
	if err == nil {
		b.args.Port, err = strconv.Atoi(port)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// again kills the broker, and starts it a while later.
func (b *ownBroker) again(later <-chan struct{}) {
	b.t.Helper()
	if err := b.Kill(); err != nil {
		b.t.Error(err)
	}
	<-later
	b.start()
}
