package kafka

import (
	"cmp"
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// refusals is how many connections in a row are to fail for reasons of access until a call
// gives up: of several brokers one may be wrong, and the client tries the next one.
const refusals = 3

// toldAgain is how often they are told of at most.
const toldAgain = time.Minute

// reach is a hook that knows why a client, or several with the same options, is not let in.
// The client by itself tries for ever, and says in the end that the time was up.
type reach struct {
	tell func(*AccessError) // may be nil; when nobody waits, from the third failure in a row on

	mu      sync.Mutex
	client  *kgo.Client // that was made last
	ended   string      // the broker that ended a connection last
	last    *AccessError
	row     int       // failures without a success between them
	told    time.Time // zero: never
	waiting map[*call]struct{}
}

// call is one that gives up when the brokers refuse the client. The fields are guarded by mu
// of the reach.
type call struct {
	*reach
	giveUp func(error)
	row    int          // failures since it began, without a success between them
	since  *AccessError // the last since it began, of a broker that has not let the client in meanwhile
}

func newReach(tell func(*AccessError)) *reach {
	return &reach{tell: tell, waiting: map[*call]struct{}{}}
}

var (
	_ kgo.HookNewClient     = (*reach)(nil)
	_ kgo.HookBrokerConnect = (*reach)(nil)
	_ kgo.HookBrokerRead    = (*reach)(nil)
)

// OnNewClient implements kgo.HookNewClient.
func (r *reach) OnNewClient(client *kgo.Client) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.client = client
}

// OnBrokerRead implements kgo.HookBrokerRead.
func (r *reach) OnBrokerRead(meta kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = address(meta)
	}
}

func address(meta kgo.BrokerMetadata) string {
	return net.JoinHostPort(meta.Host, strconv.Itoa(int(meta.Port)))
}

// OnBrokerConnect implements kgo.HookBrokerConnect. The error may be that of a dial, of the
// first request or of authentication.
func (r *reach) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	if err == nil {
		r.letIn(address(meta))
		return
	}
	r.mu.Lock()
	client := r.client
	r.mu.Unlock()
	if client == nil {
		return
	}
	failure := accessError(client, address(meta), err) // may ask the user's code for a name
	if failure != nil && r.refused(failure) {
		r.tell(failure)
	}
}

func (r *reach) letIn(broker string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.row = nil, 0
	for c := range r.waiting {
		c.row = 0
		if c.since != nil && c.since.Broker == broker {
			c.since = nil
		}
	}
}

// refused has the calls give up that were refused often enough, and reports whether it is to
// be told.
func (r *reach) refused(failure *AccessError) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.ended = failure, failure.Broker
	r.row++
	for c := range r.waiting {
		c.since = failure
		if c.row++; c.row >= refusals {
			c.giveUp(failure)
		}
	}
	if r.tell == nil || len(r.waiting) > 0 || r.row < refusals || !r.told.IsZero() && time.Since(r.told) < toldAgain {
		return false
	}
	r.told = time.Now()
	return true
}

// watch returns a context that ends, with an *AccessError as its cause, when the brokers
// refuse the client; and what ends the watching.
func (r *reach) watch(ctx context.Context) (context.Context, func()) {
	if r == nil {
		return ctx, func() {}
	}
	c := &call{reach: r}
	ctx, c.giveUp = context.WithCancelCause(context.WithValue(ctx, reachKey{}, c))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[c] = struct{}{}
	return ctx, func() {
		r.mu.Lock()
		delete(r.waiting, c)
		r.mu.Unlock()
		c.giveUp(nil)
	}
}

type reachKey struct{}

// explain returns, for the error of a call to the client under a context of watch, why the
// brokers are not reached, if that is known; else the error.
func explain(ctx context.Context, err error) error {
	c, _ := ctx.Value(reachKey{}).(*call)
	if c == nil || err == nil || errors.As(err, new(*AccessError)) {
		return err
	}
	c.mu.Lock()
	last, ended, client := cmp.Or(c.since, c.last), c.ended, c.client
	c.mu.Unlock()
	var (
		refused *AccessError
		first   *kgo.ErrFirstReadEOF
		over    = ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
	)
	switch {
	case over && errors.As(context.Cause(ctx), &refused):
		return refused
	case last != nil && errors.Is(err, last.Err):
		return last
	case last != nil && over:
		return &AccessError{last.Broker, errors.Join(err, last.Err), last.text}
	case client != nil && (errors.As(err, &first) || certificateText(err) != ""): // of another connection than the last
		if e := accessError(client, ended, err); e != nil { //nolint:contextcheck // that of the call may be over
			return e
		}
	}
	return err
}
