package worker

import "context"

type idleKey struct{}

// WithIdle returns a context for Sink.Deliver, by which a sink tells its source that a
// delivery does nothing but wait for something to pass: it calls idle before, and what
// that returns after. So a source that limits how many deliveries go on at one time can
// let others go on meanwhile. Both are called from the goroutine that is in Deliver.
func WithIdle(ctx context.Context, idle func() (goOn func())) context.Context {
	return context.WithValue(ctx, idleKey{}, idle)
}

// idle tells the source, if it wants to know.
func idle(ctx context.Context) (goOn func()) {
	if f, ok := ctx.Value(idleKey{}).(func() (goOn func())); ok {
		return f()
	}
	return func() {}
}
