package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// Publish implements bus.Publisher. Its error is a *bus.PublishError. A message that is
// larger than its topic or the client allows is a permanent error, and nothing is sent
// then. So is one that the broker refuses because of what it is: too large for its topic,
// or invalid. No other error is permanent. The headers and bytes of the messages are not to be
// changed afterwards: after an error some of them may still be sent.
//
// It sends rounds of at most one record batch for each partition, and begins a
// round when the one before is acknowledged. A broker stores or refuses a batch
// as a whole, so what it stores of a partition is always the beginning of what
// it was sent. With several batches in flight, one that comes after a refused
// one may still be stored, and would overtake it.
//
// When ctx ends while a record is on its way, nobody knows whether it is stored, and the
// client goes on until it does. The next Publish sends nothing before that.
func (p *Publisher) Publish(ctx context.Context, messages []bus.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, done := p.guard.reach.watch(ctx)
	defer done()
	select {
	case p.guard.turn <- struct{}{}:
		defer func() { <-p.guard.turn }()
	case <-ctx.Done():
		return newBatch(len(messages)).failed(-1, fmt.Errorf("wait for another Publish: %w", ctx.Err()))
	}
	b := p.takeBatch(len(messages))
	if err := p.settle(ctx); err != nil {
		return b.failed(-1, err)
	}
	if i, err := p.address(ctx, b, messages); err != nil {
		return b.failed(i, err)
	}
	for rest := b.unsent(nil); len(rest) > 0; rest = b.unsent(rest) {
		if i, err := p.send(ctx, b, p.fill(rest)); err != nil {
			return b.failed(i, err)
		}
	}
	p.putBatch(b)
	return nil
}

// settle waits until the client has nothing left of a Publish that gave up: what was not
// sent yet is dropped, the rest is acknowledged or refused. Else it could be stored behind
// what comes now, or be refused after it.
func (p *Publisher) settle(ctx context.Context) error {
	if len(p.guard.left) == 0 {
		return nil
	}
	why := p.wonder(ctx, func() []string { return p.guard.left })
	err := p.client.AbortBufferedRecords(ctx)
	if known := why(); err != nil {
		return unanswered(ctx, "the records of an earlier Publish", known, err)
	}
	p.guard.left = nil
	return nil
}

// batch is what one Publish sends.
type batch struct {
	all []outgoing
	mu  sync.Mutex
}

func newBatch(messages int) *batch { return &batch{all: make([]outgoing, messages)} }

// takeBatch returns one in the memory of the last one, if it can: together they are most of
// what a Publish needs. The caller has the turn.
func (p *Publisher) takeBatch(messages int) *batch {
	b := p.spare
	p.spare = nil
	if b == nil || cap(b.all) < messages {
		return newBatch(messages)
	}
	b.all = b.all[:messages]
	return b
}

// putBatch is for a batch of which all is acknowledged, so that the client is done with it.
func (p *Publisher) putBatch(b *batch) {
	clear(b.all)
	p.spare = b
}

// outgoing is a message on its way.
type outgoing struct {
	*batch
	record    kgo.Record
	to        *route
	partition int32
	size      int // at most, in a record batch

	state state // of the last round; under mu
	err   error // under mu
}

type state int

const (
	waiting state = iota
	acked
	failed
)

// done is called by the client when it knows what became of a record, which may be after
// Publish has returned.
func (o *outgoing) done(r *kgo.Record, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.state = acked
	case r.Partition != declined:
		o.state, o.err = failed, err
	}
}

// unsent returns those of the rest, of all if it is nil, that are not acknowledged.
func (b *batch) unsent(rest []*outgoing) []*outgoing {
	if rest == nil {
		rest = make([]*outgoing, len(b.all))
		for i := range b.all {
			rest[i] = &b.all[i]
		}
		return rest
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []*outgoing
	for _, o := range rest {
		if o.state != acked {
			out = append(out, o)
		}
	}
	return out
}

// failed returns the error of a Publish.
func (b *batch) failed(index int, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := &bus.PublishError{Acked: make([]bool, len(b.all)), Index: index, Err: withRights(err)}
	for i := range b.all {
		e.Acked[i] = b.all[i].state == acked
	}
	return e
}

// fill returns the records of a round: of each partition as many as certainly fit into
// one batch, and of all as many as the client takes at once.
func (p *Publisher) fill(rest []*outgoing) []*outgoing {
	for _, o := range rest {
		clear(o.to.filled)
	}
	now, records, bytes := make([]*outgoing, 0, len(rest)), int64(0), int64(0)
	for _, o := range rest {
		f := &o.to.filled[o.partition]
		if f.full = f.full || f.records > 0 && f.bytes+o.size > o.to.limit; f.full {
			continue
		}
		records, bytes = records+1, bytes+int64(o.size)
		if len(now) > 0 && (records > p.mostRecords || bytes > p.mostBytes) {
			break
		}
		if f.records == 0 {
			f.bytes = batchOverhead
		}
		f.records, f.bytes = f.records+1, f.bytes+o.size
		now = append(now, o)
	}
	return now
}

// send buffers a round and flushes it. Its error is that of a message, if it says which,
// or of the round.
func (p *Publisher) send(ctx context.Context, b *batch, now []*outgoing) (index int, err error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	p.guard.next()
	at := time.Now()
	for _, o := range now {
		o.record.Partition, o.record.Timestamp = o.partition, at
		p.client.Produce(ctx, &o.record, o.done)
	}
	topics := func() []string { return topicsOf(now, func(o *outgoing) string { return o.record.Topic }) }
	why := p.wonder(ctx, topics)
	err = p.client.Flush(ctx)
	if known := why(); err != nil {
		p.guard.left = topics()
		return -1, unanswered(ctx, "acknowledgement", known, err)
	}
	return p.verdict(b, now)
}

// verdict returns the failure of a round that says most: that of a batch with one message
// which the broker refuses, else of a batch that it refuses, else the first.
func (p *Publisher) verdict(b *batch, now []*outgoing) (index int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range now {
		clear(o.to.filled)
	}
	for _, o := range now {
		if o.state == failed {
			o.to.filled[o.partition].records++
		}
	}
	most := 0
	for i := range b.all {
		o := &b.all[i]
		if o.state != failed {
			continue
		}
		this, at := 1, -1
		if refused(o.err) {
			this = 2
			p.forget(o.record.Topic)
			if o.to.filled[o.partition].records == 1 {
				this, at = 3, i
			}
		}
		if this > most {
			most, index, err = this, at, fmt.Errorf("topic %s: %w", o.record.Topic, o.err)
		}
	}
	if most > 1 {
		err = worker.Permanent(err)
	}
	return index, err
}

// refused reports whether some record of a batch will never be taken, as it is. Every
// other error may pass, and is that of a broker, a topic or an account, not that of a
// record.
func refused(err error) bool {
	return errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) || errors.Is(err, kerr.InvalidRecord)
}
