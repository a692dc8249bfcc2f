package kafka

import (
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

// toldAgain is after how many more they are told of again: some minutes.
const toldAgain = 100

// reach is a hook that knows why a client, or several with the same options, is not let in.
// The client by itself tries for ever, and says in the end that the time was up.
type reach struct {
	tell func(*AccessError) // may be nil; when nobody waits, at the third failure in a row and every hundredth

	mu      sync.Mutex
	client  *kgo.Client // that was made last
	ended   string      // the broker that ended a connection last
	last    *AccessError
	row     int                                     // failures without a success between them
	waiting map[*context.Context]func(*AccessError) // who is to give up
}

func newReach(tell func(*AccessError)) *reach {
	return &reach{tell: tell, waiting: map[*context.Context]func(*AccessError){}}
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
	r.mu.Lock()
	client := r.client
	if err == nil {
		r.last, r.row = nil, 0
	}
	r.mu.Unlock()
	if err == nil || client == nil {
		return
	}
	failure := accessError(client, address(meta), err) // may ask the user's code for a name
	if failure == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.ended = failure, failure.Broker
	r.row++
	if r.tell != nil && len(r.waiting) == 0 && r.row%toldAgain == refusals {
		r.tell(failure)
	}
	if r.row >= refusals {
		for _, giveUp := range r.waiting {
			giveUp(failure)
		}
	}
}

// watch returns a context that ends, with an *AccessError as its cause, when the brokers
// refuse the client; and what ends the watching.
func (r *reach) watch(ctx context.Context) (context.Context, func()) {
	if r == nil {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancelCause(context.WithValue(ctx, reachKey{}, r))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.row = 0 // it is worth a try
	r.waiting[&watched] = func(e *AccessError) { cancel(e) }
	return watched, func() {
		r.mu.Lock()
		delete(r.waiting, &watched)
		r.mu.Unlock()
		cancel(nil)
	}
}

type reachKey struct{}

// explain returns, for the error of a call to the client under a context of watch, why the
// brokers are not reached, if that is known; else the error.
func explain(ctx context.Context, err error) error {
	r, _ := ctx.Value(reachKey{}).(*reach)
	if r == nil || err == nil || errors.As(err, new(*AccessError)) {
		return err
	}
	r.mu.Lock()
	last, ended, client := r.last, r.ended, r.client
	r.mu.Unlock()
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
		if e := accessError(client, ended, err); e != nil { //nolint:contextcheck // it asks a mechanism for a name, with no I/O
			return e
		}
	}
	return err
}
