package scenario_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// The load of a relay whose broker fails.
const (
	relayWriters = 8
	relayStreams = 20
	relayBatch   = 16
)

// soonAgain retries at once, and without an end.
var soonAgain = worker.Retry{Attempts: 1000, Base: 2 * time.Millisecond, Cap: 20 * time.Millisecond}

// A broker answers one produce request with each error there is, whether it has stored the
// records or not, or it ends the connection. The relay goes on by itself, or has parked
// what the broker refuses until somebody retries it. Nothing is lost, no key is overtaken,
// and what comes again is bounded.
func TestFaultRelayErrors(t *testing.T) {
	t.Parallel()
	seed := seed(t)
	long := *timeFlag >= time.Minute
	var most, passed atomic.Int64
	began := time.Now()
	for round := uint64(0); round == 0 || long && time.Since(began) < *timeFlag && !t.Failed(); round++ {
		var group errgroup.Group
		group.SetLimit(6) // most of their time they wait
		for _, m := range mishaps(long) {
			for _, at := range []int64{1, 3} {
				at += int64(round % 3)
				group.Go(func() error {
					again, err := relayThrough(t, m, at, seed+uint64(passed.Add(1)))
					if err != nil {
						t.Errorf("%v, request %d: %v", m, at, err)
					}
					for before := most.Load(); before < int64(again) && !most.CompareAndSwap(before, int64(again)); {
						before = most.Load()
					}
					return nil
				})
			}
		}
		_ = group.Wait()
	}
	t.Logf("%d mishaps in %v; of one, at most %d messages came again", passed.Load(), time.Since(began).Round(time.Millisecond), most.Load())
}

// The leaders of partitions move all the time.
func TestFaultRelayLeaders(t *testing.T) {
	t.Parallel()
	const nodes = 3
	r := newRelaying(t, nodes, 40)
	defer r.close()
	moving, enough := context.WithCancel(r.ctx)
	var moves int
	var wg sync.WaitGroup
	s := seed(t)
	wg.Go(func() {
		for draw := random(s, 0); moment(moving, draw, 4*time.Millisecond); moves++ {
			// Of a topic that does not exist yet it is an error.
			_ = r.cluster.MoveTopicPartition(topics[draw.IntN(len(topics))], draw.Int32N(3), draw.Int32N(nodes))
		}
	})
	r.write(s)
	<-time.After(*timeFlag / 8)
	enough()
	wg.Wait()
	if err := r.settle(false); err != nil {
		t.Error(err)
	}
	again, err := r.judge()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%d moves; %d messages came again", moves, again)
}

// relaying is a relay from a store in memory to a cluster in process.
type relaying struct {
	t       *testing.T
	ctx     context.Context //nolint:containedctx // that of the scenario
	each    int             // events of a writer
	cluster *kfake.Cluster
	client  *kgo.Client
	db      *memory.DB
	relay   *bus.Relay
	ended   chan error
	stop    context.CancelFunc
	history []oracle.Event
}

func newRelaying(t *testing.T, nodes, each int) *relaying {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(nodes))
	if err != nil {
		t.Fatal(err)
	}
	client, err := kafka.NewClient(eager(cluster.ListenAddrs())...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), patience+*timeFlag)
	r := &relaying{t: t, ctx: ctx, stop: stop, each: each, cluster: cluster, client: client, db: memory.New(), ended: make(chan error, 1)}
	r.relay = bus.NewRelay(r.db, kafka.NewPublisher(client), bus.WithBatch(relayBatch), bus.WithRetry(soonAgain), bus.WithLogger(silent),
		bus.WithOtherTopics(bus.Contract{Partitions: 3}))
	return r
}

func (r *relaying) close() {
	r.stop()
	r.client.Close()
	r.cluster.Close()
}

// write has the writers append, and the relay run, until all of them are done.
func (r *relaying) write(seed uint64) {
	go func() { r.ended <- r.relay.Run(r.ctx) }()
	var writing sync.WaitGroup
	for i := range relayWriters {
		draw := random(seed, i)
		writing.Go(func() {
			for n := 0; n < r.each && moment(r.ctx, draw, 4*time.Millisecond); n++ {
				raw := note(draw, "work.noted", make([]byte, draw.IntN(300)))
				if _, err := r.db.Append(r.ctx, stream(draw.Uint64N(relayStreams)), eventstore.Any(), raw); err != nil && r.ctx.Err() == nil {
					r.t.Error(err)
				}
			}
		})
	}
	writing.Wait()
}

// settle waits until nothing is left to be published. What waits for somebody is retried,
// which is an error unless it may wait.
func (r *relaying) settle(mayWait bool) error {
	defer r.stop()
	r.history = logged(r.t, r.ctx, r.db)
	head := r.history[len(r.history)-1].Position
	amend := worker.Amender{Store: r.db, Name: r.relay.Name(), Actor: "ada"}
	draw := random(0, 0)
	for {
		marks, err := r.db.Checkpoint(r.ctx, r.relay.Name())
		if err != nil {
			return err
		}
		parked, err := r.db.Parked(r.ctx, worker.ParkedQuery{Name: r.relay.Name()})
		if err != nil {
			return err
		}
		if marks[""].Position >= head && len(parked) == 0 {
			r.stop()
			return <-r.ended
		}
		for _, p := range parked {
			if p.State != worker.Waiting {
				continue
			}
			if !mayWait {
				return fmt.Errorf("%s waits for somebody: %s", p.Key.Key, p.Error)
			}
			if _, err := amend.RetryParked(r.ctx, 0, p.Key); err != nil && !errors.Is(err, worker.ErrFenced) {
				return fmt.Errorf("retry %s: %w", p.Key.Key, err)
			}
		}
		select {
		case err := <-r.ended:
			return fmt.Errorf("the relay has ended: %w", err)
		default:
		}
		if !moment(r.ctx, draw, 10*time.Millisecond) {
			return fmt.Errorf("after %v the mark is at %d of %d, and parked are %+v", patience, marks[""].Position, head, parked)
		}
	}
}

// judge judges what the topics have, and returns how many messages came again.
func (r *relaying) judge() (again int, err error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	messages := messagesIn(r.t, ctx, r.cluster.ListenAddrs(), topics...)
	_, findings := oracle.Published(r.history, nil, messages, 1)
	for _, f := range findings {
		err = errors.Join(err, errors.New(f.String()))
	}
	return len(messages) - len(r.history), err
}

// relayThrough lets a mishap befall one request of a relay, and judges it.
func relayThrough(t *testing.T, m mishap, at int64, seed uint64) (again int, err error) {
	r := newRelaying(t, 1, 10)
	defer r.close()
	other, err := kgo.NewClient(eager(r.cluster.ListenAddrs())...)
	if err != nil {
		return 0, err
	}
	defer other.Close()
	requests := befall(r.cluster, other, m, at)
	r.write(seed)
	if err := r.settle(m.refusesOne()); err != nil {
		return 0, err
	}
	if requests.Load() < at {
		return 0, fmt.Errorf("the relay has sent %d requests only", requests.Load())
	}
	again, err = r.judge()
	if again > 3*relayBatch {
		err = errors.Join(err, fmt.Errorf("%d messages came again, at most %d", again, 3*relayBatch))
	}
	return again, err
}
