package worker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// clerk is what the events of a source that goes by offsets take effect in: a list, which
// is kept if the transaction commits.
type clerk struct {
	*memory.DB
	mu      sync.Mutex
	applied []string // under mu
	fail    func(b worker.Batch, e event.Recorded) error
	waiting func(p worker.Parked, e event.Recorded) error
	retry   worker.Retry
	batch   int
	calls   []string // of waiting, under mu
	hooks   worker.Hooks
}

func newClerk() *clerk { return &clerk{DB: memory.New(), batch: 3} }

// made returns the calls of waiting.
func (c *clerk) made() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.calls)
}

// tell is for hooks: they are called from the goroutines of the reader.
func (c *clerk) tell(to *[]string, what ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*to = append(*to, what...)
}

// told returns what hooks have written down.
func (c *clerk) told(by *[]string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(*by)
}

func (c *clerk) failing(fail func(b worker.Batch, e event.Recorded) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = fail
}

func (c *clerk) reader() worker.Reader {
	r := worker.Reader{
		Name: "reader", Store: c.DB, Batch: c.batch, Logger: silent, Retry: c.retry, Hooks: c.hooks,
		Begin: func(_ context.Context, part string, all worker.Checkpoint) (worker.Mark, event.Position, error) {
			return all[part], 0, nil
		},
		Apply: c.apply,
	}
	if c.waiting != nil {
		r.Waiting = func(_ context.Context, p worker.Parked, e event.Recorded) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.calls = append(c.calls, fmt.Sprintf("%s@%d %s: %s", p.Key.Key, e.Version, p.State, p.Error))
			return c.waiting(p, e)
		}
	}
	return r
}

func (c *clerk) apply(ctx context.Context, b worker.Batch) error {
	var done []string
	err := c.Advance(ctx, "reader", b.Term, b.Part, func(_ context.Context, _ *memory.Tx, at worker.Mark) (worker.Write, error) {
		if at.Revision != b.Write.Marks[b.Part].Revision {
			return worker.Write{}, worker.ErrFenced
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for i, e := range b.Events {
			if c.fail != nil {
				if err := c.fail(b, e); err != nil {
					return worker.Write{}, &worker.EventError{Index: i, Err: err}
				}
			}
			done = append(done, fmt.Sprintf("%s@%d", e.Stream.ID, e.Version))
		}
		return b.Write, nil
	})
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.applied = append(c.applied, done...)
	}
	return err
}

func (c *clerk) want(t *testing.T, want string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.applied, " "); got != want {
		t.Errorf("applied %s, want %s", got, want)
	}
}

func (c *clerk) wantMark(t *testing.T, want worker.Mark) {
	t.Helper()
	all, err := c.Checkpoint(t.Context(), "reader")
	got := all["t/0"]
	got.Revision, got.Epoch = 0, 0
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("mark: %v %s", err, diff)
	}
}

// wantItems compares what is parked, each as "key state: seqs".
func (c *clerk) wantItems(t *testing.T, want ...string) {
	t.Helper()
	all, err := c.Parked(t.Context(), worker.ParkedQuery{Name: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{}
	for _, p := range all {
		items, err := c.Items(t.Context(), "reader", p.Key, -1, 100)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%s %s:", p.Key.Key, p.State)
		for _, i := range items {
			text += fmt.Sprint(" ", i.Seq)
		}
		got = append(got, text)
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("parked: %s", diff)
	}
}

func (c *clerk) decide(t *testing.T, what func(a worker.Amender, key worker.Key) error, key string) {
	t.Helper()
	if err := what(worker.Amender{Store: c.DB, Name: "reader", Actor: "ada"}, worker.Key{Part: "t/0", Key: key}); err != nil {
		t.Fatal(err)
	}
}

func (c *clerk) retryParked(t *testing.T, key string) {
	t.Helper()
	c.decide(t, func(a worker.Amender, k worker.Key) error {
		_, err := a.RetryParked(t.Context(), 0, k)
		return err
	}, key)
}

// feed is a source of one part that delivers what it is given, one after the other.
type feed struct{ deliveries chan worker.Delivery }

func newFeed(all ...worker.Delivery) *feed {
	f := &feed{make(chan worker.Delivery, 100)}
	for _, d := range all {
		f.deliveries <- d
	}
	return f
}

func (f *feed) Owns(string) bool { return true }

func (f *feed) Consume(ctx context.Context, to worker.Sink) error {
	if _, err := to.Begin(ctx, "t/0"); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case d := <-f.deliveries:
			if err := to.Deliver(ctx, d); err != nil {
				return err
			}
		}
	}
}

// records is a delivery of records from an offset on, each as "stream@version"; "-" is
// one that the reader does not get. Positions say nothing.
func records(source string, first int64, words string) worker.Delivery {
	d := worker.Delivery{Part: "t/0", Source: source, Of: 1, First: first, Next: first, Offsets: []int64{}}
	for _, w := range strings.Fields(words) {
		if id, version, ok := strings.Cut(w, "@"); ok {
			var n int
			_, _ = fmt.Sscan(version, &n)
			d.Offsets = append(d.Offsets, d.Next)
			d.Events = append(d.Events, event.Recorded{Stream: event.Stream{Category: "order", ID: id}, Version: event.Version(n)})
		}
		d.Next++
	}
	return d
}

// start runs the reader in a goroutine of the bubble, and returns how to end it.
func (c *clerk) start(t *testing.T, f *feed) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.reader().Consume(ctx, f) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Consume = %v", err)
		}
	}
}

func idle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func poisons(what string) func(worker.Batch, event.Recorded) error {
	return func(_ worker.Batch, e event.Recorded) error {
		if fmt.Sprintf("%s@%d", e.Stream.ID, e.Version) == what {
			return errToxic
		}
		return nil
	}
}
