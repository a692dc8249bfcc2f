package projection

import (
	"errors"
	"log/slog"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

type options struct {
	from   bool
	source worker.Source
	worker worker.Reader // as far as options set it
}

// Option changes how a projection runs. Run and CatchUp return an error if it is out of
// its bounds, and name it.
type Option func(*options)

// newOptions returns the options, or what is wrong with one of them.
func newOptions(opts []Option) (options, error) {
	o := options{worker: worker.Reader{}.OrDefaults()}
	for _, opt := range opts {
		opt(&o)
	}
	err := o.worker.Validate()
	switch {
	case err != nil:
		return o, err
	case o.from && o.source == nil:
		return o, errors.New("option From: the source is nil")
	case o.from && o.worker.Segments > 1:
		return o, errors.New("option WithSegments: a source has partitions of its own")
	}
	return o, nil
}

// From makes Run read a partitioned source, such as a Kafka consumer, instead
// of the log. Default: the log. A read model that is fed by
// one is rebuilt to be fed by the other: Run returns ErrOtherSource.
func From(s worker.Source) Option { return func(o *options) { o.from, o.source = true, s } }

// WithBatch sets the most events of one transaction when reading the log.
// Default 500, from 1 to 10,000. More is faster, and repeats more after a
// failure.
func WithBatch(n int) Option { return func(o *options) { o.worker.Batch = n } }

// WithTimeout sets how long one batch may take, also after ctx has ended. A batch that
// takes longer is tried again with fewer events. Default one minute, at least 1 ms.
func WithTimeout(d time.Duration) Option { return func(o *options) { o.worker.Timeout = d } }

// WithRetry sets how often an event that failed is tried again before it waits for a
// decision, and how fast. Default: see worker.Retry.
func WithRetry(r worker.Retry) Option { return func(o *options) { o.worker.Retry = r } }

// WithHooks sets functions that are called as the projection works. Default none.
func WithHooks(h worker.Hooks) Option { return func(o *options) { o.worker.Hooks = h } }

// WithLogger sets the logger. Default slog.Default().
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.worker.Logger = l } }

// WithSegments spreads the streams over n segments, each with a mark of its own, so
// that up to n workers can share the work, in one process or several. The order of one
// stream is kept, that of two streams in different segments is not: a handler that
// writes the same rows for several streams must not depend on it. Default 1, at most
// worker.MaxSegments. The number is for the life of the read model: with another one
// Run returns ErrOtherSource. Not for a source, which has partitions.
func WithSegments(n int) Option { return func(o *options) { o.worker.Segments = n } }

// WithKey sets what events have in common whose order matters to the handlers: events
// of one key are in one segment, and park together. It must be pure. Default: the
// stream.
func WithKey(key func(event.Recorded) string) Option {
	return func(o *options) { o.worker.Key = key }
}

// WithLease sets how long a term goes on without a sign of life: a worker that has
// died is replaced after that time, and before twice that time. Default 10 s, at least
// 10 ms.
func WithLease(d time.Duration) Option { return func(o *options) { o.worker.Lease = d } }

// WithBreaker sets a breaker of what the handlers call: while it is open, the
// projection waits. Default nil: none.
func WithBreaker(b worker.Breaker) Option { return func(o *options) { o.worker.Breaker = b } }

// WithHealth has the projection tell how it does. Default nil: nobody.
func WithHealth(h *worker.Health) Option { return func(o *options) { o.worker.Health = h } }

// WithVersion sets the version of the program that is noted with what it parks.
// Default: what the build says.
func WithVersion(version string) Option { return func(o *options) { o.worker.Version = version } }

// WithStop makes Run return the error of an event that fails for good, instead of
// parking it: nothing behind it is applied. For read models that are better late than
// incomplete. Default: it is parked.
func WithStop() Option { return func(o *options) { o.worker.Stop = true } }
