package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// part is a partition that this member reads: what was fetched of it and is not delivered
// yet, and a goroutine that delivers it while there is something to deliver.
//
// All fields from next on are guarded by the mutex of the member.
type part struct {
	*member
	name      string
	topic     string
	partition int32
	id        string // of the topic
	of        int
	rank      int
	ctx       context.Context //nolint:containedctx // ends when the partition is taken away
	cancel    context.CancelFunc

	next    int64 // where the next delivery begins
	fetched int64 // where the next fetch goes on
	queue   []*kgo.Record
	bytes   int           // in the queue
	err     error         // ends the member when the queue is empty
	paused  bool          // nothing is fetched
	running chan struct{} // closed when the goroutine ends; nil if there is none
}

// mostBytes is how many bytes of a partition may wait before it is not fetched from.
const mostBytes = 4 << 20

// half is the most records of one poll. A partition is not fetched from while with those
// of another poll there could wait more of them than WithPrefetch says.
func (s *settings) half() int { return max(1, s.prefetch/2) }

// push queues what was fetched. The markers of transactions are no messages, but have
// offsets, which count as read: else what is read up to its end would seem to lack the last
// one, and to have lost it when it is deleted. They show where an aborted transaction ends
// too, whose messages are left out. With messages before or behind them, they are
// delivered with these, and only where there are none by themselves, as an empty delivery.
func (p *part) push(records []*kgo.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil || p.ctx.Err() != nil || len(records) == 0 {
		return
	}
	if first := records[0].Offset; first < p.fetched {
		p.failLocked(fmt.Errorf("fetch %s at offset %d: got offset %d", p.name, p.fetched, first))
		return
	}
	for _, r := range records {
		if !r.Attrs.IsControl() {
			p.queue, p.bytes = append(p.queue, r), p.bytes+bytesOf(r)
		}
	}
	p.fetched = records[len(records)-1].Offset + 1
	if len(p.queue)+p.half() > p.prefetch || p.bytes >= mostBytes {
		p.pauseLocked()
	}
	p.startLocked()
}

// fail ends the member with an error after what is queued was delivered: it cannot be
// fetched again if it is lost by now.
func (p *part) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failLocked(err)
}

// failLocked does nothing if the partition was taken away: a pause would stay in the
// client, and be that of whoever is given the partition next.
func (p *part) failLocked(err error) {
	if p.err == nil && p.ctx.Err() == nil {
		p.err = err
		p.pauseLocked()
		p.startLocked()
	}
}

func (p *part) pauseLocked() {
	if !p.paused {
		p.paused = true
		p.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.partition}})
	}
}

func (p *part) startLocked() {
	if p.running == nil {
		p.running = make(chan struct{})
		p.workers.Go(p.run)
	}
}

// dropLocked takes the partition away: nothing more of it is delivered.
func (p *part) dropLocked() {
	p.cancel()
	p.queue, p.bytes = nil, 0
}

// run delivers until all is that was fetched, or the partition is taken away.
func (p *part) run() {
	turn := turn{slots: p.slots, rank: p.rank}
	for p.goesOn() {
		if turn.begin(p.ctx) != nil {
			continue // it was taken away
		}
		d, ok := p.take()
		if !ok {
			turn.end()
			continue
		}
		err := worker.Guard(func() error { return p.to.Deliver(worker.WithIdle(p.ctx, turn.idle(p.ctx)), d) })
		turn.end()
		switch {
		case err == nil:
			p.delivered(d)
		case p.ctx.Err() == nil:
			p.stop(err)
		}
	}
}

// goesOn reports whether there is something to deliver. If not, the goroutine ends.
func (p *part) goesOn() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() == nil && p.fetched > p.next {
		return true
	}
	if p.ctx.Err() == nil && p.err != nil {
		p.stop(p.err)
	}
	close(p.running)
	p.running = nil
	return false
}

// take takes all that is queued, and has more of the partition fetched; nothing if the
// partition was taken away meanwhile, and with it what was queued.
func (p *part) take() (d bus.Delivery, ok bool) {
	p.mu.Lock()
	if p.ctx.Err() != nil {
		p.mu.Unlock()
		return d, false
	}
	records := p.queue
	d = bus.Delivery{Part: p.name, Source: p.id, Of: p.of, First: p.next, Next: p.fetched}
	p.queue, p.bytes = nil, 0
	if p.paused && p.err == nil {
		p.paused = false
		p.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.partition}})
	}
	p.mu.Unlock()
	d.Messages = make([]bus.Received, len(records))
	for i, r := range records {
		d.Messages[i] = bus.Received{Message: message(r), Offset: r.Offset, Time: r.Timestamp}
	}
	return d, true
}

func (p *part) delivered(d bus.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = d.Next
}

func bytesOf(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func message(r *kgo.Record) bus.Message {
	m := bus.Message{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: make([]bus.Header, len(r.Headers))}
	for i, h := range r.Headers {
		m.Headers[i] = bus.Header{Key: h.Key, Value: h.Value}
	}
	return m
}
