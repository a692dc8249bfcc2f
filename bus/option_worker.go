package bus

import (
	"log/slog"
	"time"

	"github.com/annals-go/annals/worker"
)

// WorkerOption changes how a Relay or a Consumer works.
type WorkerOption func(*worker.Reader)

func (opt WorkerOption) relay(o *relayOptions)       { opt(&o.worker) }
func (opt WorkerOption) consumer(o *consumerOptions) { opt(&o.worker) }

// WithBatch sets the most events that a relay has in flight, and publishes again after a
// crash, or the most messages of one transaction of a consumer. From 1 to 10,000; default
// 5000 for a relay, 1000 for a consumer. More is faster, and repeats more after a failure. A
// relay begins with 500, and goes on with twice as many after each full batch, and with
// fewer after a failure.
func WithBatch(n int) WorkerOption { return func(r *worker.Reader) { r.Batch = n } }

// WithTimeout sets how long one batch may take, also after ctx has ended. A consumer tries
// one that takes longer again with fewer messages. Default one minute, at least 1 ms.
func WithTimeout(d time.Duration) WorkerOption { return func(r *worker.Reader) { r.Timeout = d } }

// WithRetry sets how fast is tried again what fails, such as a broker, and how often an
// event or message that failed is tried before it waits for a decision. Default: see
// worker.Retry.
func WithRetry(p worker.Retry) WorkerOption { return func(r *worker.Reader) { r.Retry = p } }

// WithHooks sets functions that are called as the worker works. Those of a consumer are told
// of events that carry the messages, see CarrierType. Default none.
func WithHooks(h worker.Hooks) WorkerOption { return func(r *worker.Reader) { r.Hooks = h } }

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) WorkerOption { return func(r *worker.Reader) { r.Logger = l } }

// WithLease sets how long a relay that gives no sign of life is waited for: one that
// has died is replaced after that time, and before twice that time. Who consumes what the
// Source decides; there it is how long a member counts as working. Default 10 s, at least
// 10 ms.
func WithLease(d time.Duration) WorkerOption { return func(r *worker.Reader) { r.Lease = d } }

// WithBreaker sets a breaker of the broker, or of what handlers of a consumer call: while
// it is open, the worker waits. Default nil: none.
func WithBreaker(b worker.Breaker) WorkerOption { return func(r *worker.Reader) { r.Breaker = b } }

// WithHealth has the worker tell how it does. Default nil: nobody.
func WithHealth(h *worker.Health) WorkerOption { return func(r *worker.Reader) { r.Health = h } }

// WithVersion sets the version of the program that is noted with what it parks.
// Default: what the build says.
func WithVersion(version string) WorkerOption {
	return func(r *worker.Reader) { r.Version = version }
}

// WithStop makes Run return the error of an event or message that fails for good, instead
// of parking it: nothing behind it is published, or takes effect. Default: it is parked.
func WithStop() WorkerOption { return func(r *worker.Reader) { r.Stop = true } }
