package kafka

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/worker"
)

// seen is a topic as it was when it was last read.
type seen struct {
	id         string
	partitions int
	maxBytes   int  // max.message.bytes; 0: not known
	stale      bool // the broker has refused something that maxBytes allows
}

// route is a topic as one Publish fills it.
type route struct {
	partitions int
	limit      int // bytes of a record batch
	filled     []filled
	spread     kgo.TopicPartitioner
}

// filled is what a partition has of a round.
type filled struct {
	records, bytes int
	full           bool
}

// Pin says how many partitions the keys of a topic are spread over, from now on, however
// many it has: a topic that grows then moves no key. 0: as many as there are, as Topics,
// Create or the first Publish to the topic has found. It must not be more than there are.
func (p *Publisher) Pin(topic string, partitions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pins[topic] = partitions
}

// forget has the limit of a topic read again.
func (p *Publisher) forget(topic string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[topic]
	s.stale = true
	p.seen[topic] = s
}

// routes returns those to the topics, and reads what is not known of them.
func (p *Publisher) routes(ctx context.Context, topics map[string]*route) error {
	var unknown []string
	p.mu.Lock()
	for name := range topics {
		if s := p.seen[name]; s.partitions == 0 || s.stale {
			unknown = append(unknown, name)
		}
	}
	p.mu.Unlock()
	if len(unknown) > 0 {
		if _, err := p.Topics(ctx, unknown...); err != nil {
			return err
		}
	}
	for name := range topics {
		r, err := p.route(name)
		if err != nil {
			return err
		}
		topics[name] = r
	}
	return nil
}

func (p *Publisher) route(topic string) (*route, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.seen[topic]
	if s.partitions == 0 {
		return nil, fmt.Errorf("topic %s does not exist", topic)
	}
	r := &route{partitions: s.partitions, limit: p.limitOf(topic), spread: p.spreads[topic]}
	if r.spread == nil {
		r.spread = kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		p.spreads[topic] = r.spread
	}
	if n := p.pins[topic]; n > 0 {
		r.partitions = n
	}
	if s.maxBytes > 0 {
		r.limit = min(r.limit, s.maxBytes)
	}
	r.filled = make([]filled, r.partitions)
	return r, nil
}

// address makes the records of the messages, and finds the partition of each. Its error
// is that of the message at the index, if there is one.
func (p *Publisher) address(ctx context.Context, b *batch, messages []bus.Message) (index int, err error) {
	topics := map[string]*route{}
	for i := range messages {
		if m := &messages[i]; i == 0 || m.Topic != messages[i-1].Topic {
			topics[m.Topic] = nil
		}
	}
	if err := p.routes(ctx, topics); err != nil {
		return -1, err
	}
	for i := range messages {
		m, o := &messages[i], &b.all[i]
		if o.batch = b; i > 0 && m.Topic == messages[i-1].Topic {
			o.to = b.all[i-1].to
		} else {
			o.to = topics[m.Topic]
		}
		o.record = kgo.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: headersOf(m)}
		o.size = sizeOf(&o.record)
		o.partition = int32(o.to.partition(&o.record, o.size))
	}
	return p.oversized(ctx, b, topics)
}

// headersOf returns the headers of a message as those of a record, in the same memory: to copy
// some 17 of them for each event took a sixth of a relay's time. Slices of two types do not
// convert, but that their elements do, which identical makes sure of, says that they are alike.
func headersOf(m *bus.Message) []kgo.RecordHeader {
	return unsafe.Slice((*kgo.RecordHeader)(unsafe.Pointer(unsafe.SliceData(m.Headers))), len(m.Headers)) //nolint:gosec // see identical
}

// identical does not compile if a header of a record is not one of a message.
func identical(h bus.Header) kgo.RecordHeader { return kgo.RecordHeader(h) }

var _ = identical

// partition returns where a record goes: with a key as Kafka's own client in Java sends
// it, without one to a partition that changes when a batch is full.
func (r *route) partition(record *kgo.Record, size int) int {
	if record.Key == nil {
		f := &r.filled[0] // not in use yet
		if f.bytes += size; f.bytes > spreadBytes {
			f.bytes = size
			r.spread.(kgo.TopicPartitionerOnNewBatch).OnNewBatch()
		}
	}
	return r.spread.Partition(record, r.partitions)
}

// spreadBytes is how much of what has no key goes to one partition before the next.
const spreadBytes = 64 << 10

// oversized returns the first message that is too large for its topic. If the topic may
// allow more by now, it looks first.
func (p *Publisher) oversized(ctx context.Context, b *batch, topics map[string]*route) (index int, err error) {
	looked := map[string]bool{}
	for i := range b.all {
		o := &b.all[i]
		name, size := o.record.Topic, batchOverhead+o.size
		if size <= o.to.limit {
			continue
		}
		if size <= p.limitOf(name) && !looked[name] {
			looked[name] = true
			if _, err := p.Topics(ctx, name); err != nil {
				return -1, err
			}
			now, err := p.route(name)
			if err != nil {
				return -1, err
			}
			topics[name].limit = now.limit
		}
		if size > o.to.limit {
			return i, worker.Permanent(fmt.Errorf("message with key %q for topic %s has %d bytes, at most %d (kgo.ProducerBatchMaxBytes, max.message.bytes)", o.record.Key, name, size, o.to.limit))
		}
	}
	return -1, nil
}

// What a record batch and a record take at most, beside keys and values, whatever the
// version of the protocol: lengths, deltas and checksums.
const (
	batchOverhead  = 66
	recordOverhead = 40
	headerOverhead = 10
)

// sizeOf returns the most bytes that a record can take in a record batch, uncompressed.
func sizeOf(r *kgo.Record) int {
	size := recordOverhead + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += headerOverhead + len(h.Key) + len(h.Value)
	}
	return size
}
